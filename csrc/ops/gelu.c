/* gelu: y = x F(x), F the normal distribution function (Hendrycks and Gimpel, 2016).
 * ints[0]: 0 exact, by erf; 1 their approximation by tanh. */
#include "../op.h"

#define SQRT_HALF 0.70710678118654752
#define INVERSE_SQRT_2PI 0.39894228040143268
#define TANH_SCALE 0.79788456080286536 /* sqrt(2 / pi) */
#define TANH_CUBIC 0.044715

#ifdef TT_KERNELS

static inline T gelu_slope(T x)
{
    T distribution = (T)0.5 * (1 + tt_erf(x * (T)SQRT_HALF));
    return distribution + x * (T)INVERSE_SQRT_2PI * tt_exp((T)-0.5 * x * x);
}

static inline T gelu_tanh_of(T x)
{
    return tt_tanh((T)TANH_SCALE * x * (1 + (T)TANH_CUBIC * x * x));
}

static inline T gelu_tanh_slope(T x)
{
    T t = gelu_tanh_of(x);
    return (T)0.5 * (1 + t) +
           (T)0.5 * x * (1 - t * t) * (T)TANH_SCALE * (1 + 3 * (T)TANH_CUBIC * x * x);
}

TT_ROW(gelu_row, (T)0.5 * a * (1 + tt_erf(a * (T)SQRT_HALF)))
TT_ROW(gelu_row_backward, d *gelu_slope(a))
TT_ROW(gelu_tanh_row, (T)0.5 * a * (1 + gelu_tanh_of(a)))
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
        tt_tensor *inner = v_scale(
            ctx, v_mul(ctx, x, v_shift(ctx, v_scale(ctx, x2, TANH_CUBIC), 1.0)), TANH_SCALE);
        tt_tensor *t = v_unary(ctx, TT_OP_tanh, inner);
        tt_tensor *inner_slope =
            v_scale(ctx, v_shift(ctx, v_scale(ctx, x2, 3 * TANH_CUBIC), 1.0), 0.5 * TANH_SCALE);
        tt_tensor *t_slope = v_shift(ctx, v_neg(ctx, v_mul(ctx, t, t)), 1.0);
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

#undef SQRT_HALF
#undef INVERSE_SQRT_2PI
#undef TANH_SCALE
#undef TANH_CUBIC
