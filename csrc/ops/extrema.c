/* extrema: amax and amin over adjacent axes; max and min over one axis with the index at which they
 * were found; argmax and argmin, the index alone. NaN counts as the largest and as the smallest, as
 * in PyTorch, and of equals the first is found. The indices count the elements of the axes. The
 * gradient of amax is shared by equals; that of max goes to the index. */
#include "../op.h"

#ifdef TT_KERNELS

/* Either output may be absent. One piece a line is folded in its place. */
static tt_status extremum_run(tt_call *c, bool least, T *value, int64_t *index)
{
    fold f = fold_of(c->in[X], c->attrs);
    size_t n = (size_t)(f.pieces * f.lines);
    f.value = f.pieces == 1 && value != NULL ? value : call_scratch(c, n * sizeof(T));
    f.index = f.pieces == 1 || index == NULL ? index : call_scratch(c, n * sizeof(int64_t));
    if (f.value == NULL || (f.index == NULL && index != NULL)) return TT_ERR_NOMEM;
    fold_run(&f, least ? smallest_fold : largest_fold);
    extremum_join(!least, &f);
    n = (size_t)f.lines;
    if (value != NULL && value != f.value) memcpy(value, f.value, n * sizeof(T));
    if (index != NULL && index != f.index) memcpy(index, f.index, n * sizeof(int64_t));
    return TT_OK;
}

static tt_status amax_forward(tt_call *c) { return extremum_run(c, false, c->out[Y]->data, NULL); }
static tt_status amin_forward(tt_call *c) { return extremum_run(c, true, c->out[Y]->data, NULL); }
static tt_status max_forward(tt_call *c)
{
    return extremum_run(c, false, c->out[VALUES]->data, c->out[INDICES]->data);
}
static tt_status min_forward(tt_call *c)
{
    return extremum_run(c, true, c->out[VALUES]->data, c->out[INDICES]->data);
}
static tt_status argmax_forward(tt_call *c)
{
    return extremum_run(c, false, NULL, c->out[Y]->data);
}
static tt_status argmin_forward(tt_call *c) { return extremum_run(c, true, NULL, c->out[Y]->data); }

#define SAME(a, b) ((a) == (b) || ((a) != (a) && (b) != (b)))

TT_FOLD(equals_fold, +, 0, SAME(a, b))
TT_ROW(equals_row_backward, SAME(a, b) ? d : 0)

static tt_status amax_backward(tt_call *c)
{
    fold f = fold_of(c->in[X], c->attrs);
    const T *y = c->out[Y]->data, *dy = c->dy[Y];
    SUM *with = call_scratch(c, (size_t)f.lines * sizeof *with);
    T *dy_each = call_scratch(c, (size_t)f.lines * sizeof *dy_each);
    if (with == NULL || dy_each == NULL || fold_totals(c, &f) == NULL) return TT_ERR_NOMEM;
    for (int64_t i = 0; i < f.lines; i++) with[i] = (SUM)y[i];
    f.with = with;
    fold_sum(&f, equals_fold);
    for (int64_t i = 0; i < f.lines; i++) dy_each[i] = (T)((SUM)dy[i] / f.total[i]);
    span_backward(c, equals_row_backward, y, dy_each);
    return TT_OK;
}

static tt_status max_backward(tt_call *c)
{
    span_scatter(c, rule_span_of(c->in[X], c->attrs), 1);
    return TT_OK;
}

TT_KERNELS_OF(amax, amax_forward, amax_backward)
TT_KERNELS_OF(amin, amin_forward, amax_backward)
TT_KERNELS_OF(max, max_forward, max_backward)
TT_KERNELS_OF(min, min_forward, max_backward)
TT_KERNELS_OF(argmax, argmax_forward, NULL)
TT_KERNELS_OF(argmin, argmin_forward, NULL)

#else

static tt_status max_infer(tt_call *c)
{
    TT_TRY(rule_nonempty_span(c));
    c->spec[INDICES] = c->spec[VALUES];
    c->spec[INDICES].dtype = TT_INT64;
    return TT_OK;
}

static tt_status argmax_infer(tt_call *c)
{
    TT_TRY(rule_nonempty_span(c));
    c->spec[Y].dtype = TT_INT64;
    return TT_OK;
}

static void extremum_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                         tt_tensor **dx)
{
    (void)need;
    tt_tensor *g = v_span_expand(ctx, dy[Y], node->in[X], &node->attrs);
    dx[X] = v_mul(ctx, g, v_weights(ctx, node));
}

TT_OP(amax, .inputs = 1, .attributes = span_names, .flags = TT_INTEGERS, .keeps = BIT(X),
      .infer = rule_nonempty_span, .vjp = extremum_vjp)
TT_OP(amin, .inputs = 1, .attributes = span_names, .flags = TT_INTEGERS, .keeps = BIT(X),
      .infer = rule_nonempty_span, .vjp = extremum_vjp)
TT_OP(max, .inputs = 1, .attributes = span_names, .outputs = 2, .flags = TT_INTEGERS,
      .own_dtype = BIT(INDICES), .infer = max_infer, .vjp = extremum_vjp)
TT_OP(min, .inputs = 1, .attributes = span_names, .outputs = 2, .flags = TT_INTEGERS,
      .own_dtype = BIT(INDICES), .infer = max_infer, .vjp = extremum_vjp)
TT_OP(argmax, .inputs = 1, .attributes = span_names, .flags = TT_INTEGERS | TT_NOGRAD,
      .own_dtype = BIT(Y), .infer = argmax_infer)
TT_OP(argmin, .inputs = 1, .attributes = span_names, .flags = TT_INTEGERS | TT_NOGRAD,
      .own_dtype = BIT(Y), .infer = argmax_infer)

#endif
