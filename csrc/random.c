/* Philox4x32-10 and the two distributions that are made from it. */
#include "random.h"

#include <math.h>

#define N_ROUNDS 10
#define BATCH 16 /* blocks computed side by side, so that the compiler can use vectors */

/* Blocks first .. first + BATCH - 1; word w of block j is out[w][j]. */
static void philox_batch(uint64_t seed, uint64_t stream, uint64_t first, uint32_t out[4][BATCH])
{
#pragma omp simd
    for (int j = 0; j < BATCH; j++) {
        uint64_t block = first + (uint64_t)j;
        uint32_t x0 = (uint32_t)block, x1 = (uint32_t)(block >> 32);
        uint32_t x2 = (uint32_t)stream, x3 = (uint32_t)(stream >> 32);
        uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
#pragma GCC unroll 10
        for (int round = 0; round < N_ROUNDS; round++) {
            uint64_t p0 = (uint64_t)x0 * 0xD2511F53u;
            uint64_t p1 = (uint64_t)x2 * 0xCD9E8D57u;
            x0 = (uint32_t)(p1 >> 32) ^ x1 ^ key0;
            x1 = (uint32_t)p1;
            x2 = (uint32_t)(p0 >> 32) ^ x3 ^ key1;
            x3 = (uint32_t)p0;
            key0 += 0x9E3779B9u; /* golden ratio */
            key1 += 0xBB67AE85u; /* sqrt(3) - 1 */
        }
        out[0][j] = x0;
        out[1][j] = x1;
        out[2][j] = x2;
        out[3][j] = x3;
    }
}

void philox_u32x4(uint64_t seed, uint64_t stream, uint64_t block, uint32_t out[4])
{
    uint32_t words[4][BATCH];
    philox_batch(seed, stream, block, words);
    for (int w = 0; w < 4; w++) out[w] = words[w][0];
}

/* The 32-bit stream: element i is word i % 4 of block i / 4. */
static inline uint32_t word32(const uint32_t words[4][BATCH], uint64_t i)
{
    return words[i % 4][i / 4];
}

/* The 64-bit stream: element i is words 2 (i % 2) and 2 (i % 2) + 1 of block i / 2, low first. */
static inline uint64_t word64(const uint32_t words[4][BATCH], uint64_t i)
{
    return words[i % 2 * 2][i / 2] | (uint64_t)words[i % 2 * 2 + 1][i / 2] << 32;
}

/* Box and Muller's pair: u in (0, 1] gives the radius, v in [0, 1) the angle. The element at an
 * even place is the cosine, the one after it the sine. Worked out in double for both types. */
static inline double box_muller(double u, double v, uint64_t i)
{
    double radius = sqrt(-2.0 * log(u)), angle = 6.283185307179586 * v;
    return radius * (i % 2 ? sin(angle) : cos(angle));
}

static inline double normal32(const uint32_t words[4][BATCH], uint64_t i)
{
    uint64_t pair = i & ~UINT64_C(1);
    return box_muller((word32(words, pair) + 1.0) * 0x1p-32, word32(words, pair + 1) * 0x1p-32, i);
}

static inline double normal64(const uint32_t words[4][BATCH], uint64_t i)
{
    uint64_t pair = i & ~UINT64_C(1);
    return box_muller((double)((word64(words, pair) >> 11) + 1) * 0x1p-53,
                      (double)(word64(words, pair + 1) >> 11) * 0x1p-53, i);
}

/* Walks the elements offset .. offset + n - 1 batch by batch; a block holds PER_BLOCK elements and
 * VALUE gives element i of the batch in `words`. */
#define DEFINE_FILL(NAME, T, PER_BLOCK, VALUE)                                     \
    void NAME(uint64_t seed, uint64_t stream, uint64_t offset, int64_t n, T *out)  \
    {                                                                              \
        uint32_t words[4][BATCH];                                                  \
        uint64_t left = n > 0 ? (uint64_t)n : 0, block = offset / PER_BLOCK;       \
        for (uint64_t i = offset % PER_BLOCK; left > 0; i = 0, block += BATCH) {   \
            philox_batch(seed, stream, block, words);                              \
            for (; i < PER_BLOCK * BATCH && left > 0; i++, left--) *out++ = VALUE; \
        }                                                                          \
    }

DEFINE_FILL(philox_fill_u64, uint64_t, 2, word64(words, i))
DEFINE_FILL(philox_uniform_f32, float, 4, (float)(word32(words, i) >> 8) * 0x1p-24f)
DEFINE_FILL(philox_uniform_f64, double, 2, (double)(word64(words, i) >> 11) * 0x1p-53)
DEFINE_FILL(philox_normal_f32, float, 4, (float)normal32(words, i))
DEFINE_FILL(philox_normal_f64, double, 2, normal64(words, i))
