/* neg: y = -x. */
#include "../op.h"

#ifdef TT_KERNELS

TT_UNARY(neg, -a, -d)

#else

static void neg_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                    tt_tensor **dx)
{
    (void)node, (void)need;
    dx[X] = v_neg(ctx, dy[Y]);
}

TT_OP(neg, .inputs = 1, .flags = TT_INTEGERS | TT_NO_BOOL, .layout = TT_STRIDED,
      .infer = rule_same_shape, .vjp = neg_vjp)

#endif
