/* gelu: y = x F(x), F the normal distribution function (Hendrycks and Gimpel, 2016).
 * ints[0]: 0 exact, by erf; 1 their approximation by tanh. */
#include "../op.h"

#include "../activations.h"

#ifdef TT_KERNELS

TT_ROW(gelu_row, gelu_of(a))
TT_ROW(gelu_row_backward, d *gelu_slope(a))
TT_ROW(gelu_tanh_row, a *gelu_tanh_gate(a))
TT_ROW(gelu_tanh_row_backward, d *gelu_tanh_slope(a))

static tt_status gelu_forward(tt_call *c)
{
    const tt_tensor *operands[MAX_OPERANDS] = {c->in[0]};
    elementwise(c->attrs->ints[0] ? gelu_tanh_row : gelu_row, c->in[0], operands, c->out[0]->data,
                false);
    return TT_OK;
}

static tt_status gelu_backward(tt_call *c)
{
    tt_tensor dy = dense_like(c->in[0], c->dy[0]);
    const tt_tensor *operands[MAX_OPERANDS] = {c->in[0], NULL, &dy};
    elementwise(c->attrs->ints[0] ? gelu_tanh_row_backward : gelu_row_backward, c->in[0], operands,
                c->dx[0], c->acc[0]);
    return TT_OK;
}
TT_KERNELS_OF(gelu, gelu_forward, gelu_backward)

#else

static void gelu_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                     tt_tensor **dx)
{
    (void)need;
    tt_tensor *x = node->in[0], *slope = NULL, *x2 = v_mul(ctx, x, x);
    if (node->attrs.ints[0]) {
        tt_tensor *inner =
            v_scale(ctx, v_mul(ctx, x, v_shift(ctx, v_scale(ctx, x2, GELU_TANH_CUBIC), 1.0)),
                    GELU_TANH_SCALE);
        tt_tensor *t = v_unary(ctx, TT_OP_tanh, inner);
        tt_tensor *inner_slope = v_scale(
            ctx, v_shift(ctx, v_scale(ctx, x2, 3 * GELU_TANH_CUBIC), 1.0), 0.5 * GELU_TANH_SCALE);
        tt_tensor *t_slope = v_one_minus(ctx, v_mul(ctx, t, t));
        slope = v_add(ctx, v_scale(ctx, v_shift(ctx, t, 1.0), 0.5),
                      v_mul(ctx, v_mul(ctx, x, t_slope), inner_slope));
    } else {
        tt_tensor *distribution = v_scale(
            ctx, v_shift(ctx, v_unary(ctx, TT_OP_erf, v_scale(ctx, x, SQRT_HALF)), 1.0), 0.5);
        tt_tensor *density =
            v_scale(ctx, v_unary(ctx, TT_OP_exp, v_scale(ctx, x2, -0.5)), INVERSE_SQRT_2PI);
        slope = v_add(ctx, distribution, v_mul(ctx, x, density));
    }
    dx[0] = v_mul(ctx, dy[0], slope);
}

TT_OP(gelu, .inputs = 1, .layout = TT_STRIDED, .keeps = 1, .infer = infer_same, .vjp = gelu_vjp)

#endif
