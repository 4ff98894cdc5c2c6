/* softplus: y = log(1 + e^(beta x)) / beta, and x itself where beta x > threshold.
 * dx = dy sigmoid(beta x), and dy. */
#include "../op.h"

TT_ATTRS(softplus, real beta, real threshold)

#ifdef TT_KERNELS

/* p1: beta and threshold. The larger of 0 and z is taken out of the logarithm: e^z may overflow. */
static void softplus_row(int64_t n, const T *p0, int64_t s0, const T *p1, int64_t s1, const T *p2,
                         int64_t s2, T *restrict out, bool acc)
{
    const T beta = p1[0], threshold = p1[1], scale = 1 / beta;
    (void)s0, (void)s1, (void)p2, (void)s2, (void)acc;
    for (int64_t i = 0; i < n; i++) {
        T x = p0[i], z = beta * x, size = z < 0 ? -z : z;
        T y = ((z > 0 ? z : 0) + tt_log1p(tt_exp(-size))) * scale;
        out[i] = z > threshold ? x : y;
    }
}

static void softplus_row_backward(int64_t n, const T *p0, int64_t s0, const T *p1, int64_t s1,
                                  const T *p2, int64_t s2, T *restrict out, bool acc)
{
    const T beta = p1[0], threshold = p1[1];
    (void)s0, (void)s1, (void)s2;
    for (int64_t i = 0; i < n; i++) {
        T z = beta * p0[i], slope = z > threshold ? 1 : tt_sigmoid(z);
        put(out + i, p2[i] * slope, acc);
    }
}

static tt_status softplus_forward(tt_call *c)
{
    const softplus_attrs a = softplus_read(c->attrs);
    T numbers[2] = {(T)a.beta, (T)a.threshold};
    tt_tensor given = number_like(c->in[X], numbers);
    const tt_tensor *operands[MAX_OPERANDS] = {c->in[X], &given};
    elementwise(softplus_row, c->in[X], operands, c->out[Y]->data, false);
    return TT_OK;
}

static tt_status softplus_backward(tt_call *c)
{
    const softplus_attrs a = softplus_read(c->attrs);
    T numbers[2] = {(T)a.beta, (T)a.threshold};
    tt_tensor given = number_like(c->in[X], numbers), dy = dense_like(c->in[X], c->dy[Y]);
    const tt_tensor *operands[MAX_OPERANDS] = {c->in[X], &given, &dy};
    elementwise(softplus_row_backward, c->in[X], operands, c->dx[X], c->acc[X]);
    return TT_OK;
}
TT_KERNELS_OF(softplus, softplus_forward, softplus_backward)

#else

static tt_status softplus_infer(tt_call *c)
{
    if (!softplus_complete(c->attrs))
        return tt_fail(TT_ERR_ARG, c->op->name, "expected beta and threshold");
    return rule_same_shape(c);
}

static void softplus_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                         tt_tensor **dx)
{
    (void)need;
    const softplus_attrs a = softplus_read(&node->attrs);
    tt_tensor *z = v_scale(ctx, node->in[X], a.beta);
    tt_tensor *linear = v_binary(ctx, TT_OP_gt, z, v_number(ctx, z, a.threshold));
    dx[X] = v_where(ctx, linear, dy[Y], v_mul(ctx, dy[Y], v_unary(ctx, TT_OP_sigmoid, z)));
}

TT_OP(softplus, .inputs = 1, .attributes = softplus_names, .keeps = BIT(X), .infer = softplus_infer,
      .vjp = softplus_vjp)

#endif
