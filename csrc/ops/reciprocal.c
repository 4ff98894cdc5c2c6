/* reciprocal: y = 1 / x, dx = -dy y^2. */
#include "../op.h"

#ifdef TT_KERNELS

TT_UNARY(reciprocal, 1 / a, -d * b * b)

#else

static void reciprocal_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                           tt_tensor **dx)
{
    (void)need;
    tt_tensor *y = node->out[Y];
    dx[X] = v_neg(ctx, v_mul(ctx, v_mul(ctx, dy[Y], y), y)); /* y^2 alone may overflow */
}

TT_OP(reciprocal, .inputs = 1, .flags = TT_TO_FLOAT, .layout = TT_STRIDED, .infer = rule_same_shape,
      .vjp = reciprocal_vjp)

#endif
