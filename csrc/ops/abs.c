/* abs: y = |x|, dx = dy sign(x). */
#include "../op.h"

#ifdef TT_KERNELS

TT_UNARY(abs, a > 0 ? a : 0 - a, a > 0 ? d : a < 0 ? -d : d * 0)

#else

static void abs_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                    tt_tensor **dx)
{
    (void)need;
    dx[X] = v_mul(ctx, dy[Y], v_unary(ctx, TT_OP_sign, node->in[X]));
}

TT_OP(abs, .inputs = 1, .flags = TT_INTEGERS | TT_NO_BOOL, .layout = TT_STRIDED, .keeps = BIT(X),
      .infer = rule_same_shape, .vjp = abs_vjp)

#endif
