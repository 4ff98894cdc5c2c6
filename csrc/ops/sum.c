/* sum: over any axes, all of them when none is named. */
#include "../op.h"

TT_ATTRS(sum, keepdim, axes[])

/* Which axes go; the same reading of the attributes for the shape rule, the kernels and the vjp. */
static tt_status sum_axes(const char *op, const tt_tensor *x, const tt_attrs *attrs, bool *reduced)
{
    const sum_attrs a = sum_read(attrs);
    for (int i = 0; i < x->ndim; i++) reduced[i] = a.n_axes == 0;
    for (int i = 0; i < a.n_axes; i++) {
        int axis = rule_normal_axis(a.axes[i], x->ndim);
        if (axis < 0) return rule_fail_axis(op, a.axes[i], x);
        if (reduced[axis]) return tt_fail(TT_ERR_ARG, op, "axis %d appears more than once", axis);
        reduced[axis] = true;
    }
    return TT_OK;
}

#ifdef TT_KERNELS

TT_FOLD(sum_fold, +, 0, a)

/* Whether the axes lie side by side, as folds have them. */
static bool sum_adjacent(const bool *reduced, int ndim, span_attrs *span)
{
    int first = 0;
    while (first < ndim && !reduced[first]) first++;
    int end = first;
    while (end < ndim && reduced[end]) end++;
    *span = (span_attrs){.first = first, .count = end - first};
    while (end < ndim && !reduced[end]) end++;
    return end == ndim;
}

static tt_status sum_forward(tt_call *c)
{
    bool reduced[TT_MAX_DIMS];
    span_attrs span;
    TT_TRY(sum_axes(c->op->name, c->in[X], c->attrs, reduced));
    if (c->in[X]->contiguous && sum_adjacent(reduced, c->in[X]->ndim, &span)) {
        fold f = fold_of(c->in[X], (tt_attrs[]){span_pack(span)});
        if (fold_totals(c, &f) == NULL) return TT_ERR_NOMEM;
        fold_sum(&f, sum_fold);
        T *y = c->out[Y]->data;
        for (int64_t i = 0; i < f.lines; i++) y[i] = (T)f.total[i];
        return TT_OK;
    }
    SUM *total = call_scratch(c, (size_t)c->out[Y]->numel * sizeof *total);
    if (total == NULL) return TT_ERR_NOMEM;
    reduce_sum(c->in[X], reduced, c->out[Y]->data, c->out[Y]->numel, total, false);
    return TT_OK;
}

TT_ROW(sum_row_backward, a)

static tt_status sum_backward(tt_call *c)
{
    const tt_tensor *x = c->in[X];
    bool reduced[TT_MAX_DIMS];
    TT_TRY(sum_axes(c->op->name, x, c->attrs, reduced));
    tt_tensor dy = dense_like(x, c->dy[Y]);
    int64_t stride = 1;
    for (int i = x->ndim - 1; i >= 0; i--) {
        dy.strides[i] = reduced[i] ? 0 : stride;
        stride *= reduced[i] ? 1 : x->shape[i];
    }
    const tt_tensor *operands[MAX_OPERANDS] = {&dy};
    elementwise(sum_row_backward, x, operands, c->dx[X], c->acc[X]);
    return TT_OK;
}
TT_KERNELS_OF(sum, sum_forward, sum_backward)

#else

static tt_status sum_infer(tt_call *c)
{
    const tt_tensor *x = c->in[X];
    bool reduced[TT_MAX_DIMS];
    TT_TRY(sum_axes(c->op->name, x, c->attrs, reduced));
    c->spec[Y] = (tt_spec){.dtype = dtype_is_float(x->dtype) ? x->dtype : TT_INT64};
    for (int i = 0; i < x->ndim; i++) {
        if (!reduced[i] || sum_read(c->attrs).keepdim)
            c->spec[Y].shape[c->spec[Y].ndim++] = reduced[i] ? 1 : x->shape[i];
    }
    return TT_OK;
}

static void sum_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                    tt_tensor **dx)
{
    (void)need;
    const tt_tensor *x = node->in[X];
    bool reduced[TT_MAX_DIMS];
    int64_t kept[TT_MAX_DIMS];
    if (sum_axes("sum", x, &node->attrs, reduced) != TT_OK) return;
    for (int i = 0; i < x->ndim; i++) kept[i] = reduced[i] ? 1 : x->shape[i];
    dx[X] = v_expand_like(ctx, v_reshape(ctx, dy[Y], x->ndim, kept), x);
}

TT_OP(sum, .inputs = 1, .attributes = sum_names, .flags = TT_INTEGERS, .layout = TT_STRIDED,
      .infer = sum_infer, .vjp = sum_vjp)

#endif
