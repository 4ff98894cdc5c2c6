/* slice: start, start + step, ... along one axis, as a view; and slice_backward, which puts a slice
 * into zeros of the full size. Each is the gradient of the other. */
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
    const slice_attrs a = slice_read(attrs); /* with which those of slice_backward begin */
    tt_span s = rule_span_of_axis(full, rule_normal_axis(a.axis, full->ndim));
    bool together = a.step == 1;
    return (slice_plan){.rows = s.outer,
                        .row = s.n * s.inner,
                        .first = a.start * s.inner,
                        .stride = a.length > 1 ? a.step * s.inner : 0, /* a lone one has any */
                        .runs = together ? 1 : a.length,
                        .run = together ? a.length * s.inner : s.inner};
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
    return slice_run(slice_plan_of(c->in[X], c->attrs), c->dx[X], c->dy[Y], c->acc[X],
                     slice_put_shard);
}
TT_KERNELS_OF(slice, NULL, slice_backward_kernel)

static tt_status slice_backward_forward(tt_call *c)
{
    return slice_run(slice_plan_of(c->out[Y], c->attrs), c->out[Y]->data, c->in[X]->data, false,
                     slice_put_shard);
}

static tt_status slice_backward_backward(tt_call *c)
{
    return slice_run(slice_plan_of(c->out[Y], c->attrs), c->dy[Y], c->dx[X], c->acc[X],
                     slice_get_shard);
}
TT_KERNELS_OF(slice_backward, slice_backward_forward, slice_backward_backward)

#else

static tt_status slice_infer(tt_call *c)
{
    const tt_tensor *x = c->in[X];
    const slice_attrs a = slice_read(c->attrs);
    int axis = slice_complete(c->attrs) ? rule_normal_axis(a.axis, x->ndim) : -1;
    if (axis < 0) return rule_fail_axis(c->op->name, a.axis, x);
    int64_t size = x->shape[axis];
    bool inside = a.step >= 1 && a.length >= 0 && a.start >= 0 && a.start <= size;
    if (inside && a.length > 0)
        inside = a.start < size && a.length - 1 <= (size - 1 - a.start) / a.step;
    if (!inside)
        return tt_fail(TT_ERR_INDEX, c->op->name,
                       "start %lld, step %lld, length %lld do not fit an axis of size %lld",
                       (long long)a.start, (long long)a.step, (long long)a.length, (long long)size);
    c->spec[Y] = rule_spec_like(x);
    c->spec[Y].offset = a.start * x->strides[axis];
    memcpy(c->spec[Y].strides, x->strides, sizeof x->strides);
    c->spec[Y].shape[axis] = a.length;
    if (a.length > 1) c->spec[Y].strides[axis] *= a.step; /* a single place has any stride */
    return TT_OK;
}

static void slice_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                      tt_tensor **dx)
{
    (void)need;
    const slice_attrs a = slice_read(&node->attrs);
    const tt_tensor *x = node->in[X];
    const int64_t size = x->shape[rule_normal_axis(a.axis, x->ndim)];
    dx[X] = v_call(ctx, TT_OP_slice_backward, INPUTS(dy[Y]),
                   ATTRS(slice_backward, .axis = a.axis, .start = a.start, .step = a.step,
                         .length = a.length, .size = size));
}

static tt_status slice_backward_infer(tt_call *c)
{
    const tt_tensor *x = c->in[X];
    const slice_backward_attrs a = slice_backward_read(c->attrs);
    int axis = slice_backward_complete(c->attrs) ? rule_normal_axis(a.axis, x->ndim) : -1;
    bool fits =
        axis >= 0 && x->shape[axis] == a.length && a.start >= 0 && a.start <= a.size && a.step >= 1;
    if (fits && a.length > 0)
        fits = a.start < a.size && a.length - 1 <= (a.size - 1 - a.start) / a.step;
    if (!fits)
        return tt_fail(TT_ERR_SHAPE, c->op->name, "shape %s is no slice of axis %lld of size %lld",
                       SHAPE_TEXT(x), (long long)a.axis, (long long)a.size);
    c->spec[Y] = rule_spec_like(x);
    c->spec[Y].shape[axis] = a.size;
    return TT_OK;
}

static void slice_backward_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy,
                               const bool *need, tt_tensor **dx)
{
    (void)need;
    const slice_attrs back = slice_read(&node->attrs);
    dx[X] = v_call(ctx, TT_OP_slice, INPUTS(dy[Y]), (tt_attrs[]){slice_pack(back)});
}

TT_OP(slice, .inputs = 1, .attributes = slice_names, .flags = TT_VIEW | TT_ANY_DTYPE,
      .layout = TT_STRIDED, .infer = slice_infer, .vjp = slice_vjp)
TT_OP(slice_backward, .inputs = 1, .attributes = slice_backward_names,
      .infer = slice_backward_infer, .vjp = slice_backward_vjp)

#endif
