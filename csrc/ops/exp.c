/* exp: y = e^x. */
#include "../op.h"

#ifdef TT_KERNELS

TT_UNARY(exp, tt_exp(a), d *b)

#else

static void exp_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                    tt_tensor **dx)
{
    (void)need;
    dx[X] = v_mul(ctx, dy[Y], node->out[Y]);
}

TT_OP(exp, .inputs = 1, .flags = TT_TO_FLOAT, .layout = TT_STRIDED, .infer = rule_same_shape,
      .vjp = exp_vjp)

#endif
