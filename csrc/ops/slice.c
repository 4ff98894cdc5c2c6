/* slice: start, start + step, ... along one axis, as a view; and slice_backward, which puts a slice
 * into zeros. Each is the gradient of the other. ints of slice: axis, start, step, length;
 * slice_backward adds the full size. */
#include "../op.h"

TT_ATTRS(slice, axis, start, step, length)
TT_ATTRS(slice_backward, axis, start, step, length, size)

#ifdef TT_KERNELS

/* A row of the full tensor is everything from the axis on. Of each the slice takes `runs` runs of
 * `run` elements, `stride` apart; a slice without steps is one run. */
typedef struct {
    T *full, *part;
    int64_t rows, row, first, stride, runs, run;
    bool acc;
} slice_plan;

static slice_plan slice_plan_of(const tt_tensor *full, const tt_attrs *attrs)
{
    const int64_t *ints = attrs->ints;
    tt_span s = span_of_axis(full, normal_axis(ints[0], full->ndim));
    bool together = ints[2] == 1;
    return (slice_plan){.rows = s.outer,
                        .row = s.n * s.inner,
                        .first = ints[1] * s.inner,
                        .stride = ints[3] > 1 ? ints[2] * s.inner : 0, /* a lone one has any */
                        .runs = together ? 1 : ints[3],
                        .run = together ? ints[3] * s.inner : s.inner};
}

static void slice_put_shard(void *arg, int64_t shard)
{
    const slice_plan *p = arg;
    int64_t rows = rows_per_shard(p->row), end = at_most((shard + 1) * rows, p->rows);
    for (int64_t r = shard * rows; r < end; r++) {
        T *row = p->full + r * p->row, *first = row + p->first, *after = first + p->run;
        const T *src = p->part + r * p->runs * p->run;
        if (!p->acc && p->runs == 1) { /* each element is written once */
            memset(row, 0, (size_t)p->first * sizeof(T));
            memcpy(first, src, (size_t)p->run * sizeof(T));
            memset(after, 0, (size_t)(row + p->row - after) * sizeof(T));
            continue;
        }
        if (!p->acc) memset(row, 0, (size_t)p->row * sizeof(T));
        for (int64_t i = 0; i < p->runs; i++) {
            T *restrict dst = first + i * p->stride;
            for (int64_t j = 0; j < p->run; j++) dst[j] += src[i * p->run + j];
        }
    }
}

static void slice_get_shard(void *arg, int64_t shard)
{
    const slice_plan *p = arg;
    int64_t rows = rows_per_shard(p->row), end = at_most((shard + 1) * rows, p->rows);
    for (int64_t r = shard * rows; r < end; r++) {
        for (int64_t i = 0; i < p->runs; i++) {
            const T *src = p->full + r * p->row + p->first + i * p->stride;
            T *restrict dst = p->part + (r * p->runs + i) * p->run;
            for (int64_t j = 0; j < p->run; j++) put(dst + j, src[j], p->acc);
        }
    }
}

static tt_status slice_run(slice_plan p, const void *full, const void *part, bool acc,
                           parallel_fn shard)
{
    p.full = as_writable(full);
    p.part = as_writable(part);
    p.acc = acc;
    parallel_for(shards_of(p.rows, rows_per_shard(p.row)), shard, &p);
    return TT_OK;
}

static tt_status slice_backward_kernel(tt_call *c)
{
    return slice_run(slice_plan_of(c->in[0], c->attrs), c->dx[0], c->dy[0], c->acc[0],
                     slice_put_shard);
}
TT_KERNELS_OF(slice, NULL, slice_backward_kernel)

static tt_status slice_backward_forward(tt_call *c)
{
    return slice_run(slice_plan_of(c->out[0], c->attrs), c->out[0]->data, c->in[0]->data, false,
                     slice_put_shard);
}

static tt_status slice_backward_backward(tt_call *c)
{
    return slice_run(slice_plan_of(c->out[0], c->attrs), c->dy[0], c->dx[0], c->acc[0],
                     slice_get_shard);
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
    bool fits = axis >= 0 && x->shape[axis] == a[3] && a[1] >= 0 && a[1] <= a[4] && a[2] >= 1 &&
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

TT_OP(slice, .inputs = 1, .attributes = slice_names, .flags = TT_VIEW | TT_ANY_DTYPE,
      .layout = TT_STRIDED, .infer = slice_infer, .vjp = slice_vjp)
TT_OP(slice_backward, .inputs = 1, .attributes = slice_backward_names,
      .infer = slice_backward_infer, .vjp = slice_backward_vjp)

#endif
