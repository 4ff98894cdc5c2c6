/* op_rules: the shape rules that several operations share. */
#include <string.h>

#include "op.h"

int normal_axis(int64_t axis, int ndim)
{
    if (axis < 0) axis += ndim;
    return axis >= 0 && axis < ndim ? (int)axis : -1;
}

tt_status infer_same(tt_call *c)
{
    const tt_tensor *x = c->in[0];
    c->spec[0] = (tt_spec){.dtype = x->dtype, .ndim = x->ndim};
    memcpy(c->spec[0].shape, x->shape, sizeof x->shape);
    for (int i = 1; i < c->n_in; i++) {
        if (c->in[i] != NULL && !tensor_same_shape(x, c->in[i]))
            return tt_fail(TT_ERR_SHAPE, c->op->name, "shapes %s and %s must be equal",
                           SHAPE_TEXT(x), SHAPE_TEXT(c->in[i]));
    }
    return TT_OK;
}

/* Replaces one input by a view of it in a larger shape. Broadcasting is this one operation: its
 * backward sums. */
tt_status call_broadcast(tt_call *c, int ndim, const int64_t *shape, int input)
{
    tt_tensor *t = c->in[input];
    if (t->ndim == ndim && memcmp(t->shape, shape, (size_t)ndim * sizeof shape[0]) == 0)
        return TT_OK;
    tt_attrs attrs = {.n_ints = ndim};
    memcpy(attrs.ints, shape, (size_t)ndim * sizeof shape[0]);
    return tape_apply(c->ctx, TT_OP_expand, &c->in[input], 1, &attrs, call_place(c), &c->in[input]);
}

/* The common shape of two inputs by numpy's rule: aligned at the end, a size of 1 stretches. */
tt_status prepare_broadcast(tt_call *c)
{
    const tt_tensor *a = c->in[0], *b = c->in[1];
    if (tensor_same_shape(a, b)) return TT_OK;
    int ndim = a->ndim > b->ndim ? a->ndim : b->ndim;
    int64_t shape[TT_MAX_DIMS];
    for (int i = 0; i < ndim; i++) {
        int64_t m = i < a->ndim ? a->shape[a->ndim - 1 - i] : 1;
        int64_t n = i < b->ndim ? b->shape[b->ndim - 1 - i] : 1;
        if (m != n && m != 1 && n != 1)
            return tt_fail(TT_ERR_SHAPE, c->op->name,
                           "shapes %s and %s cannot be broadcast together", SHAPE_TEXT(a),
                           SHAPE_TEXT(b));
        shape[ndim - 1 - i] = m == 1 ? n : m;
    }
    TT_TRY(call_broadcast(c, ndim, shape, 0));
    return call_broadcast(c, ndim, shape, 1);
}
