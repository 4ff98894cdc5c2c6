/* sin and cos. */
#include "../op.h"

#ifdef TT_KERNELS

TT_UNARY(sin, tt_sin(a), d *tt_cos(a))
TT_UNARY(cos, tt_cos(a), -d *tt_sin(a))

#else

static void sin_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                    tt_tensor **dx)
{
    (void)need;
    dx[0] = v_mul(ctx, dy[0], v_unary(ctx, TT_OP_cos, node->in[0]));
}

static void cos_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                    tt_tensor **dx)
{
    (void)need;
    dx[0] = v_neg(ctx, v_mul(ctx, dy[0], v_unary(ctx, TT_OP_sin, node->in[0])));
}

TT_OP(sin, .inputs = 1, .flags = TT_TO_FLOAT, .layout = TT_STRIDED, .keeps = 1, .infer = infer_same,
      .vjp = sin_vjp)
TT_OP(cos, .inputs = 1, .flags = TT_TO_FLOAT, .layout = TT_STRIDED, .keeps = 1, .infer = infer_same,
      .vjp = cos_vjp)

#endif
