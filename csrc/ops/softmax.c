/* softmax: y = e^x / sum e^x along one axis; and log_softmax, its logarithm. A line that is -inf
 * throughout has no softmax: it gives NaN, or, if softmax is told `masked`, zeros, and passes no
 * gradient: all keys of an attention are masked. */
#include "../op.h"

TT_ATTRS(softmax, axis, masked)

#ifdef TT_KERNELS

/* The tensor as (outer, n, inner); one line is n elements with stride inner. */
typedef struct {
    const T *x, *y, *dy;
    T *out;
    int64_t outer, n, inner, lines_per_shard;
    bool log, masked, acc;
} softmax_plan;

/* The stride is p->inner, and a constant where it is 1. */
TT_INLINE void softmax_line(const softmax_plan *p, int64_t offset, int64_t stride)
{
    const T *x = p->x + offset;
    T *restrict y = p->out + offset;
    T m = line_max(x, p->n, stride), s = 0;
    if (p->masked && m == -INFINITY) m = 0;
    if (p->log) {
        T log_sum = tt_log(line_exp_sum(x, p->n, stride, m));
        for (int64_t i = 0; i < p->n; i++) y[i * stride] = x[i * stride] - m - log_sum;
        return;
    }
    TT_LANES_SUM(s, p->n, (y[i * stride] = tt_exp_negative(x[i * stride] - m)));
    T scale = s == 0 ? 0 : 1 / s; /* 0 where m was put to 0 */
    for (int64_t i = 0; i < p->n; i++) y[i * stride] *= scale;
}

/* softmax: dx = y (dy - sum y dy); log_softmax: dx = dy - e^y sum dy */
TT_INLINE void softmax_line_backward(const softmax_plan *p, int64_t offset, int64_t stride)
{
    const T *y = p->y + offset, *dy = p->dy + offset;
    T *restrict dx = p->out + offset, s = 0;
    if (p->log) {
        TT_LANES_SUM(s, p->n, dy[i * stride]);
        for (int64_t i = 0; i < p->n; i++)
            put(dx + i * stride, dy[i * stride] - tt_exp_negative(y[i * stride]) * s, p->acc);
    } else {
        TT_LANES_SUM(s, p->n, y[i * stride] * dy[i * stride]);
        for (int64_t i = 0; i < p->n; i++)
            put(dx + i * stride, y[i * stride] * (dy[i * stride] - s), p->acc);
    }
}

static void softmax_shard(void *arg, int64_t shard)
{
    const softmax_plan *p = arg;
    int64_t begin = shard * p->lines_per_shard,
            end = at_most(begin + p->lines_per_shard, p->outer * p->inner);
    for (int64_t line = begin; line < end; line++) {
        int64_t offset = line / p->inner * p->n * p->inner + line % p->inner;
        if (p->dy != NULL && p->inner == 1) softmax_line_backward(p, offset, 1);
        else if (p->dy != NULL) softmax_line_backward(p, offset, p->inner);
        else if (p->inner == 1) softmax_line(p, offset, 1);
        else softmax_line(p, offset, p->inner);
    }
}

static tt_status softmax_run(const tt_call *c, softmax_plan p)
{
    const tt_tensor *x = c->in[X];
    tt_span s = rule_span_of_axis(x, rule_normal_axis(softmax_read(c->attrs).axis, x->ndim));
    p.outer = s.outer;
    p.n = s.n;
    p.inner = s.inner;
    p.lines_per_shard = rows_per_shard(p.n);
    parallel_for(shards_of(p.outer * p.inner, p.lines_per_shard), softmax_shard, &p);
    return TT_OK;
}

static tt_status softmax_forward(tt_call *c)
{
    return softmax_run(c, (softmax_plan){.x = c->in[X]->data,
                                         .out = c->out[Y]->data,
                                         .masked = softmax_read(c->attrs).masked});
}

static tt_status softmax_backward(tt_call *c)
{
    return softmax_run(
        c, (softmax_plan){.y = c->out[Y]->data, .dy = c->dy[Y], .out = c->dx[X], .acc = c->acc[X]});
}
TT_KERNELS_OF(softmax, softmax_forward, softmax_backward)

static tt_status log_softmax_forward(tt_call *c)
{
    return softmax_run(c, (softmax_plan){.x = c->in[X]->data, .out = c->out[Y]->data, .log = true});
}

static tt_status log_softmax_backward(tt_call *c)
{
    return softmax_run(
        c,
        (softmax_plan){
            .y = c->out[Y]->data, .dy = c->dy[Y], .out = c->dx[X], .acc = c->acc[X], .log = true});
}
TT_KERNELS_OF(log_softmax, log_softmax_forward, log_softmax_backward)

#else

static tt_status softmax_infer(tt_call *c)
{
    int ndim = c->in[X]->ndim;
    int64_t axis = softmax_read(c->attrs).axis;
    if (ndim > 0 && (c->attrs->n_ints < 1 || rule_normal_axis(axis, ndim) < 0))
        return rule_fail_axis(c->op->name, axis, c->in[X]);
    return rule_same_shape(c);
}

static void softmax_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                        tt_tensor **dx)
{
    (void)need;
    tt_tensor *y = node->out[Y];
    int axis = rule_normal_axis(softmax_read(&node->attrs).axis, y->ndim);
    tt_tensor *weighted = v_mul(ctx, y, dy[Y]);
    tt_tensor *total = y->ndim > 0 ? v_sum_axis(ctx, weighted, axis) : weighted;
    dx[X] = v_mul(ctx, y, v_sub(ctx, dy[Y], total));
}

static void log_softmax_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy,
                            const bool *need, tt_tensor **dx)
{
    (void)need;
    tt_tensor *y = node->out[Y];
    int axis = rule_normal_axis(softmax_read(&node->attrs).axis, y->ndim);
    tt_tensor *total = y->ndim > 0 ? v_sum_axis(ctx, dy[Y], axis) : dy[Y];
    dx[X] = v_sub(ctx, dy[Y], v_mul(ctx, v_unary(ctx, TT_OP_exp, y), total));
}

TT_OP(softmax, .inputs = 1, .attributes = softmax_names, .infer = softmax_infer, .vjp = softmax_vjp)
TT_OP(log_softmax, .inputs = 1, .attributes = softmax_names, .infer = softmax_infer,
      .vjp = log_softmax_vjp)

#endif
