/* sum: over any axes, all of them when none is named. ints[0]: keepdim; ints[1..]: the axes. */
#include "../op.h"

TT_ATTRS(sum, keepdim, axes[])

/* Which axes go; the same reading of the attributes for the shape rule, the kernels and the vjp. */
#ifndef TT_SUM_AXES
#define TT_SUM_AXES
static tt_status sum_axes(const char *op, const tt_tensor *x, const tt_attrs *attrs, bool *reduced)
{
    for (int i = 0; i < x->ndim; i++) reduced[i] = attrs->n_ints <= 1;
    for (int i = 1; i < attrs->n_ints; i++) {
        int axis = normal_axis(attrs->ints[i], x->ndim);
        if (axis < 0) return fail_axis(op, attrs->ints[i], x);
        if (reduced[axis]) return tt_fail(TT_ERR_ARG, op, "axis %d appears more than once", axis);
        reduced[axis] = true;
    }
    return TT_OK;
}
#endif

#ifdef TT_KERNELS

TT_FOLD(sum_fold, +, 0, a)

/* Whether the axes lie side by side, as folds have them. */
static bool sum_adjacent(const bool *reduced, int ndim, tt_attrs *span)
{
    int first = 0;
    while (first < ndim && !reduced[first]) first++;
    int end = first;
    while (end < ndim && reduced[end]) end++;
    *span = (tt_attrs){.ints = {0, first, end - first}};
    while (end < ndim && !reduced[end]) end++;
    return end == ndim;
}

static tt_status sum_forward(tt_call *c)
{
    bool reduced[TT_MAX_DIMS];
    tt_attrs span;
    TT_TRY(sum_axes(c->op->name, c->in[0], c->attrs, reduced));
    if (c->in[0]->contiguous && sum_adjacent(reduced, c->in[0]->ndim, &span)) {
        fold f = fold_of(c->in[0], &span);
        if (fold_totals(c, &f) == NULL) return TT_ERR_NOMEM;
        fold_sum(&f, sum_fold);
        T *y = c->out[0]->data;
        for (int64_t i = 0; i < f.lines; i++) y[i] = (T)f.total[i];
        return TT_OK;
    }
    SUM *total = call_scratch(c, (size_t)c->out[0]->numel * sizeof *total);
    if (total == NULL) return TT_ERR_NOMEM;
    reduce_sum(c->in[0], reduced, c->out[0]->data, c->out[0]->numel, total, false);
    return TT_OK;
}

TT_ROW(sum_row_backward, a)

static tt_status sum_backward(tt_call *c)
{
    const tt_tensor *x = c->in[0];
    bool reduced[TT_MAX_DIMS];
    TT_TRY(sum_axes(c->op->name, x, c->attrs, reduced));
    tt_tensor dy = dense_like(x, c->dy[0]);
    int64_t stride = 1;
    for (int i = x->ndim - 1; i >= 0; i--) {
        dy.strides[i] = reduced[i] ? 0 : stride;
        stride *= reduced[i] ? 1 : x->shape[i];
    }
    const tt_tensor *operands[MAX_OPERANDS] = {&dy};
    elementwise(sum_row_backward, x, operands, c->dx[0], c->acc[0]);
    return TT_OK;
}
TT_KERNELS_OF(sum, sum_forward, sum_backward)

#else

static tt_status sum_infer(tt_call *c)
{
    const tt_tensor *x = c->in[0];
    bool reduced[TT_MAX_DIMS];
    TT_TRY(sum_axes(c->op->name, x, c->attrs, reduced));
    c->spec[0] = (tt_spec){.dtype = dtype_is_float(x->dtype) ? x->dtype : TT_INT64};
    for (int i = 0; i < x->ndim; i++) {
        if (!reduced[i] || c->attrs->ints[0])
            c->spec[0].shape[c->spec[0].ndim++] = reduced[i] ? 1 : x->shape[i];
    }
    return TT_OK;
}

static void sum_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                    tt_tensor **dx)
{
    (void)need;
    const tt_tensor *x = node->in[0];
    bool reduced[TT_MAX_DIMS];
    int64_t kept[TT_MAX_DIMS];
    if (sum_axes("sum", x, &node->attrs, reduced) != TT_OK) return;
    for (int i = 0; i < x->ndim; i++) kept[i] = reduced[i] ? 1 : x->shape[i];
    dx[0] = v_expand_like(ctx, v_reshape(ctx, dy[0], x->ndim, kept), x);
}

TT_OP(sum, .inputs = 1, .attributes = sum_names, .flags = TT_INTEGERS, .layout = TT_STRIDED,
      .infer = sum_infer, .vjp = sum_vjp)

#endif
