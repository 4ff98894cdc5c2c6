/* silu: y = x s(x), s the sigmoid; also called swish (Elfwing et al., 2017; Ramachandran et al.,
 * 2017). dx = dy s (1 + x (1 - s)). */
#include "../op.h"
#include "../loops/activations.h"

#ifdef TT_KERNELS

TT_UNARY(silu, silu_of(a), d *silu_slope(a))

#else

static void silu_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                     tt_tensor **dx)
{
    (void)need;
    tt_tensor *x = v_clamp(ctx, node->in[X], -GATES_END, GATES_END);
    tt_tensor *s = v_unary(ctx, TT_OP_sigmoid, x);
    tt_tensor *rest = v_one_minus(ctx, s);
    tt_tensor *slope = v_mul(ctx, s, v_shift(ctx, v_mul(ctx, x, rest), 1.0));
    dx[X] = v_mul(ctx, dy[Y], slope);
}

TT_OP(silu, .inputs = 1, .layout = TT_STRIDED, .keeps = BIT(X), .infer = rule_same_shape,
      .vjp = silu_vjp)

#endif
