/* op_table: the declarations of all operations, and the kernels of the SIMD level in use. */
#include "op.h"
#include "base/simd_level.h"

#ifdef TT_OP_OBJECTS
#define DECLARE(name) extern const tt_op tt_op_##name;
TT_EACH_OP(DECLARE)
#else
#include "ops_include.h" /* every operation's declaration: its file, read without TT_KERNELS */
#endif

#define TT_ENTRY(name) [TT_OP_##name] = &tt_op_##name,
const tt_op *const tt_ops[TT_OP_COUNT] = {TT_EACH_OP(TT_ENTRY)};
#undef TT_ENTRY

#define LEVEL_SETS(level) \
    extern const tt_kernel_set tt_kernels_##level##_f32, tt_kernels_##level##_f64;
TT_EACH_LEVEL(LEVEL_SETS)
#define INTEGER_SET_(level) tt_kernels_##level##_i64
#define INTEGER_SET(level) INTEGER_SET_(level)
extern const tt_kernel_set INTEGER_SET(TT_LOWEST_LEVEL);

/* Of float32, float64, and of int64, which serves all integers and bool. */
const tt_kernel_set *kernels_for(int dtype)
{
    if (!dtype_is_float(dtype)) return &INTEGER_SET(TT_LOWEST_LEVEL);
    switch (simd_level()) {
#define LEVEL_CASE(level) \
    case SIMD_##level:    \
        return dtype == TT_FLOAT32 ? &tt_kernels_##level##_f32 : &tt_kernels_##level##_f64;
        TT_EACH_LEVEL(LEVEL_CASE)
    default: return NULL; /* simd_level() is one of them */
    }
}
