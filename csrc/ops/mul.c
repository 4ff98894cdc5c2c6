/* mul: y = a * b, broadcast. */
#include "../op.h"

#ifdef TT_KERNELS

TT_BINARY(mul, a *b, d *b, d *a)

#else

static void mul_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                    tt_tensor **dx)
{
    if (need[A]) dx[A] = v_mul(ctx, dy[Y], node->in[B]);
    if (need[B]) dx[B] = v_mul(ctx, dy[Y], node->in[A]);
}

TT_OP(mul, .inputs = 2, .flags = TT_INTEGERS | TT_PROMOTES, .layout = TT_STRIDED,
      .keeps = BIT(A) | BIT(B), .prepare = rule_broadcast, .infer = rule_same_shape, .vjp = mul_vjp)

#endif
