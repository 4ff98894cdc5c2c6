/* simd_level: which build of the kernels this CPU runs: x86-64-v2, v3 or v4, or the plain build on
 * other processors. */
#ifndef TT_SIMD_LEVEL_H
#define TT_SIMD_LEVEL_H

#include "levels_gen.h" /* the levels that were built */

enum { SIMD_base = 0, SIMD_v2 = 2, SIMD_v3 = 3, SIMD_v4 = 4 };

/* The level in use, chosen once. TINYTAPE_SIMD=v2|v3|v4 sets it where it was built and the CPU can
 * run it; any other value is ignored and the best level is used. */
int simd_level(void);
const char *simd_level_name(void); /* "v2", "v3", "v4" or "base" */

/* 0 when TINYTAPE_SIMD asked for a level that is unknown or that this CPU lacks, else 1. */
int simd_level_requested_ok(void);

#endif
