/* op_table: the declarations of all operations, and the kernels of the SIMD level in use. */
#include <math.h>
#include <string.h>

#include "op.h"
#include "simd_level.h"

#include "ops_include.h" /* every operation's declaration: its file, read without TT_KERNELS */

#define TT_ENTRY(name) [TT_OP_##name] = &tt_op_##name,
const tt_op *const tt_ops[TT_OP_COUNT] = {TT_EACH_OP(TT_ENTRY)};
#undef TT_ENTRY

#ifdef TT_LEVELS_X86
#define LEVEL_SETS(level) \
    extern const tt_kernel_set tt_kernels_##level##_f32, tt_kernels_##level##_f64;
LEVEL_SETS(v2)
LEVEL_SETS(v3)
LEVEL_SETS(v4)
extern const tt_kernel_set tt_kernels_v2_i64;

/* Of float32, float64, and of int64, which serves all integers and bool. */
const tt_kernel_set *kernels_for(int dtype)
{
    if (!dtype_is_float(dtype)) return &tt_kernels_v2_i64;
    switch (simd_level()) {
    case 4: return dtype == TT_FLOAT32 ? &tt_kernels_v4_f32 : &tt_kernels_v4_f64;
    case 3: return dtype == TT_FLOAT32 ? &tt_kernels_v3_f32 : &tt_kernels_v3_f64;
    default: return dtype == TT_FLOAT32 ? &tt_kernels_v2_f32 : &tt_kernels_v2_f64;
    }
}
#else
extern const tt_kernel_set tt_kernels_base_f32, tt_kernels_base_f64, tt_kernels_base_i64;

const tt_kernel_set *kernels_for(int dtype)
{
    if (!dtype_is_float(dtype)) return &tt_kernels_base_i64;
    return dtype == TT_FLOAT32 ? &tt_kernels_base_f32 : &tt_kernels_base_f64;
}
#endif
