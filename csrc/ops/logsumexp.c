/* logsumexp: ln sum e^x over adjacent axes, as m + ln sum e^(x - m) with m the largest x. Where all
 * x are -inf, or there are none, it is -inf and its gradient zero. Saves m and sum e^(x - m) apart,
 * so that large x lose nothing. */
#include "../op.h"

enum { LOGSUMEXP_MAX, LOGSUMEXP_SUM }; /* saved */

#ifdef TT_KERNELS

TT_FOLD(logsumexp_fold, +, 0, (SUM)tt_exp((T)(a - b)))
TT_ROW(logsumexp_row_backward, tt_exp(a - b) * d)

static tt_status logsumexp_forward(tt_call *c)
{
    fold f = fold_of(c->in[X], c->attrs);
    T *y = c->out[Y]->data, *max = call_save(c, LOGSUMEXP_MAX, (size_t)f.lines * sizeof *max),
      *sum = call_save(c, LOGSUMEXP_SUM, (size_t)f.lines * sizeof *sum);
    SUM *with = call_scratch(c, (size_t)f.lines * sizeof *with);
    f.value = call_scratch(c, (size_t)(f.pieces * f.lines) * sizeof *f.value);
    if (max == NULL || sum == NULL || with == NULL || f.value == NULL || fold_totals(c, &f) == NULL)
        return TT_ERR_NOMEM;
    if (f.s.n > 0) {
        fold_run(&f, largest_fold);
        extremum_join(true, &f);
    }
    /* An infinite m would make inf - inf of the terms; without it they are 0 or inf. */
    for (int64_t i = 0; i < f.lines; i++) {
        max[i] = f.s.n > 0 && f.value[i] != -INFINITY ? f.value[i] : 0;
        with[i] = isfinite(max[i]) ? (SUM)max[i] : 0;
    }
    f.with = with;
    fold_sum(&f, logsumexp_fold);
    for (int64_t i = 0; i < f.lines; i++) {
        sum[i] = (T)f.total[i];
        y[i] = (T)(with[i] + log(f.total[i]));
    }
    return TT_OK;
}

/* dx = e^(x - m) dy / sum e^(x - m) */
static tt_status logsumexp_backward(tt_call *c)
{
    tt_span s = rule_span_of(c->in[X], c->attrs);
    const T *dy = c->dy[Y], *sum = c->saved[LOGSUMEXP_SUM];
    T *factor = call_scratch(c, (size_t)(s.outer * s.inner) * sizeof *factor);
    if (factor == NULL) return TT_ERR_NOMEM;
    for (int64_t i = 0; i < s.outer * s.inner; i++) factor[i] = sum[i] == 0 ? 0 : dy[i] / sum[i];
    span_backward(c, logsumexp_row_backward, c->saved[LOGSUMEXP_MAX], factor);
    return TT_OK;
}
TT_KERNELS_OF(logsumexp, logsumexp_forward, logsumexp_backward)

#else

#include <math.h>

/* dx = dy softmax(x), which is zero where y is -inf: there it is taken of zeros. */
static void logsumexp_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                          tt_tensor **dx)
{
    (void)need;
    const tt_attrs *attrs = &node->attrs;
    tt_tensor *x = node->in[X], *y = node->out[Y];
    tt_span s = rule_span_of(x, attrs);
    int64_t shape[3] = {s.outer, s.n, s.inner};
    tt_tensor *zero = v_number(ctx, y, 0.0);
    tt_tensor *nothing = v_binary(ctx, TT_OP_eq, y, v_number(ctx, y, -HUGE_VAL));
    tt_tensor *mask = v_span_expand(ctx, nothing, x, attrs);
    tt_tensor *lines = v_reshape(ctx, v_where(ctx, mask, zero, x), 3, shape);
    tt_tensor *shares = v_softmax(ctx, lines, 1);
    if (shares == NULL) return;
    shares = v_where(ctx, mask, zero, v_reshape_like(ctx, shares, x));
    dx[X] = v_mul(ctx, v_span_expand(ctx, dy[Y], x, attrs), shares);
}

TT_OP(logsumexp, .inputs = 1, .attributes = span_names, .flags = TT_TO_FLOAT, .keeps = BIT(X),
      .infer = rule_span, .vjp = logsumexp_vjp)

#endif
