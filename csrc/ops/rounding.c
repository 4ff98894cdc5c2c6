/* floor, ceil, trunc and round (to the nearest, halves to the even one). Whole numbers stay; the
 * slope is zero. */
#include "../op.h"

#ifdef TT_KERNELS

#ifdef TT_I64
TT_UNARY(floor, a, 0)
TT_UNARY(ceil, a, 0)
TT_UNARY(trunc, a, 0)
TT_UNARY(round, a, 0)
#else
TT_UNARY(floor, tt_floor(a), 0)
TT_UNARY(ceil, tt_ceil(a), 0)
TT_UNARY(trunc, tt_trunc(a), 0)
TT_UNARY(round, tt_rint(a), 0)
#endif

#else

TT_OP(floor, .inputs = 1, .flags = TT_INTEGERS | TT_NO_BOOL, .layout = TT_STRIDED,
      .infer = rule_same_shape, .vjp = vjp_zero)
TT_OP(ceil, .inputs = 1, .flags = TT_INTEGERS | TT_NO_BOOL, .layout = TT_STRIDED,
      .infer = rule_same_shape, .vjp = vjp_zero)
TT_OP(trunc, .inputs = 1, .flags = TT_INTEGERS | TT_NO_BOOL, .layout = TT_STRIDED,
      .infer = rule_same_shape, .vjp = vjp_zero)
TT_OP(round, .inputs = 1, .flags = TT_INTEGERS | TT_NO_BOOL, .layout = TT_STRIDED,
      .infer = rule_same_shape, .vjp = vjp_zero)

#endif
