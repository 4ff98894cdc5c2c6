/* sign: y = -1, 0 or 1, and as in PyTorch 0 of NaN. The slope is zero. */
#include "../op.h"

#ifdef TT_KERNELS

TT_UNARY(sign, a > 0 ? 1 : a < 0 ? -1 : 0, 0)

#else

TT_OP(sign, .inputs = 1, .flags = TT_INTEGERS, .layout = TT_STRIDED, .infer = rule_same_shape,
      .vjp = vjp_zero)

#endif
