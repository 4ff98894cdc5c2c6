/* gather: y[i, j, k] = x[i, index[i, j, k], k], the index standing for one axis; and scatter_add: x
 * with src[i, j, k] added at [i, index[i, j, k], k]. Each is the gradient of the other. The index
 * has as many axes as x, and may be shorter along all of them. */
#include "../tensor/copy.h"
#include "../op.h"

TT_ATTRS(gather, axis)
enum { GATHER_X, GATHER_INDEX, SCATTER_SRC };

#ifdef TT_KERNELS

/* Rows are runs along the last axis of the index, which src and y share. */
typedef struct {
    const tt_tensor *index;
    void *full;       /* x, with its strides, or what is of its shape and dense */
    const void *part; /* src or dy; NULL where the part is written */
    void *out;        /* y */
    size_t size;      /* of an element that is copied as it is */
    int64_t strides[TT_MAX_DIMS], axis_stride, length, rows, rows_in_shard;
    bool acc;
} gather_plan;

static gather_plan gather_plan_of(const tt_call *c, const int64_t *full_strides)
{
    gather_plan p = {.index = c->in[GATHER_INDEX], .rows = 1, .length = 1};
    const int ndim = p.index->ndim, axis = rule_normal_axis(gather_read(c->attrs).axis, ndim);
    memcpy(p.strides, full_strides, (size_t)ndim * sizeof full_strides[0]);
    p.axis_stride = p.strides[axis];
    p.strides[axis] = 0; /* the index says where */
    p.length = p.index->shape[ndim - 1];
    p.rows = p.index->numel / at_least_one(p.length);
    p.rows_in_shard = rows_per_shard(p.length);
    return p;
}

static gather_plan gather_plan_dense(const tt_call *c, const int64_t *shape)
{
    int64_t strides[TT_MAX_DIMS];
    tensor_dense_strides(c->in[GATHER_INDEX]->ndim, shape, strides);
    return gather_plan_of(c, strides);
}

/* Where row `row` of the index begins in the full tensor. */
static int64_t gather_begin(const gather_plan *p, int64_t row)
{
    int64_t offset = 0;
    for (int i = p->index->ndim - 2; i >= 0; i--) {
        offset += row % p->index->shape[i] * p->strides[i];
        row /= p->index->shape[i];
    }
    return offset;
}

static void gather_shard(void *arg, int64_t shard)
{
    const gather_plan *p = arg;
    int64_t begin = shard * p->rows_in_shard, end = at_most(begin + p->rows_in_shard, p->rows);
    const int64_t step = p->strides[p->index->ndim - 1];
    for (int64_t row = begin; row < end; row++) {
        const int64_t *index = (const int64_t *)p->index->data + row * p->length;
        const T *part = p->part != NULL ? (const T *)p->part + row * p->length : NULL;
        T *full = (T *)p->full + gather_begin(p, row), *out = (T *)p->out + row * p->length;
        for (int64_t i = 0; i < p->length; i++) {
            T *at = full + i * step + index[i] * p->axis_stride;
            if (part != NULL) *at += part[i];
            else put(out + i, *at, p->acc);
        }
    }
}

#define GATHER_EACH(bytes)                  \
    for (int64_t i = 0; i < p->length; i++) \
    memcpy(out + i * (bytes), full + (i * step + index[i] * p->axis_stride) * (bytes), bytes)

/* Elements of any type as they are. */
static void gather_copy_shard(void *arg, int64_t shard)
{
    const gather_plan *p = arg;
    int64_t begin = shard * p->rows_in_shard, end = at_most(begin + p->rows_in_shard, p->rows);
    const int64_t step = p->strides[p->index->ndim - 1], size = (int64_t)p->size;
    for (int64_t row = begin; row < end; row++) {
        const int64_t *index = (const int64_t *)p->index->data + row * p->length;
        const char *full = (const char *)p->full + gather_begin(p, row) * size;
        char *out = (char *)p->out + row * p->length * size;
        switch (size) { /* of a known size the compiler makes one move */
        case 1: GATHER_EACH(1); break;
        case 2: GATHER_EACH(2); break;
        case 4: GATHER_EACH(4); break;
        default: GATHER_EACH(8);
        }
    }
}

static tt_status gather_take(const tt_call *c, const int64_t *shape, const void *full, void *out,
                             bool acc)
{
    gather_plan p = gather_plan_dense(c, shape);
    p.full = as_writable(full);
    p.out = out;
    p.acc = acc;
    parallel_for(shards_of(p.rows, p.rows_in_shard), gather_shard, &p);
    return TT_OK;
}

