/* div: y = a / b, broadcast. */
#include "../op.h"

#ifdef TT_KERNELS

TT_BINARY(div, a / b, d / b, -d *a / (b * b))

#else

static void div_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                    tt_tensor **dx)
{
    tt_tensor *a = node->in[0], *b = node->in[1];
    if (need[0]) dx[0] = v_div(ctx, dy[0], b);
    if (need[1]) dx[1] = v_neg(ctx, v_div(ctx, v_mul(ctx, dy[0], a), v_mul(ctx, b, b)));
}

TT_OP(div, .inputs = 2, .flags = TT_PROMOTES | TT_TO_FLOAT, .layout = TT_STRIDED, .keeps = 3,
      .prepare = prepare_broadcast, .infer = infer_same, .vjp = div_vjp)

#endif
