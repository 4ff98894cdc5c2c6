/* tanh: y = tanh x, dx = dy (1 - y^2). */
#include "../op.h"

#ifdef TT_KERNELS

TT_UNARY(tanh, tt_tanh(a), d * (1 - b * b))

#else

static void tanh_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                     tt_tensor **dx)
{
    (void)need;
    tt_tensor *y = node->out[Y];
    dx[X] = v_mul(ctx, dy[Y], v_one_minus(ctx, v_mul(ctx, y, y)));
}

TT_OP(tanh, .inputs = 1, .flags = TT_TO_FLOAT, .layout = TT_STRIDED, .infer = rule_same_shape,
      .vjp = tanh_vjp)

#endif
