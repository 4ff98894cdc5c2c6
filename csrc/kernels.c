/* kernels: every loop of the library, compiled once for each floating dtype and SIMD level, and
 * those that integers have once for int64. The build defines TT_KERNELS, TT_F32, TT_F64 or TT_I64,
 * and TT_LEVEL. A development build defines TT_OP_OBJECTS too: each operation's file is then an
 * object of its own, which this table names. */
#include "op.h"

#ifdef TT_I64
#define EACH_OP TT_EACH_INTEGER_OP /* the operations that integers have */
#else
#define EACH_OP TT_EACH_OP
#endif

#if defined TT_OP_OBJECTS
#define DECLARE(name) extern const tt_kernels TT_NAME_HERE(name);
EACH_OP(DECLARE)
#elif defined TT_I64
#include "ops_include_integers.h"
#else
#include "ops_include.h" /* every operation's loops: its file, read with TT_KERNELS */
#endif

#ifndef TT_I64
#include "loops/optim_kernels.h"
#include "loops/philox.h"

static void accumulate(void *dst, const void *src, int64_t n)
{
    T *restrict y = dst;
    const T *x = src;
    for (int64_t i = 0; i < n; i++) y[i] += x[i];
}
#endif

#define TT_ENTRY(name) [TT_OP_##name] = &TT_NAME_HERE(name),
extern const tt_kernel_set TT_NAME_HERE(tt_kernels);
const tt_kernel_set TT_NAME_HERE(tt_kernels) = {
    .ops = {EACH_OP(TT_ENTRY)},
#ifndef TT_I64
    .accumulate = accumulate,
    .adam = adam_range,
    .sgd = sgd_range,
    .power_sum = power_sum,
    .scale = scale_range,
    .philox = philox_batch,
#endif
};
