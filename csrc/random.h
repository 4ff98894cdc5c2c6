/* random: counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random
 * numbers: as easy as 1, 2, 3", SC 2011). key = seed, counter = (stream : 64, block : 64).
 *
 * There is no state: element i of a fill depends only on (seed, stream, offset + i), so a fill may
 * be split anywhere, and resuming needs three integers. */
#ifndef TT_RANDOM_H
#define TT_RANDOM_H

#include <stdint.h>

enum { PHILOX_BATCH = 16 }; /* blocks computed side by side, so that the compiler can use vectors */

/* One block: four 32-bit words. The counter's low half is `block`, its high half `stream`. */
void philox_u32x4(uint64_t seed, uint64_t stream, uint64_t block, uint32_t out[4]);

void philox_fill_u64(uint64_t seed, uint64_t stream, uint64_t offset, int64_t n, uint64_t *out);

/* Uniform in [0, 1): multiples of 2^-24 and 2^-53. */
void philox_uniform_f32(uint64_t seed, uint64_t stream, uint64_t offset, int64_t n, float *out);
void philox_uniform_f64(uint64_t seed, uint64_t stream, uint64_t offset, int64_t n, double *out);

/* Standard normal by Box and Muller (1958). */
void philox_normal_f32(uint64_t seed, uint64_t stream, uint64_t offset, int64_t n, float *out);
void philox_normal_f64(uint64_t seed, uint64_t stream, uint64_t offset, int64_t n, double *out);

#endif
