/* div: y = a / b, broadcast. da = dy / b, db = -da y: no square of b, which may have none. */
#include "../op.h"

#ifdef TT_KERNELS

TT_BINARY(div, a / b, d / b, (T)(-((SUM)d / (SUM)b) * ((SUM)a / (SUM)b)))

#else

static void div_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                    tt_tensor **dx)
{
    tt_tensor *da = v_div(ctx, dy[Y], node->in[B]);
    if (need[A]) dx[A] = da;
    if (need[B]) dx[B] = v_neg(ctx, v_mul(ctx, da, node->out[Y]));
}

TT_OP(div, .inputs = 2, .flags = TT_PROMOTES | TT_TO_FLOAT, .layout = TT_STRIDED,
      .keeps = BIT(A) | BIT(B), .prepare = rule_broadcast, .infer = rule_same_shape, .vjp = div_vjp)

#endif