/* In one piece: two places of the index may name one element, and sums keep their order. */
static tt_status gather_put(const tt_call *c, const int64_t *shape, void *full, const void *part)
{
    gather_plan p = gather_plan_dense(c, shape);
    p.full = full;
    p.part = part;
    p.rows_in_shard = at_least_one(p.rows);
    gather_shard(&p, 0);
    return TT_OK;
}

static tt_status gather_forward(tt_call *c)
{
    gather_plan p = gather_plan_of(c, c->in[GATHER_X]->strides);
    p.full = c->in[GATHER_X]->data;
    p.out = c->out[Y]->data;
    p.size = dtype_size(c->out[Y]->dtype);
    parallel_for(shards_of(p.rows, p.rows_in_shard), gather_copy_shard, &p);
    return TT_OK;
}

static tt_status gather_backward(tt_call *c)
{
    if (!c->acc[GATHER_X]) memset(c->dx[GATHER_X], 0, tensor_bytes(c->in[GATHER_X]));
    return gather_put(c, c->in[GATHER_X]->shape, c->dx[GATHER_X], c->dy[Y]);
}
TT_KERNELS_OF(gather, gather_forward, gather_backward)

static tt_status scatter_add_forward(tt_call *c)
{
    memcpy(c->out[Y]->data, c->in[GATHER_X]->data, tensor_bytes(c->in[GATHER_X]));
    return gather_put(c, c->in[GATHER_X]->shape, c->out[Y]->data, c->in[SCATTER_SRC]->data);
}

static tt_status scatter_add_backward(tt_call *c)
{
    return gather_take(c, c->in[GATHER_X]->shape, c->dy[Y], c->dx[SCATTER_SRC],
                       c->acc[SCATTER_SRC]);
}
TT_KERNELS_OF(scatter_add, scatter_add_forward, scatter_add_backward)

#else

static tt_status gather_check(const tt_call *c)
{
    const tt_tensor *x = c->in[GATHER_X], *index = c->in[GATHER_INDEX];
    const gather_attrs a = gather_read(c->attrs);
    int axis = gather_complete(c->attrs) ? rule_normal_axis(a.axis, x->ndim) : -1;
    if (axis < 0) return rule_fail_axis(c->op->name, a.axis, x);
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
    c->spec[Y] = rule_spec_like(c->in[GATHER_INDEX]);
    c->spec[Y].dtype = c->in[GATHER_X]->dtype;
    return TT_OK;
}

static tt_status scatter_add_infer(tt_call *c)
{
    const tt_tensor *x = c->in[GATHER_X], *index = c->in[GATHER_INDEX], *src = c->in[SCATTER_SRC];
    if (!tensor_same_shape(index, src))
        return tt_fail(TT_ERR_SHAPE, c->op->name,
                       "an index of shape %s does not fit a source of shape %s", SHAPE_TEXT(index),
                       SHAPE_TEXT(src));
    TT_TRY(gather_check(c));
    c->spec[Y] = rule_spec_like(x);
    return TT_OK;
}

static void gather_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                       tt_tensor **dx)
{
    (void)need;
    const tt_tensor *x = node->in[GATHER_X];
    tt_tensor *zeros = v_constant(ctx, x->dtype, x->ndim, x->shape, 0.0);
    dx[GATHER_X] =
        v_call(ctx, TT_OP_scatter_add, INPUTS(zeros, node->in[GATHER_INDEX], dy[Y]), &node->attrs);
}

static void scatter_add_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy,
                            const bool *need, tt_tensor **dx)
{
    (void)need;
    tt_tensor *index = node->in[GATHER_INDEX];
    dx[SCATTER_SRC] = v_call(ctx, TT_OP_gather, INPUTS(dy[Y], index), &node->attrs);
}

TT_OP(gather, .inputs = 2, .attributes = gather_names, .flags = TT_ANY_DTYPE, .layout = TT_STRIDED,
      .indices = BIT(GATHER_INDEX), .keeps = BIT(GATHER_INDEX), .infer = gather_infer,
      .vjp = gather_vjp)
TT_OP(scatter_add, .inputs = 3, .attributes = gather_names, .flags = TT_INTEGERS,
      .indices = BIT(GATHER_INDEX), .keeps = BIT(GATHER_INDEX), .passes = BIT(GATHER_X),
      .infer = scatter_add_infer, .vjp = scatter_add_vjp)

#endif
