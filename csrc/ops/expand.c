/* expand: sizes of 1 stretched and new leading axes, as a view with stride 0. This is all of
 * broadcasting, and its gradient, a sum, is the only place where broadcasting is undone. A new size
 * of -1 keeps that of the input. */
#include "../op.h"

TT_ATTRS(expand, sizes[])

#ifdef TT_KERNELS

static tt_status expand_backward(tt_call *c)
{
    const tt_tensor *x = c->in[X], *y = c->out[Y];
    tt_tensor dy = dense_like(y, c->dy[Y]);
    bool reduced[TT_MAX_DIMS];
    for (int i = 0; i < y->ndim; i++) {
        int from = i - (y->ndim - x->ndim);
        reduced[i] = from < 0 || (x->shape[from] == 1 && y->shape[i] != 1);
    }
    SUM *total = call_scratch(c, (size_t)x->numel * sizeof *total);
    if (total == NULL) return TT_ERR_NOMEM;
    reduce_sum(&dy, reduced, c->dx[X], x->numel, total, c->acc[X]);
    return TT_OK;
}
TT_KERNELS_OF(expand, NULL, expand_backward)

#else

static tt_status expand_infer(tt_call *c)
{
    const tt_tensor *x = c->in[X];
    tt_spec *spec = &c->spec[Y];
    const expand_attrs a = expand_read(c->attrs);
    int ndim = a.n_sizes, extra = ndim - x->ndim;
    bool fits = extra >= 0 && ndim <= TT_MAX_DIMS;
    *spec = (tt_spec){.dtype = x->dtype, .ndim = ndim};
    for (int i = 0; i < ndim && fits; i++) {
        int64_t wanted = a.sizes[i];
        if (i < extra) {
            fits = wanted >= 0;
            spec->shape[i] = wanted;
            continue;
        }
        int64_t size = x->shape[i - extra];
        if (wanted == -1) wanted = size;
        fits = wanted == size || (size == 1 && wanted >= 0);
        spec->shape[i] = wanted;
        spec->strides[i] = wanted == size ? x->strides[i - extra] : 0;
    }
    if (fits) return TT_OK;
    return tt_fail(TT_ERR_SHAPE, c->op->name, "shape %s cannot be expanded to %s", SHAPE_TEXT(x),
                   shape_text(ndim, a.sizes));
}

static void expand_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                       tt_tensor **dx)
{
    (void)need;
    const tt_tensor *x = node->in[X], *y = node->out[Y];
    int64_t dims[TT_MAX_DIMS];
    int n = 0;
    for (int i = 0; i < y->ndim; i++) {
        int from = i - (y->ndim - x->ndim);
        if (from < 0 || (x->shape[from] == 1 && y->shape[i] != 1)) dims[n++] = i;
    }
    tt_tensor *sum = n > 0 ? v_sum(ctx, dy[Y], n, dims, true) : dy[Y];
    dx[X] = sum != NULL ? v_reshape_like(ctx, sum, x) : NULL;
}

TT_OP(expand, .inputs = 1, .attributes = expand_names, .flags = TT_VIEW | TT_ANY_DTYPE,
      .layout = TT_STRIDED, .infer = expand_infer, .vjp = expand_vjp)

#endif
