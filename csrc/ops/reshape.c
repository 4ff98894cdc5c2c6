/* reshape: the same elements in another shape; one size may be -1. A view where the strides allow
 * one, else of a copy, which `no_copy` refuses. The gradient is dy itself. */
#include "../op.h"

TT_ATTRS(reshape, sizes[], real no_copy)

#ifdef TT_KERNELS

TT_KERNELS_OF(reshape, NULL, NULL)

#else

/* Strides that show x, which has elements, in the new shape without moving one. x is read from its
 * end in runs that lie densely; each run must hold exactly as many elements as some of the new
 * sizes. */
static bool view_strides(const tt_tensor *x, int ndim, const int64_t *shape, int64_t *strides)
{
    int to = ndim - 1;
    for (int from = x->ndim - 1; from >= 0;) {
        if (x->shape[from] == 1) {
            from--;
            continue;
        }
        int64_t stride = x->strides[from], count = x->shape[from], taken = 1;
        for (from--; from >= 0 && (x->shape[from] == 1 || x->strides[from] == stride * count);
             from--)
            count *= x->shape[from];
        while (to >= 0 && taken < count) {
            strides[to] = stride * taken;
            taken *= shape[to--];
        }
        if (taken != count) return false;
    }
    while (to >= 0) strides[to--] = 1;
    return true;
}

static tt_status reshape_target(const tt_call *c, int64_t *shape)
{
    const tt_tensor *x = c->in[X];
    const reshape_attrs a = reshape_read(c->attrs);
    int ndim = a.n_sizes, unknown = -1;
    int64_t known = 1;
    bool fits = ndim <= TT_MAX_DIMS;
    for (int i = 0; i < ndim && fits; i++) {
        shape[i] = a.sizes[i];
        if (shape[i] == -1 && unknown < 0) unknown = i;
        else fits = shape[i] >= 0 && !__builtin_mul_overflow(known, shape[i], &known);
    }
    if (fits && unknown >= 0) {
        fits = known > 0 && x->numel % known == 0;
        shape[unknown] = fits ? x->numel / known : -1;
    } else if (fits) {
        fits = known == x->numel;
    }
    if (fits) return TT_OK;
    return tt_fail(TT_ERR_SHAPE, c->op->name,
                   "shape %s is invalid for a tensor of shape %s (%lld elements)",
                   shape_text(ndim, a.sizes), SHAPE_TEXT(x), (long long)x->numel);
}

static tt_status reshape_prepare(tt_call *c)
{
    const reshape_attrs a = reshape_read(c->attrs);
    int64_t shape[TT_MAX_INTS], strides[TT_MAX_INTS];
    TT_TRY(reshape_target(c, shape));
    if (c->in[X]->numel == 0 || view_strides(c->in[X], a.n_sizes, shape, strides)) return TT_OK;
    if (a.no_copy != 0)
        return tt_fail(TT_ERR_SHAPE, "view",
                       "a tensor of shape %s with strides %s cannot be seen as %s without a copy: "
                       "use reshape() or contiguous()",
                       SHAPE_TEXT(c->in[X]), shape_text(c->in[X]->ndim, c->in[X]->strides),
                       shape_text(a.n_sizes, a.sizes));
    tt_attrs none = {0};
    return apply_op(c->ctx, TT_OP_contiguous, &c->in[X], 1, &none, call_place(c), &c->in[X]);
}

static tt_status reshape_infer(tt_call *c)
{
    tt_spec *spec = &c->spec[Y];
    *spec = (tt_spec){.dtype = c->in[X]->dtype, .ndim = reshape_read(c->attrs).n_sizes};
    TT_TRY(reshape_target(c, spec->shape));
    /* Where there are no elements, any strides do. */
    if (c->in[X]->numel > 0) view_strides(c->in[X], spec->ndim, spec->shape, spec->strides);
    return TT_OK;
}

TT_OP(reshape, .inputs = 1, .attributes = reshape_names, .flags = TT_VIEW | TT_ANY_DTYPE,
      .layout = TT_STRIDED, .passes = BIT(X), .prepare = reshape_prepare, .infer = reshape_infer)

#endif
