/* gelu: y = x F(x), F the normal distribution function (Hendrycks and Gimpel, 2016).
 * gelu_backward: dx = dy y'(x), its gradient, of (dy, x).
 * ints[0]: 0 exact, by erf; 1 their approximation by tanh. */
#include "../op.h"

#include "../loops/activations.h"

TT_ATTRS(gelu, by_tanh)

#ifdef TT_KERNELS

TT_PLAIN_ROW(gelu_row, gelu_of(a))
TT_PLAIN_ROW(gelu_tanh_row, gelu_tanh_of(a))
TT_PLAIN_ROW(gelu_backward_row, a *gelu_slope(b))
TT_PLAIN_ROW(gelu_tanh_backward_row, a *gelu_tanh_slope(b))
TT_PLAIN_ROW(gelu_curvature_row, a * d * gelu_curvature(b))
TT_PLAIN_ROW(gelu_tanh_curvature_row, a * d * gelu_tanh_curvature(b))

static tt_status gelu_forward(tt_call *c)
{
    const tt_tensor *operands[MAX_OPERANDS] = {c->in[0]};
    elementwise(c->attrs->ints[0] ? gelu_tanh_row : gelu_row, c->in[0], operands, c->out[0]->data,
                false);
    return TT_OK;
}

static void gelu_times_slope(const tt_call *c, const tt_tensor *dy, const tt_tensor *x, void *dx,
                             bool acc)
{
    const tt_tensor *operands[MAX_OPERANDS] = {dy, x};
    elementwise(c->attrs->ints[0] ? gelu_tanh_backward_row : gelu_backward_row, x, operands, dx,
                acc);
}

static tt_status gelu_backward_kernel(tt_call *c)
{
    tt_tensor dy = dense_like(c->in[0], c->dy[0]);
    gelu_times_slope(c, &dy, c->in[0], c->dx[0], c->acc[0]);
    return TT_OK;
}
TT_KERNELS_OF(gelu, gelu_forward, gelu_backward_kernel)

static tt_status gelu_backward_forward(tt_call *c)
{
    gelu_times_slope(c, c->in[0], c->in[1], c->out[0]->data, false);
    return TT_OK;
}

static tt_status gelu_backward_backward(tt_call *c)
{
    const tt_tensor *x = c->in[1];
    tt_tensor d = dense_like(x, c->dy[0]);
    const tt_tensor *operands[MAX_OPERANDS] = {c->in[0], x, &d};
    if (c->dx[0] != NULL) gelu_times_slope(c, &d, x, c->dx[0], c->acc[0]);
    if (c->dx[1] != NULL)
        elementwise(c->attrs->ints[0] ? gelu_tanh_curvature_row : gelu_curvature_row, x, operands,
                    c->dx[1], c->acc[1]);
    return TT_OK;
}
TT_KERNELS_OF(gelu_backward, gelu_backward_forward, gelu_backward_backward)

#else

static tt_tensor *times_slope(tt_ctx *ctx, const tt_node *node, tt_tensor *dy, tt_tensor *x)
{
    tt_tensor *in[2] = {dy, x};
    return v_call(ctx, TT_OP_gelu_backward, in, 2, &node->attrs);
}

static void gelu_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                     tt_tensor **dx)
{
    (void)need;
    dx[0] = times_slope(ctx, node, dy[0], node->in[0]);
}

/* (2 - x^2) p(x), p the density */
static tt_tensor *curvature(tt_ctx *ctx, tt_tensor *x2)
{
    tt_tensor *bell = v_unary(ctx, TT_OP_exp, v_scale(ctx, x2, -0.5));
    return v_scale(ctx, v_mul(ctx, v_shift(ctx, v_neg(ctx, x2), 2.0), bell), INVERSE_SQRT_2PI);
}

/* s' (2 u' + x u'') + s' u'^2 x (1 - 2 s) for y = x s(u), as gelu_tanh_curvature has it */
static tt_tensor *tanh_curvature(tt_ctx *ctx, tt_tensor *x, tt_tensor *x2)
{
    double scale = 2 * GELU_TANH_SCALE, cubic = scale * GELU_TANH_CUBIC;
    tt_tensor *u = v_mul(ctx, x, v_shift(ctx, v_scale(ctx, x2, cubic), scale));
    tt_tensor *s = v_unary(ctx, TT_OP_sigmoid, u);
    tt_tensor *fall = v_mul(ctx, s, v_one_minus(ctx, s));
    tt_tensor *u1 = v_shift(ctx, v_scale(ctx, x2, 3 * cubic), scale);
    tt_tensor *even = v_add(ctx, v_scale(ctx, u1, 2.0), v_scale(ctx, x2, 6 * cubic));
    tt_tensor *odd = v_mul(ctx, x, v_shift(ctx, v_scale(ctx, s, -2.0), 1.0));
    tt_tensor *steep = v_mul(ctx, v_mul(ctx, fall, u1), u1);
    return v_add(ctx, v_mul(ctx, fall, even), v_mul(ctx, steep, odd));
}

static void gelu_backward_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy,
                              const bool *need, tt_tensor **dx)
{
    tt_tensor *x = node->in[1];
    if (need[0]) dx[0] = times_slope(ctx, node, dy[0], x);
    if (!need[1]) return;
    x = v_clamp(ctx, x, -GATES_END, GATES_END);
    tt_tensor *x2 = v_mul(ctx, x, x);
    tt_tensor *bend = node->attrs.ints[0] ? tanh_curvature(ctx, x, x2) : curvature(ctx, x2);
    dx[1] = v_mul(ctx, v_mul(ctx, node->in[0], dy[0]), bend);
}

TT_OP(gelu, .inputs = 1, .attributes = gelu_names, .layout = TT_STRIDED, .keeps = 1,
      .infer = infer_same, .vjp = gelu_vjp)
TT_OP(gelu_backward, .inputs = 2, .attributes = gelu_names, .layout = TT_STRIDED, .keeps = 3,
      .infer = infer_same, .vjp = gelu_backward_vjp)

#endif
