/* gelu: y = x F(x), F the normal distribution function (Hendrycks and Gimpel, 2016); exact, by erf,
 * or their approximation by tanh. gelu_backward: dx = dy y'(x), its gradient, of (dy, x). */
#include "../op.h"

#include "../loops/activations.h"

TT_ATTRS(gelu, by_tanh)
enum { GELU_BACKWARD_DY, GELU_BACKWARD_X };

#ifdef TT_KERNELS

TT_PLAIN_ROW(gelu_row, gelu_of(a))
TT_PLAIN_ROW(gelu_tanh_row, gelu_tanh_of(a))
TT_PLAIN_ROW(gelu_backward_row, a *gelu_slope(b))
TT_PLAIN_ROW(gelu_tanh_backward_row, a *gelu_tanh_slope(b))
TT_PLAIN_ROW(gelu_curvature_row, a * d * gelu_curvature(b))
TT_PLAIN_ROW(gelu_tanh_curvature_row, a * d * gelu_tanh_curvature(b))

static tt_status gelu_forward(tt_call *c)
{
    const tt_tensor *operands[MAX_OPERANDS] = {c->in[X]};
    elementwise(gelu_read(c->attrs).by_tanh ? gelu_tanh_row : gelu_row, c->in[X], operands,
                c->out[Y]->data, false);
    return TT_OK;
}

static void gelu_times_slope(const tt_call *c, const tt_tensor *dy, const tt_tensor *x, void *dx,
                             bool acc)
{
    const tt_tensor *operands[MAX_OPERANDS] = {dy, x};
    elementwise(gelu_read(c->attrs).by_tanh ? gelu_tanh_backward_row : gelu_backward_row, x,
                operands, dx, acc);
}

static tt_status gelu_backward_kernel(tt_call *c)
{
    tt_tensor dy = dense_like(c->in[X], c->dy[Y]);
    gelu_times_slope(c, &dy, c->in[X], c->dx[X], c->acc[X]);
    return TT_OK;
}
TT_KERNELS_OF(gelu, gelu_forward, gelu_backward_kernel)

static tt_status gelu_backward_forward(tt_call *c)
{
    gelu_times_slope(c, c->in[GELU_BACKWARD_DY], c->in[GELU_BACKWARD_X], c->out[Y]->data, false);
    return TT_OK;
}

static tt_status gelu_backward_backward(tt_call *c)
{
    const tt_tensor *x = c->in[GELU_BACKWARD_X];
    tt_tensor d = dense_like(x, c->dy[Y]);
    const tt_tensor *operands[MAX_OPERANDS] = {c->in[GELU_BACKWARD_DY], x, &d};
    if (c->dx[GELU_BACKWARD_DY] != NULL)
        gelu_times_slope(c, &d, x, c->dx[GELU_BACKWARD_DY], c->acc[GELU_BACKWARD_DY]);
    if (c->dx[GELU_BACKWARD_X] != NULL)
        elementwise(gelu_read(c->attrs).by_tanh ? gelu_tanh_curvature_row : gelu_curvature_row, x,
                    operands, c->dx[GELU_BACKWARD_X], c->acc[GELU_BACKWARD_X]);
    return TT_OK;
}
TT_KERNELS_OF(gelu_backward, gelu_backward_forward, gelu_backward_backward)

#else

static tt_tensor *times_slope(tt_ctx *ctx, const tt_node *node, tt_tensor *dy, tt_tensor *x)
{
    return v_call(ctx, TT_OP_gelu_backward, INPUTS(dy, x), &node->attrs);
}

static void gelu_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                     tt_tensor **dx)
{
    (void)need;
    dx[X] = times_slope(ctx, node, dy[Y], node->in[X]);
}

/* (2 - x^2) p(x), p the density */
static tt_tensor *curvature(tt_ctx *ctx, tt_tensor *x2)
{
    tt_tensor *bell = v_unary(ctx, TT_OP_exp, v_scale(ctx, x2, -0.5));
    return v_scale(ctx, v_mul(ctx, v_shift(ctx, v_neg(ctx, x2), 2.0), bell), INVERSE_SQRT_2PI);
}

/* s' (2 u' + x u'') + s' u'^2 x (1 - 2 s) for y = x s(u), as in gelu_tanh_curvature */
static tt_tensor *tanh_curvature(tt_ctx *ctx, tt_tensor *x, tt_tensor *x2)
{
    double scale = 2 * GELU_TANH_SCALE, cubic = scale * GELU_TANH_CUBIC;
    tt_tensor *u = v_mul(ctx, x, v_shift(ctx, v_scale(ctx, x2, cubic), scale));
    tt_tensor *s = v_unary(ctx, TT_OP_sigmoid, u);
    tt_tensor *ds = v_mul(ctx, s, v_one_minus(ctx, s));
    tt_tensor *du = v_shift(ctx, v_scale(ctx, x2, 3 * cubic), scale);
    tt_tensor *even = v_add(ctx, v_scale(ctx, du, 2.0), v_scale(ctx, x2, 6 * cubic));
    tt_tensor *odd = v_mul(ctx, x, v_shift(ctx, v_scale(ctx, s, -2.0), 1.0));
    tt_tensor *ds_du2 = v_mul(ctx, v_mul(ctx, ds, du), du);
    return v_add(ctx, v_mul(ctx, ds, even), v_mul(ctx, ds_du2, odd));
}

static void gelu_backward_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy,
                              const bool *need, tt_tensor **dx)
{
    tt_tensor *x = node->in[GELU_BACKWARD_X];
    if (need[GELU_BACKWARD_DY]) dx[GELU_BACKWARD_DY] = times_slope(ctx, node, dy[Y], x);
    if (!need[GELU_BACKWARD_X]) return;
    x = v_clamp(ctx, x, -GATES_END, GATES_END);
    tt_tensor *x2 = v_mul(ctx, x, x);
    tt_tensor *second =
        gelu_read(&node->attrs).by_tanh ? tanh_curvature(ctx, x, x2) : curvature(ctx, x2);
    dx[GELU_BACKWARD_X] = v_mul(ctx, v_mul(ctx, node->in[GELU_BACKWARD_DY], dy[Y]), second);
}

TT_OP(gelu, .inputs = 1, .attributes = gelu_names, .layout = TT_STRIDED, .keeps = BIT(X),
      .infer = rule_same_shape, .vjp = gelu_vjp)
TT_OP(gelu_backward, .inputs = 2, .attributes = gelu_names, .layout = TT_STRIDED,
      .keeps = BIT(GELU_BACKWARD_DY) | BIT(GELU_BACKWARD_X), .infer = rule_same_shape,
      .vjp = gelu_backward_vjp)

#endif
