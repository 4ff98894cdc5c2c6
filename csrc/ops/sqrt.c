/* sqrt: y = x^(1/2), dx = dy / (2 y). */
#include "../op.h"

#ifdef TT_KERNELS

TT_UNARY(sqrt, tt_sqrt(a), d *(T)0.5 / b)

#else

static void sqrt_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                     tt_tensor **dx)
{
    (void)need;
    dx[X] = v_div(ctx, v_scale(ctx, dy[Y], 0.5), node->out[Y]);
}

TT_OP(sqrt, .inputs = 1, .flags = TT_TO_FLOAT, .layout = TT_STRIDED, .infer = rule_same_shape,
      .vjp = sqrt_vjp)

#endif
