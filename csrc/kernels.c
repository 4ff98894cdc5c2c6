/* kernels: every loop of the library, compiled once for each floating dtype and SIMD level, and
 * those that integers have once for int64. The build defines TT_KERNELS, TT_F32, TT_F64 or TT_I64,
 * and TT_LEVEL. */
#include "op.h"

#ifdef TT_I64
#include "ops_include_integers.h" /* the operations that integers have */
#else
#include "ops_include.h" /* every operation's loops: its file, read with TT_KERNELS */

#include "loops/optim_kernels.h"
#include "loops/philox.h"
#endif

#ifndef TT_I64
static void accumulate(void *dst, const void *src, int64_t n)
{
    T *restrict y = dst;
    const T *x = src;
    for (int64_t i = 0; i < n; i++) y[i] += x[i];
}
#endif

#define JOIN_(a, b, c) a##b##_##c
#define JOIN(a, b, c) JOIN_(a, b, c)
#if defined TT_F32
#define TABLE_NAME JOIN(tt_kernels_, TT_LEVEL, f32)
#elif defined TT_F64
#define TABLE_NAME JOIN(tt_kernels_, TT_LEVEL, f64)
#else
#define TABLE_NAME JOIN(tt_kernels_, TT_LEVEL, i64)
#endif

#define TT_ENTRY(name) [TT_OP_##name] = &name##_kernels,
extern const tt_kernel_set TABLE_NAME;
const tt_kernel_set TABLE_NAME = {
#ifdef TT_I64
    .ops = {TT_EACH_INTEGER_OP(TT_ENTRY)},
#else
    .ops = {TT_EACH_OP(TT_ENTRY)},
    .accumulate = accumulate,
    .adam = adam_range,
    .sgd = sgd_range,
    .power_sum = power_sum,
    .scale = scale_range,
    .philox = philox_batch,
#endif
};
