/* kernel_set: the choice of the loops in use; kernels.c has the loops. */
#include "kernel_set.h"

#include "base/simd_level.h"

#define LEVEL_SETS(level) \
    extern const tt_kernel_set tt_kernels_##level##_f32, tt_kernels_##level##_f64;
TT_EACH_LEVEL(LEVEL_SETS)
#define INTEGER_SET_(level) tt_kernels_##level##_i64
#define INTEGER_SET(level) INTEGER_SET_(level)
extern const tt_kernel_set INTEGER_SET(TT_LOWEST_LEVEL);

/* Of float32, float64, and of int64, which serves all integers and bool. */
const tt_kernel_set *kernel_set_for(int dtype)
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
