/* mul: y = a * b, broadcast. */
#include "../op.h"

#ifdef TT_KERNELS

TT_BINARY(mul, a *b, d *b, d *a)

#else

static void mul_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                    tt_tensor **dx)
{
    if (need[0]) dx[0] = v_mul(ctx, dy[0], node->in[1]);
    if (need[1]) dx[1] = v_mul(ctx, dy[0], node->in[0]);
}

TT_OP(mul, .inputs = 2, .flags = TT_INTEGERS | TT_PROMOTES, .layout = TT_STRIDED, .keeps = 3,
      .prepare = prepare_broadcast, .infer = infer_same, .vjp = mul_vjp)

#endif
