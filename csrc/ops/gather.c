/* gather: y[i, j, k] = x[i, index[i, j, k], k], the index standing for the axis ints[0]; and
 * scatter_add: x with src[i, j, k] added at [i, index[i, j, k], k]. Each is the gradient of the
 * other. The index has as many axes as x, and may be shorter along all of them. */
#include "../op.h"

#ifdef TT_KERNELS

/* Rows are runs along the last axis of the index, which src and y share. */
typedef struct {
    const tt_tensor *index;
    T *full;       /* x, dense, of shape */
    const T *part; /* src or dy; NULL where the part is written */
    T *out;        /* y */
    int64_t strides[TT_MAX_DIMS], axis_stride, length, rows, rows_in_shard;
    int axis;
    bool acc;
} gather_plan;

static gather_plan gather_plan_of(const tt_call *c, const int64_t *full_shape)
{
    gather_plan p = {.index = c->in[1], .rows = 1, .length = 1};
    int ndim = p.index->ndim;
    p.axis = normal_axis(c->attrs->ints[0], ndim);
    for (int64_t i = ndim - 1, stride = 1; i >= 0; i--) {
        p.strides[i] = stride;
        stride *= full_shape[i];
    }
    p.axis_stride = p.strides[p.axis];
    p.strides[p.axis] = 0; /* the index says where */
    p.length = p.index->shape[ndim - 1];
    p.rows = p.index->numel / at_least_one(p.length);
    p.rows_in_shard = rows_per_shard(p.length);
    return p;
}

static void gather_shard(void *arg, int64_t shard)
{
    const gather_plan *p = arg;
    int64_t begin = shard * p->rows_in_shard, end = at_most(begin + p->rows_in_shard, p->rows);
    int last = p->index->ndim - 1;
    for (int64_t row = begin; row < end; row++) {
        int64_t offset = 0, rest = row;
        for (int i = last - 1; i >= 0; i--) {
            offset += rest % p->index->shape[i] * p->strides[i];
            rest /= p->index->shape[i];
        }
        const int64_t *index = (const int64_t *)p->index->data + row * p->length;
        T *full = p->full + offset;
        for (int64_t i = 0; i < p->length; i++) {
            T *at = full + i * p->strides[last] + index[i] * p->axis_stride;
            if (p->part != NULL) *at += p->part[row * p->length + i];
            else put(p->out + row * p->length + i, *at, p->acc);
        }
    }
}

static tt_status gather_take(const tt_call *c, const int64_t *shape, const void *full, void *out,
                             bool acc)
{
    union {
        const void *read;
        T *data;
    } from = {.read = full};
    gather_plan p = gather_plan_of(c, shape);
    p.full = from.data;
    p.out = out;
    p.acc = acc;
    parallel_for(shards_of(p.rows, p.rows_in_shard), gather_shard, &p);
    return TT_OK;
}

/* In one piece: two places of the index may name one element, and sums keep their order. */
static tt_status gather_put(const tt_call *c, const int64_t *shape, void *full, const void *part)
{
    gather_plan p = gather_plan_of(c, shape);
    p.full = full;
    p.part = part;
    p.rows_in_shard = at_least_one(p.rows);
    gather_shard(&p, 0);
    return TT_OK;
}

static tt_status gather_forward(tt_call *c)
{
    return gather_take(c, c->in[0]->shape, c->in[0]->data, c->out[0]->data, false);
}

static tt_status gather_backward(tt_call *c)
{
    if (!c->acc[0]) memset(c->dx[0], 0, tensor_bytes(c->in[0]));
    return gather_put(c, c->in[0]->shape, c->dx[0], c->dy[0]);
}
TT_KERNELS_OF(gather, gather_forward, gather_backward)

static tt_status scatter_add_forward(tt_call *c)
{
    memcpy(c->out[0]->data, c->in[0]->data, tensor_bytes(c->in[0]));
    return gather_put(c, c->in[0]->shape, c->out[0]->data, c->in[2]->data);
}

static tt_status scatter_add_backward(tt_call *c)
{
    return gather_take(c, c->in[0]->shape, c->dy[0], c->dx[2], c->acc[2]);
}
TT_KERNELS_OF(scatter_add, scatter_add_forward, scatter_add_backward)

#else

static tt_status gather_check(const tt_call *c)
{
    const tt_tensor *x = c->in[0], *index = c->in[1];
    int axis = c->attrs->n_ints == 1 ? normal_axis(c->attrs->ints[0], x->ndim) : -1;
    if (axis < 0) return fail_axis(c->op->name, c->attrs->ints[0], x);
    bool fits = index->ndim == x->ndim;
    for (int i = 0; i < x->ndim && fits; i++) fits = i == axis || index->shape[i] <= x->shape[i];
    if (!fits)
        return tt_fail(TT_ERR_SHAPE, c->op->name,
                       "an index of shape %s does not fit an input of shape %s: expected as many "
                       "dimensions, and no larger sizes but along axis %d",
                       SHAPE_TEXT(index), SHAPE_TEXT(x), axis);
    for (int64_t i = 0; i < index->numel; i++) {
        int64_t at = ((const int64_t *)index->data)[i];
        if (at < 0 || at >= x->shape[axis])
            return tt_fail(TT_ERR_INDEX, c->op->name,
                           "index %lld at position %lld is out of range for axis %d of size %lld",
                           (long long)at, (long long)i, axis, (long long)x->shape[axis]);
    }
    return TT_OK;
}

static tt_status gather_infer(tt_call *c)
{
    TT_TRY(gather_check(c));
    c->spec[0] = spec_like(c->in[1]);
    c->spec[0].dtype = c->in[0]->dtype;
    return TT_OK;
}

static tt_status scatter_add_infer(tt_call *c)
{
    const tt_tensor *x = c->in[0], *index = c->in[1], *src = c->in[2];
    if (!tensor_same_shape(index, src))
        return tt_fail(TT_ERR_SHAPE, c->op->name,
                       "an index of shape %s does not fit a source of shape %s", SHAPE_TEXT(index),
                       SHAPE_TEXT(src));
    TT_TRY(gather_check(c));
    c->spec[0] = spec_like(x);
    return TT_OK;
}

static void gather_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                       tt_tensor **dx)
{
    (void)need;
    const tt_tensor *x = node->in[0];
    tt_tensor *in[3] = {v_constant(ctx, x->dtype, x->ndim, x->shape, 0.0), node->in[1], dy[0]};
    dx[0] = v_call(ctx, TT_OP_scatter_add, in, 3, &node->attrs);
}

static void scatter_add_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy,
                            const bool *need, tt_tensor **dx)
{
    (void)need;
    tt_tensor *in[2] = {dy[0], node->in[1]};
    dx[2] = v_call(ctx, TT_OP_gather, in, 2, &node->attrs);
}

TT_OP(gather, .inputs = 2, .flags = TT_INTEGERS, .indices = 2, .keeps = 2, .infer = gather_infer,
      .vjp = gather_vjp)
TT_OP(scatter_add, .inputs = 3, .flags = TT_INTEGERS, .indices = 2, .keeps = 2, .passes = 1,
      .infer = scatter_add_infer, .vjp = scatter_add_vjp)

#endif
