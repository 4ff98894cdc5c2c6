/* log: y = ln x. */
#include "../op.h"

#ifdef TT_KERNELS

TT_UNARY(log, tt_log(a), d / a)

#else

static void log_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                    tt_tensor **dx)
{
    (void)need;
    dx[X] = v_div(ctx, dy[Y], node->in[X]);
}

TT_OP(log, .inputs = 1, .flags = TT_TO_FLOAT, .layout = TT_STRIDED, .keeps = BIT(X),
      .infer = rule_same_shape, .vjp = log_vjp)

#endif
