/* expm1: y = e^x - 1, exact near zero. dx = dy (y + 1). */
#include "../op.h"

#ifdef TT_KERNELS

TT_UNARY(expm1, tt_expm1(a), d *(b + 1))

#else

static void expm1_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                      tt_tensor **dx)
{
    (void)need;
    dx[X] = v_mul(ctx, dy[Y], v_shift(ctx, node->out[Y], 1.0));
}

TT_OP(expm1, .inputs = 1, .flags = TT_TO_FLOAT, .layout = TT_STRIDED, .infer = rule_same_shape,
      .vjp = expm1_vjp)

#endif
