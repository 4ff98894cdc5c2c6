/* prod: the product over adjacent axes. Integers give int64.
 *
 * The gradient of x_i is dy times the product of all others, which is what comes before x_i times
 * what comes after: right with any number of zeros, where y / x_i is not. */
#include "../op.h"

#ifdef TT_KERNELS

TT_FOLD(prod_fold, *, 1, a)

static tt_status prod_forward(tt_call *c)
{
    fold f = fold_of(c->in[X], c->attrs);
    if (fold_totals(c, &f) == NULL) return TT_ERR_NOMEM;
    fold_run(&f, prod_fold);
    for (int64_t i = f.lines; i < f.pieces * f.lines; i++) f.total[i % f.lines] *= f.total[i];
    T *y = c->out[Y]->data;
    for (int64_t i = 0; i < f.lines; i++) y[i] = (T)f.total[i];
    return TT_OK;
}

typedef struct {
    const T *x, *dy; /* (outer, n, inner), (outer, inner) */
    T *dx;
    SUM *before; /* (outer, n, inner) */
    tt_span s;
    int64_t lines_per_shard;
    bool acc;
} prod_plan;

static void prod_backward_shard(void *arg, int64_t shard)
{
    const prod_plan *p = arg;
    tt_span s = p->s;
    int64_t end = at_most((shard + 1) * p->lines_per_shard, s.outer * s.inner);
    for (int64_t line = shard * p->lines_per_shard; line < end; line++) {
        int64_t first = line / s.inner * s.n * s.inner + line % s.inner;
        SUM product = 1;
        for (int64_t i = 0; i < s.n; i++) {
            p->before[first + i * s.inner] = product;
            product *= (SUM)p->x[first + i * s.inner];
        }
        product = (SUM)p->dy[line];
        for (int64_t i = s.n - 1; i >= 0; i--) {
            put(p->dx + first + i * s.inner, (T)(p->before[first + i * s.inner] * product), p->acc);
            product *= (SUM)p->x[first + i * s.inner];
        }
    }
}

static tt_status prod_backward(tt_call *c)
{
    const tt_tensor *x = c->in[X];
    prod_plan p = {.x = x->data,
                   .dy = c->dy[Y],
                   .dx = c->dx[X],
                   .s = rule_span_of(x, c->attrs),
                   .acc = c->acc[X]};
    p.before = call_scratch(c, (size_t)x->numel * sizeof *p.before);
    if (p.before == NULL) return TT_ERR_NOMEM;
    p.lines_per_shard = rows_per_shard(p.s.n);
    parallel_for(shards_of(p.s.outer * p.s.inner, p.lines_per_shard), prod_backward_shard, &p);
    return TT_OK;
}
TT_KERNELS_OF(prod, prod_forward, prod_backward)

#else

static tt_status prod_infer(tt_call *c)
{
    TT_TRY(rule_span(c));
    if (!dtype_is_float(c->in[X]->dtype)) c->spec[Y].dtype = TT_INT64;
    return TT_OK;
}

/* x (outer, n, inner) moved by `by` places along n, towards the end or the beginning; ones move
 * in. */
static tt_tensor *prod_moved(tt_ctx *ctx, tt_tensor *x, int64_t by, bool to_end)
{
    if (x == NULL) return NULL;
    int64_t n = x->shape[1], left = n - by;
    int64_t free_shape[3] = {x->shape[0], by, x->shape[2]};
    tt_tensor *kept = v_slice(ctx, x, 1, to_end ? 0 : by, left);
    tt_tensor *ones = v_constant(ctx, x->dtype, 3, free_shape, 1.0);
    return v_add(ctx, v_slice_backward(ctx, kept, 1, to_end ? by : 0, n),
                 v_slice_backward(ctx, ones, 1, to_end ? 0 : left, n));
}

/* The product of all before (or after) each place, by doubling: words alone, so that it can be
 * differentiated again. */
static tt_tensor *prod_of_others(tt_ctx *ctx, tt_tensor *x, int64_t n, bool before)
{
    tt_tensor *product = prod_moved(ctx, x, 1, before);
    for (int64_t by = 1; by < n - 1; by *= 2)
        product = v_mul(ctx, product, prod_moved(ctx, product, by, before));
    return product;
}

static void prod_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                     tt_tensor **dx)
{
    (void)need;
    tt_tensor *x = node->in[X], *g = v_span_expand(ctx, dy[Y], x, &node->attrs);
    tt_span s = rule_span_of(x, &node->attrs);
    if (x->numel == 0 || s.n == 1) {
        dx[X] = g;
        return;
    }
    int64_t shape[3] = {s.outer, s.n, s.inner};
    /* In double, as the kernels have it: a part of a product may overflow where the whole does
     * not. */
    tt_tensor *lines = v_to(ctx, v_reshape(ctx, x, 3, shape), TT_FLOAT64);
    tt_tensor *others =
        v_mul(ctx, prod_of_others(ctx, lines, s.n, true), prod_of_others(ctx, lines, s.n, false));
    g = v_to(ctx, v_reshape(ctx, g, 3, shape), TT_FLOAT64);
    tt_tensor *slopes = v_to(ctx, v_mul(ctx, g, others), x->dtype);
    dx[X] = slopes != NULL ? v_reshape_like(ctx, slopes, x) : NULL;
}

TT_OP(prod, .inputs = 1, .attributes = span_names, .flags = TT_INTEGERS, .keeps = BIT(X),
      .infer = prod_infer, .vjp = prod_vjp)

#endif
