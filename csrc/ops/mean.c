/* mean: the sum over adjacent axes over how many there are; NaN where there are none. That of equal
 * elements is exact: SUM holds the sum of float32s, and for float64 what a first mean is away from
 * the elements is found in a second pass. */
#include "../op.h"

#ifdef TT_KERNELS

TT_FOLD(mean_fold, +, 0, a)
TT_FOLD(mean_rest_fold, +, 0, a - b)
TT_ROW(mean_row_backward, d)

static tt_status mean_forward(tt_call *c)
{
    fold f = fold_of(c->in[X], c->attrs);
    if (fold_totals(c, &f) == NULL) return TT_ERR_NOMEM;
    fold_sum(&f, mean_fold);
    T *y = c->out[Y]->data;
    for (int64_t i = 0; i < f.lines; i++) y[i] = (T)(f.total[i] / (SUM)f.s.n);
    if (sizeof(T) < sizeof(SUM)) return TT_OK;
    SUM *mean = call_scratch(c, (size_t)f.lines * sizeof *mean);
    if (mean == NULL) return TT_ERR_NOMEM;
    for (int64_t i = 0; i < f.lines; i++) mean[i] = (SUM)y[i];
    f.with = mean;
    fold_sum(&f, mean_rest_fold);
    for (int64_t i = 0; i < f.lines; i++) {
        SUM rest = f.total[i] / (SUM)f.s.n;
        if (isfinite(rest)) y[i] += (T)rest;
    }
    return TT_OK;
}

static tt_status mean_backward(tt_call *c)
{
    tt_span s = rule_span_of(c->in[X], c->attrs);
    const T *dy = c->dy[Y];
    T *dy_each = call_scratch(c, (size_t)(s.outer * s.inner) * sizeof *dy_each);
    if (dy_each == NULL) return TT_ERR_NOMEM;
    for (int64_t i = 0; i < s.outer * s.inner; i++) dy_each[i] = (T)((SUM)dy[i] / (SUM)s.n);
    span_backward(c, mean_row_backward, dy_each, dy_each);
    return TT_OK;
}
TT_KERNELS_OF(mean, mean_forward, mean_backward)

#else

static void mean_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                     tt_tensor **dx)
{
    (void)need;
    const tt_tensor *x = node->in[X];
    double n = (double)rule_span_of(x, &node->attrs).n;
    dx[X] = v_span_expand(ctx, v_scale(ctx, dy[Y], 1 / n), x, &node->attrs);
}

TT_OP(mean, .inputs = 1, .attributes = span_names, .infer = rule_span, .vjp = mean_vjp)

#endif
