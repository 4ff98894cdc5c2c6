/* kernels: every loop of the library, compiled once for each dtype and SIMD level. The build
 * defines TT_KERNELS, TT_F32 or TT_F64, and TT_LEVEL. */
#include "op.h"

#include "ops_include.h" /* every operation's loops: its file, read with TT_KERNELS */

#include "optim_kernels.h"

static void accumulate(void *dst, const void *src, int64_t n)
{
    T *restrict y = dst;
    const T *x = src;
    for (int64_t i = 0; i < n; i++) y[i] += x[i];
}

#define JOIN_(a, b, c) a##b##_##c
#define JOIN(a, b, c) JOIN_(a, b, c)
#ifdef TT_F32
#define TABLE_NAME JOIN(tt_kernels_, TT_LEVEL, f32)
#else
#define TABLE_NAME JOIN(tt_kernels_, TT_LEVEL, f64)
#endif

#define TT_ENTRY(name) [TT_OP_##name] = &name##_kernels,
extern const tt_kernel_set TABLE_NAME;
const tt_kernel_set TABLE_NAME = {
    .ops = {TT_EACH_OP(TT_ENTRY)},
    .accumulate = accumulate,
    .adam = adam_range,
    .sgd = sgd_range,
    .power_sum = power_sum,
    .scale = scale_range,
};
