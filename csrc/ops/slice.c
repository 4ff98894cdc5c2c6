/* slice: start, start + step, ... along one axis, as a view; and slice_backward, which puts a slice
 * into zeros. Each is the gradient of the other. ints of slice: axis, start, step, length;
 * slice_backward adds the full size. */
#include "../op.h"

#ifdef TT_KERNELS

/* The full tensor as (outer, size, inner), of which the slice takes `length` of the middle. */
typedef struct {
    int64_t outer, size, inner, start, step, length;
} slice_shape;

static slice_shape slice_shape_of(const tt_tensor *full, const tt_attrs *attrs)
{
    const int64_t *ints = attrs->ints;
    tt_span s = span_of_axis(full, normal_axis(ints[0], full->ndim));
    return (slice_shape){s.outer, s.n, s.inner, ints[1], ints[2], ints[3]};
}

static void slice_put(slice_shape s, T *full, const T *part)
{
    for (int64_t o = 0; o < s.outer; o++) {
        for (int64_t i = 0; i < s.length; i++) {
            T *dst = full + (o * s.size + s.start + i * s.step) * s.inner;
            const T *src = part + (o * s.length + i) * s.inner;
            for (int64_t j = 0; j < s.inner; j++) dst[j] += src[j];
        }
    }
}

static void slice_get(slice_shape s, const T *full, T *part, bool acc)
{
    for (int64_t o = 0; o < s.outer; o++) {
        for (int64_t i = 0; i < s.length; i++) {
            const T *src = full + (o * s.size + s.start + i * s.step) * s.inner;
            T *dst = part + (o * s.length + i) * s.inner;
            for (int64_t j = 0; j < s.inner; j++) put(dst + j, src[j], acc);
        }
    }
}

static tt_status slice_backward_kernel(tt_call *c)
{
    if (!c->acc[0]) memset(c->dx[0], 0, tensor_bytes(c->in[0]));
    slice_put(slice_shape_of(c->in[0], c->attrs), c->dx[0], c->dy[0]);
    return TT_OK;
}
TT_KERNELS_OF(slice, NULL, slice_backward_kernel)

static tt_status slice_backward_forward(tt_call *c)
{
    memset(c->out[0]->data, 0, tensor_bytes(c->out[0]));
    slice_put(slice_shape_of(c->out[0], c->attrs), c->out[0]->data, data_of(c->in[0]));
    return TT_OK;
}

static tt_status slice_backward_backward(tt_call *c)
{
    slice_get(slice_shape_of(c->out[0], c->attrs), c->dy[0], c->dx[0], c->acc[0]);
    return TT_OK;
}
TT_KERNELS_OF(slice_backward, slice_backward_forward, slice_backward_backward)

#else

static tt_status slice_infer(tt_call *c)
{
    const tt_tensor *x = c->in[0];
    const int64_t *a = c->attrs->ints;
    int axis = c->attrs->n_ints == 4 ? normal_axis(a[0], x->ndim) : -1;
    if (axis < 0) return fail_axis(c->op->name, a[0], x);
    int64_t start = a[1], step = a[2], length = a[3], size = x->shape[axis];
    bool inside = step >= 1 && length >= 0 && start >= 0 && start <= size;
    if (inside && length > 0) inside = start < size && length - 1 <= (size - 1 - start) / step;
    if (!inside)
        return tt_fail(TT_ERR_INDEX, c->op->name,
                       "start %lld, step %lld, length %lld do not fit an axis of size %lld",
                       (long long)start, (long long)step, (long long)length, (long long)size);
    c->spec[0] = spec_like(x);
    c->spec[0].offset = start * x->strides[axis];
    memcpy(c->spec[0].strides, x->strides, sizeof x->strides);
    c->spec[0].shape[axis] = length;
    if (length > 1) c->spec[0].strides[axis] *= step; /* a single place has any stride */
    return TT_OK;
}

static void slice_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                      tt_tensor **dx)
{
    (void)need;
    tt_tensor *g = dy[0];
    tt_attrs attrs = node->attrs;
    attrs.ints[4] = node->in[0]->shape[normal_axis(attrs.ints[0], node->in[0]->ndim)];
    attrs.n_ints = 5;
    dx[0] = v_call(ctx, TT_OP_slice_backward, &g, 1, &attrs);
}

static tt_status slice_backward_infer(tt_call *c)
{
    const tt_tensor *x = c->in[0];
    const int64_t *a = c->attrs->ints;
    int axis = c->attrs->n_ints == 5 ? normal_axis(a[0], x->ndim) : -1;
    bool fits = axis >= 0 && x->shape[axis] == a[3] && a[1] >= 0 && a[2] >= 1 &&
                (a[3] == 0 || (a[1] < a[4] && a[3] - 1 <= (a[4] - 1 - a[1]) / a[2]));
    if (!fits)
        return tt_fail(TT_ERR_SHAPE, c->op->name, "shape %s is no slice of axis %lld of size %lld",
                       SHAPE_TEXT(x), (long long)a[0], (long long)a[4]);
    c->spec[0] = spec_like(x);
    c->spec[0].shape[axis] = a[4];
    return TT_OK;
}

static void slice_backward_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy,
                               const bool *need, tt_tensor **dx)
{
    (void)need;
    tt_tensor *g = dy[0];
    tt_attrs attrs = node->attrs;
    attrs.n_ints = 4;
    dx[0] = v_call(ctx, TT_OP_slice, &g, 1, &attrs);
}

TT_OP(slice, .inputs = 1, .flags = TT_VIEW | TT_ANY_DTYPE, .layout = TT_STRIDED,
      .infer = slice_infer, .vjp = slice_vjp)
TT_OP(slice_backward, .inputs = 1, .infer = slice_backward_infer, .vjp = slice_backward_vjp)

#endif
