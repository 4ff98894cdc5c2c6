/* random: Philox4x32-10 and the two distributions that are made from it. */
#include "random.h"

#include <math.h>
#include <string.h>

#include "kernel_set.h"

void philox_u32x4(uint64_t seed, uint64_t stream, uint64_t block, uint32_t out[4])
{
    uint32_t words[4][PHILOX_BATCH];
    kernel_set_for(TT_FLOAT32)->philox(seed, stream, block, words);
    for (int w = 0; w < 4; w++) out[w] = words[w][0];
}

/* Of the 32-bit stream, element i is word i % 4 of block i / 4. Of the 64-bit stream, it is words
 * 2 (i % 2) and 2 (i % 2) + 1 of block i / 2, low first. */

/* Box and Muller's pair: u in (0, 1] gives the radius, v in [0, 1) the angle. The element at an
 * even place is the cosine, the one after it the sine. Worked out in double for both types. */
typedef struct {
    double cosine, sine;
} normal_pair;

static inline normal_pair box_muller(double u, double v)
{
    double radius = sqrt(-2.0 * log(u)), angle = 6.283185307179586 * v;
    return (normal_pair){radius * cos(angle), radius * sin(angle)};
}

/* Walks the elements offset .. offset + n - 1 batch by batch; a block holds PER_BLOCK elements, and
 * STORE makes y[0 .. PER_BLOCK - 1] of block j of `words`. An incomplete batch goes through
 * separate memory. */
#define DEFINE_FILL(NAME, T, PER_BLOCK, STORE)                                              \
    void NAME(uint64_t seed, uint64_t stream, uint64_t offset, int64_t n, T *out)           \
    {                                                                                       \
        enum { WHOLE = PER_BLOCK * PHILOX_BATCH };                                          \
        uint32_t words[4][PHILOX_BATCH];                                                    \
        T batch[WHOLE];                                                                     \
        void (*philox)(uint64_t, uint64_t, uint64_t, uint32_t[4][PHILOX_BATCH]) =           \
            kernel_set_for(TT_FLOAT32)->philox;                                             \
        int64_t skip = (int64_t)(offset % PER_BLOCK);                                       \
        for (uint64_t block = offset / PER_BLOCK; n > 0; block += PHILOX_BATCH, skip = 0) { \
            int64_t count = n < WHOLE - skip ? n : WHOLE - skip;                            \
            T *first = count == WHOLE ? out : batch;                                        \
            philox(seed, stream, block, words);                                             \
            for (int64_t j = 0; j * PER_BLOCK < skip + count; j++) {                        \
                T *y = first + j * PER_BLOCK;                                               \
                STORE                                                                       \
            }                                                                               \
            if (first == batch) memcpy(out, batch + skip, (size_t)count * sizeof(T));       \
            out += count;                                                                   \
            n -= count;                                                                     \
        }                                                                                   \
    }

#define WORD(k) words[k][j]
#define LONG_WORD(k) ((uint64_t)words[2 * (k)][j] | (uint64_t)words[2 * (k) + 1][j] << 32)
#define UNIT_F32(k) (float)(WORD(k) >> 8) * 0x1p-24f
#define UNIT_F64(k) (double)(LONG_WORD(k) >> 11) * 0x1p-53

DEFINE_FILL(philox_fill_u64, uint64_t, 2, y[0] = LONG_WORD(0); y[1] = LONG_WORD(1);)
DEFINE_FILL(philox_uniform_f32, float, 4, y[0] = UNIT_F32(0); y[1] = UNIT_F32(1);
            y[2] = UNIT_F32(2); y[3] = UNIT_F32(3);)
DEFINE_FILL(philox_uniform_f64, double, 2, y[0] = UNIT_F64(0); y[1] = UNIT_F64(1);)
DEFINE_FILL(philox_normal_f32, float, 4,
            normal_pair pair = box_muller((WORD(0) + 1.0) * 0x1p-32, WORD(1) * 0x1p-32);
            y[0] = (float)pair.cosine; y[1] = (float)pair.sine;
            pair = box_muller((WORD(2) + 1.0) * 0x1p-32, WORD(3) * 0x1p-32);
            y[2] = (float)pair.cosine; y[3] = (float)pair.sine;)
DEFINE_FILL(philox_normal_f64, double, 2,
            normal_pair pair = box_muller((double)((LONG_WORD(0) >> 11) + 1) * 0x1p-53,
                                          (double)(LONG_WORD(1) >> 11) * 0x1p-53);
            y[0] = pair.cosine; y[1] = pair.sine;)
