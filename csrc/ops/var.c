/* var: sum (x - mean)^2 / (n - correction) over adjacent axes, in two passes, the mean counted from
 * the first element, so that that of equal elements is exact; and std, its square root. Without
 * degrees of freedom they are NaN or infinite. Saves the means. */
#include "../op.h"

enum { VAR_MEANS }; /* saved */

TT_ATTRS(var, keepdim, first, count, real correction)

#ifdef TT_KERNELS

TT_FOLD(var_sum_fold, +, 0, a - b)
TT_FOLD(var_square_fold, +, 0, (a - b) * (a - b))

static SUM freedom(const fold *f, const tt_call *c)
{
    SUM left = (SUM)f->s.n - (SUM)var_read(c->attrs).correction;
    return left > 0 ? left : 0;
}

static tt_status var_run(tt_call *c, bool root)
{
    fold f = fold_of(c->in[X], c->attrs);
    SUM *mean = call_save(c, VAR_MEANS, (size_t)f.lines * sizeof *mean);
    T *y = c->out[Y]->data;
    if (mean == NULL || fold_totals(c, &f) == NULL) return TT_ERR_NOMEM;
    for (int64_t i = 0; i < f.lines; i++)
        mean[i] = f.s.n > 0 ? (SUM)f.x[i / f.s.inner * f.s.n * f.s.inner + i % f.s.inner] : (SUM)0;
    f.with = mean;
    fold_sum(&f, var_sum_fold);
    for (int64_t i = 0; i < f.lines; i++) mean[i] += f.total[i] / (SUM)f.s.n;
    fold_sum(&f, var_square_fold);
    for (int64_t i = 0; i < f.lines; i++) {
        SUM var = f.total[i] / freedom(&f, c);
        y[i] = (T)(root ? sqrt(var) : var);
    }
    return TT_OK;
}

typedef struct {
    const T *x;
    T *dx;
    const SUM *mean, *factor; /* of each line */
    tt_span s;
    int64_t numel;
    bool acc;
} var_plan;

/* dx (+)= (x - mean) factor, in SUM: a factor may be as small as x is large, squared. */
static void var_backward_shard(void *arg, int64_t shard)
{
    const var_plan *p = arg;
    int64_t n = p->s.n, inner = p->s.inner, end = at_most((shard + 1) * GRAIN, p->numel);
    for (int64_t at = shard * GRAIN, run = 0; at < end; at += run) {
        const SUM *mean = p->mean + at / (n * inner) * inner + at % inner;
        const SUM *factor = p->factor + (mean - p->mean);
        const T *x = p->x + at;
        T *dx = p->dx + at;
        if (inner == 1) { /* along a line */
            run = at_most(n - at % n, end - at);
            for (int64_t i = 0; i < run; i++)
                put(dx + i, (T)(((SUM)x[i] - *mean) * *factor), p->acc);
        } else { /* across lines */
            run = at_most(inner - at % inner, end - at);
            for (int64_t i = 0; i < run; i++)
                put(dx + i, (T)(((SUM)x[i] - mean[i]) * factor[i]), p->acc);
        }
    }
}

/* The gradient of var is 2 (x - mean) dy / (n - correction); that of std has 2 std below it, and is
 * taken to be zero where std is. */
static tt_status var_run_backward(tt_call *c, bool root)
{
    fold f = fold_of(c->in[X], c->attrs);
    const T *y = c->out[Y]->data, *dy = c->dy[Y];
    SUM *factor = call_scratch(c, (size_t)f.lines * sizeof *factor);
    if (factor == NULL) return TT_ERR_NOMEM;
    for (int64_t i = 0; i < f.lines; i++) {
        SUM g = (SUM)dy[i] / freedom(&f, c);
        if (root) g = y[i] == 0 ? 0 : g / (SUM)y[i];
        factor[i] = root ? g : 2 * g;
    }
    var_plan p = {f.x, c->dx[X], c->saved[VAR_MEANS], factor, f.s, c->in[X]->numel, c->acc[X]};
    parallel_for(shards_of(p.numel, GRAIN), var_backward_shard, &p);
    return TT_OK;
}

static tt_status var_forward(tt_call *c) { return var_run(c, false); }
static tt_status var_backward(tt_call *c) { return var_run_backward(c, false); }
TT_KERNELS_OF(var, var_forward, var_backward)

static tt_status std_forward(tt_call *c) { return var_run(c, true); }
static tt_status std_backward(tt_call *c) { return var_run_backward(c, true); }
TT_KERNELS_OF(std, std_forward, std_backward)

#else

static tt_status var_infer(tt_call *c)
{
    if (c->attrs->n_reals != 1)
        return tt_fail(TT_ERR_ARG, c->op->name, "expected a correction, got none");
    return rule_span(c);
}

static tt_tensor *var_centred(tt_ctx *ctx, const tt_node *node)
{
    const var_attrs a = var_read(&node->attrs);
    tt_tensor *x = node->in[X];
    tt_tensor *mean = v_call(ctx, TT_OP_mean, INPUTS(x),
                             ATTRS(span, .keepdim = true, .first = a.first, .count = a.count));
    return v_sub(ctx, x, mean);
}

static double var_freedom(const tt_node *node)
{
    double left =
        (double)rule_span_of(node->in[X], &node->attrs).n - var_read(&node->attrs).correction;
    return left > 0 ? left : 0;
}

static void var_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                    tt_tensor **dx)
{
    (void)need;
    const tt_tensor *x = node->in[X];
    tt_tensor *factor = v_scale(ctx, dy[Y], 2 / var_freedom(node));
    if (factor == NULL) return;
    dx[X] = v_mul(ctx, var_centred(ctx, node), v_span_expand(ctx, factor, x, &node->attrs));
}

/* By way of (x - mean) / y, which is neither large nor small. */
static void std_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                    tt_tensor **dx)
{
    (void)need;
    const tt_attrs *attrs = &node->attrs;
    const tt_tensor *x = node->in[X];
    tt_tensor *y = node->out[Y];
    tt_tensor *nonzero = v_unary(ctx, TT_OP_sign, y);
    tt_tensor *divisor = v_add(ctx, y, v_one_minus(ctx, nonzero));
    tt_tensor *g = v_scale(ctx, v_mul(ctx, dy[Y], nonzero), 1 / var_freedom(node));
    if (divisor == NULL || g == NULL) return;
    tt_tensor *direction =
        v_div(ctx, var_centred(ctx, node), v_span_expand(ctx, divisor, x, attrs));
    dx[X] = v_mul(ctx, direction, v_span_expand(ctx, g, x, attrs));
}

TT_OP(var, .inputs = 1, .attributes = var_names, .keeps = BIT(X), .infer = var_infer,
      .vjp = var_vjp)
TT_OP(std, .inputs = 1, .attributes = var_names, .keeps = BIT(X), .infer = var_infer,
      .vjp = std_vjp)

#endif
