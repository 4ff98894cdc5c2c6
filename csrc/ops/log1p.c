/* log1p: y = log(1 + x), exact near zero. dx = dy / (1 + x). */
#include "../op.h"

#ifdef TT_KERNELS

TT_UNARY(log1p, tt_log1p(a), d / (1 + a))

#else

static void log1p_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                      tt_tensor **dx)
{
    (void)need;
    dx[X] = v_div(ctx, dy[Y], v_shift(ctx, node->in[X], 1.0));
}

TT_OP(log1p, .inputs = 1, .flags = TT_TO_FLOAT, .layout = TT_STRIDED, .keeps = BIT(X),
      .infer = rule_same_shape, .vjp = log1p_vjp)

#endif
