/* op_rules: the shape rules that several operations share. */
#include "op_rules.h"

#include <string.h>

#include "apply.h"
#include "attributes.h"

int rule_normal_axis(int64_t axis, int ndim)
{
    if (axis < 0) axis += ndim;
    return axis >= 0 && axis < ndim ? (int)axis : -1;
}

tt_status rule_fail_axis(const char *op, int64_t axis, const tt_tensor *x)
{
    return tt_fail(TT_ERR_INDEX, op, "axis %lld is out of range for a tensor of %d dimensions",
                   (long long)axis, x->ndim);
}

tt_status rule_check_axis(const tt_call *c, bool given, int64_t axis)
{
    const tt_tensor *x = c->in[X];
    if (!given) axis = -1;
    if (axis >= 0 && axis < (x->ndim > 0 ? x->ndim : 1)) return TT_OK;
    return rule_fail_axis(c->op->name, axis, x);
}

tt_spec rule_spec_like(const tt_tensor *x)
{
    tt_spec spec = {.dtype = x->dtype, .ndim = x->ndim};
    memcpy(spec.shape, x->shape, sizeof x->shape);
    return spec;
}

tt_status rule_same_shape(tt_call *c)
{
    const tt_tensor *x = c->in[X];
    c->spec[Y] = rule_spec_like(x);
    c->spec[Y].dtype = c->dtype;
    for (int i = 1; i < c->n_in; i++) {
        if (c->in[i] != NULL && !tensor_same_shape(x, c->in[i]))
            return tt_fail(TT_ERR_SHAPE, c->op->name, "shapes %s and %s must be equal",
                           SHAPE_TEXT(x), SHAPE_TEXT(c->in[i]));
    }
    return TT_OK;
}

tt_status rule_predicate(tt_call *c)
{
    TT_TRY(rule_same_shape(c));
    c->spec[Y].dtype = TT_BOOL;
    return TT_OK;
}

/* Replaces one input by a view of it in a larger shape. Broadcasting is this one operation: its
 * backward sums. */
tt_status rule_broadcast_input(tt_call *c, int ndim, const int64_t *shape, int input)
{
    tt_tensor *t = c->in[input];
    if (t->ndim == ndim && memcmp(t->shape, shape, (size_t)ndim * sizeof shape[0]) == 0)
        return TT_OK;
    return apply_op(c->ctx, TT_OP_expand, &c->in[input], 1,
                    ATTRS(expand, .n_sizes = ndim, .sizes = shape), call_place(c), &c->in[input]);
}

static tt_status fail_broadcast(const tt_call *c)
{
    const tt_tensor *given[TT_MAX_IN] = {NULL};
    for (int i = 0, n = 0; i < c->n_in; i++) {
        if (c->in[i] != NULL) given[n++] = c->in[i];
    }
    const tt_tensor *a = given[0], *b = given[1], *d = given[2];
    if (d == NULL)
        return tt_fail(TT_ERR_SHAPE, c->op->name, "shapes %s and %s cannot be broadcast together",
                       SHAPE_TEXT(a), SHAPE_TEXT(b));
    return tt_fail(TT_ERR_SHAPE, c->op->name, "shapes %s, %s and %s cannot be broadcast together",
                   SHAPE_TEXT(a), SHAPE_TEXT(b), SHAPE_TEXT(d));
}

/* The common shape by numpy's rule: aligned at the end, a size of 1 stretches. */
tt_status rule_broadcast(tt_call *c)
{
    int ndim = 0;
    int64_t shape[TT_MAX_DIMS] = {0}; /* from the last axis to the first */
    bool stretch = false;
    for (int k = 0; k < c->n_in; k++) {
        const tt_tensor *t = c->in[k];
        if (t == NULL) continue;
        stretch = stretch || !tensor_same_shape(t, c->in[X]);
        for (int i = 0; i < t->ndim; i++) {
            int64_t n = t->shape[t->ndim - 1 - i], *common = &shape[i];
            if (i >= ndim || *common == 1) *common = n;
            else if (n != *common && n != 1) return fail_broadcast(c);
        }
        ndim = t->ndim > ndim ? t->ndim : ndim;
    }
    if (!stretch) return TT_OK;
    int64_t full[TT_MAX_DIMS];
    for (int i = 0; i < ndim; i++) full[i] = shape[ndim - 1 - i];
    for (int k = 0; k < c->n_in; k++) {
        if (c->in[k] != NULL) TT_TRY(rule_broadcast_input(c, ndim, full, k));
    }
    return TT_OK;
}

tt_span rule_span_of_axes(const tt_tensor *x, int64_t first, int64_t count)
{
    tt_span s = {1, 1, 1};
    for (int i = 0; i < x->ndim; i++)
        *(i < first ? &s.outer : i < first + count ? &s.n : &s.inner) *= x->shape[i];
    return s;
}

tt_span rule_span_of_axis(const tt_tensor *x, int64_t axis)
{
    return rule_span_of_axes(x, axis, 1);
}

tt_span rule_span_of(const tt_tensor *x, const tt_attrs *attrs)
{
    const span_attrs a = span_read(attrs);
    return rule_span_of_axes(x, a.first, a.count);
}

static tt_status shape_without_span(tt_call *c, bool nonempty)
{
    const tt_tensor *x = c->in[X];
    const span_attrs a = span_read(c->attrs);
    if (c->attrs->n_ints < 3 || a.first < 0 || a.count < 0 || a.first > x->ndim ||
        a.count > x->ndim - a.first)
        return tt_fail(TT_ERR_INDEX, c->op->name,
                       "the %lld axes from %lld do not exist in a tensor of %d dimensions",
                       (long long)a.count, (long long)a.first, x->ndim);
    tt_spec *spec = &c->spec[Y];
    *spec = (tt_spec){.dtype = x->dtype};
    for (int i = 0; i < x->ndim; i++) {
        bool goes = i >= a.first && i < a.first + a.count;
        if (goes && nonempty && x->shape[i] == 0)
            return tt_fail(TT_ERR_INDEX, c->op->name,
                           "nothing to choose from: axis %d of shape %s has size 0", i,
                           SHAPE_TEXT(x));
        if (!goes || a.keepdim) spec->shape[spec->ndim++] = goes ? 1 : x->shape[i];
    }
    return TT_OK;
}

tt_status rule_span(tt_call *c) { return shape_without_span(c, false); }
tt_status rule_nonempty_span(tt_call *c) { return shape_without_span(c, true); }
