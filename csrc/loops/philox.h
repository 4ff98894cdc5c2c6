/* philox: the blocks of the generator, for the kernel pass: at the level of the machine. */
#ifndef TT_PHILOX_H
#define TT_PHILOX_H

#include "random.h"

#define N_ROUNDS 10

/* Blocks first .. first + PHILOX_BATCH - 1; word w of block j is out[w][j]. */
static void philox_batch(uint64_t seed, uint64_t stream, uint64_t first,
                         uint32_t out[4][PHILOX_BATCH])
{
#pragma omp simd
    for (int j = 0; j < PHILOX_BATCH; j++) {
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

#endif
