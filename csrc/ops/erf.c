/* erf: y = 2/sqrt(pi) times the integral of e^(-t^2) from 0 to x. */
#include "../op.h"

#ifdef TT_KERNELS

TT_UNARY(erf, tt_erf(a), d *(T)1.1283791670955126 * tt_exp(-a * a))

#else

static void erf_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                    tt_tensor **dx)
{
    (void)need;
    tt_tensor *x = v_clamp(ctx, node->in[X], -1e4, 1e4); /* beyond, x e^(-x^2) is zero */
    dx[X] = v_mul(
        ctx, dy[Y],
        v_scale(ctx, v_unary(ctx, TT_OP_exp, v_neg(ctx, v_mul(ctx, x, x))), 1.1283791670955126));
}

TT_OP(erf, .inputs = 1, .flags = TT_TO_FLOAT, .layout = TT_STRIDED, .keeps = BIT(X),
      .infer = rule_same_shape, .vjp = erf_vjp)

#endif
