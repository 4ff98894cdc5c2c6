/* relu: y = x where x > 0, else 0; NaN stays. dx = dy where y > 0. */
#include "../op.h"

#ifdef TT_KERNELS

TT_UNARY(relu, a <= 0 ? 0 : a, b <= 0 ? 0 : d)

#else

static void relu_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                     tt_tensor **dx)
{
    (void)need;
    tt_tensor *zero = v_number(ctx, dy[Y], 0.0);
    tt_tensor *off = v_binary(ctx, TT_OP_le, node->out[Y], zero);
    dx[X] = v_where(ctx, off, zero, dy[Y]);
}

TT_OP(relu, .inputs = 1, .flags = TT_INTEGERS | TT_NO_BOOL, .layout = TT_STRIDED,
      .infer = rule_same_shape, .vjp = relu_vjp)

#endif
