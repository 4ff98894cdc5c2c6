/* logsumexp: ln sum e^x over adjacent axes, as m + ln sum e^(x - m) with m the largest x. ints:
 * keepdim, the first axis, how many. Where all x are -inf, or there are none, it is -inf and its
 * gradient zero. */
#include "../op.h"

#ifdef TT_KERNELS

TT_FOLD(logsumexp_fold, +, 0, (SUM)tt_exp((T)(a - b)))
TT_ROW(logsumexp_row_backward, b == -INFINITY ? 0 : tt_exp(a - b) * d)

static tt_status logsumexp_forward(tt_call *c)
{
    fold f = fold_of(c->in[0], c->attrs);
    T *y = c->out[0]->data;
    SUM *most = call_scratch(c, (size_t)f.lines * sizeof *most);
    f.value = call_scratch(c, (size_t)(f.pieces * f.lines) * sizeof *f.value);
    if (most == NULL || f.value == NULL || fold_totals(c, &f) == NULL) return TT_ERR_NOMEM;
    if (f.s.n > 0) {
        fold_run(&f, largest_fold);
        largest_join(&f);
    }
    /* An infinite m would make inf - inf of the terms; without it they are 0 or inf. */
    for (int64_t i = 0; i < f.lines; i++)
        most[i] = f.s.n > 0 && isfinite(f.value[i]) ? (SUM)f.value[i] : 0;
    f.with = most;
    fold_sum(&f, logsumexp_fold);
    for (int64_t i = 0; i < f.lines; i++) y[i] = (T)(most[i] + log(f.total[i]));
    return TT_OK;
}

static tt_status logsumexp_backward(tt_call *c)
{
    span_backward(c, logsumexp_row_backward, c->out[0]->data, c->dy[0]);
    return TT_OK;
}
TT_KERNELS_OF(logsumexp, logsumexp_forward, logsumexp_backward)

#else

#include <math.h>

/* dx = dy e^(x - y), which is zero where y is -inf */
static void logsumexp_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                          tt_tensor **dx)
{
    (void)need;
    const tt_attrs *attrs = &node->attrs;
    tt_tensor *x = node->in[0], *y = node->out[0];
    tt_tensor *nothing = v_binary(ctx, TT_OP_eq, y, v_number(ctx, y, -HUGE_VAL));
    tt_tensor *log_sum = v_where(ctx, nothing, v_number(ctx, y, 0.0), y);
    tt_tensor *terms = v_sub(ctx, x, v_span_expand(ctx, log_sum, x, attrs));
    dx[0] = v_mul(ctx, v_span_expand(ctx, dy[0], x, attrs), v_unary(ctx, TT_OP_exp, terms));
}

TT_OP(logsumexp, .inputs = 1, .flags = TT_TO_FLOAT, .keeps = 1, .infer = infer_span,
      .vjp = logsumexp_vjp)

#endif
