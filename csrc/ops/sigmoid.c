/* sigmoid: y = 1 / (1 + e^-x), dx = dy y (1 - y). */
#include "../op.h"

#ifdef TT_KERNELS

TT_UNARY(sigmoid, tt_sigmoid(a), d * b * (1 - b))

#else

static void sigmoid_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                        tt_tensor **dx)
{
    (void)need;
    tt_tensor *y = node->out[Y], *rest = v_one_minus(ctx, y);
    dx[X] = v_mul(ctx, dy[Y], v_mul(ctx, y, rest));
}

TT_OP(sigmoid, .inputs = 1, .flags = TT_TO_FLOAT, .layout = TT_STRIDED, .infer = rule_same_shape,
      .vjp = sigmoid_vjp)

#endif
