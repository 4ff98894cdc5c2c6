/* Which build of the kernels this CPU runs: x86-64-v2, v3 or v4, and one plain build elsewhere. */
#ifndef TT_SIMD_LEVEL_H
#define TT_SIMD_LEVEL_H

#define SIMD_BASE 0 /* the only level off x86-64 */

/* The level in use, chosen once: 2, 3 or 4 on x86-64, else SIMD_BASE. TINYTAPE_SIMD=v2|v3|v4 sets
 * it where the CPU can run it; any other value is ignored and the best level is used. */
int simd_level(void);
const char *simd_level_name(void); /* "v2", "v3", "v4" or "base" */

/* 0 when TINYTAPE_SIMD asked for a level that is unknown or that this CPU lacks, else 1. */
int simd_level_requested_ok(void);

#endif
