/* embedding: the parts of a table that an index of any shape names, the index standing for some
 * neighbouring axes of the table: y[.., i, ..] = table[.., index[i], ..]; and embedding_backward,
 * which adds parts into zeros. Each is the gradient of the other. ints of embedding: the first of
 * the axes and how many they are; without, the table is a matrix, of which rows are taken. ints of
 * embedding_backward: the first axis, and the sizes of the axes. */
#include "../tensor/copy.h"
#include "../op.h"

TT_ATTRS(embedding, axis, count)
TT_ATTRS(embedding_backward, axis, sizes[])

static inline int embedding_axis(const tt_attrs *a) { return (int)a->ints[0]; }
static inline int embedding_count(const tt_attrs *a) { return a->n_ints > 0 ? (int)a->ints[1] : 1; }

#ifdef TT_KERNELS

/* table (outer, size, inner), dense; parts (outer, n, inner). */
typedef struct {
    T *table, *parts;
    const int64_t *index;
    int64_t outer, size, inner, n, blocks, units_per_shard;
    bool acc;
} embedding_plan;

static embedding_plan embedding_plan_of(const tt_tensor *table, const tt_tensor *index, int axis,
                                        int count)
{
    tt_attrs axes = {.ints = {0, axis, count}};
    tt_span s = span_of(table, &axes);
    return (embedding_plan){
        .index = index->data, .outer = s.outer, .size = s.n, .inner = s.inner, .n = index->numel};
}

/* A unit is a block of columns of one outer row: parts that share an index are added in one fixed
 * order. */
static void embedding_add_shard(void *arg, int64_t shard)
{
    const embedding_plan *p = arg;
    int64_t begin = shard * p->units_per_shard;
    int64_t end = at_most(begin + p->units_per_shard, p->outer * p->blocks);
    for (int64_t unit = begin; unit < end; unit++) {
        int64_t o = unit / p->blocks, first = unit % p->blocks * COLUMN_BLOCK;
        int64_t last = at_most(first + COLUMN_BLOCK, p->inner);
        for (int64_t r = 0; r < p->n; r++) {
            T *dst = p->table + (o * p->size + p->index[r]) * p->inner;
            const T *src = p->parts + (o * p->n + r) * p->inner;
            for (int64_t i = first; i < last; i++) dst[i] += src[i];
        }
    }
}

static tt_status embedding_add(embedding_plan p, void *table, const void *parts)
{
    p.table = table;
    p.parts = as_writable(parts);
    p.blocks = shards_of(p.inner, COLUMN_BLOCK);
    p.units_per_shard = rows_per_shard(p.n * at_most(p.inner, COLUMN_BLOCK));
    parallel_for(shards_of(p.outer * p.blocks, p.units_per_shard), embedding_add_shard, &p);
    return TT_OK;
}

static void embedding_take_shard(void *arg, int64_t shard)
{
    const embedding_plan *p = arg;
    int64_t begin = shard * p->units_per_shard;
    int64_t end = at_most(begin + p->units_per_shard, p->outer * p->n);
    int64_t o = begin / p->n, k = begin % p->n;
    for (int64_t r = begin; r < end; r++) {
        const T *src = p->table + (o * p->size + p->index[k]) * p->inner;
        T *dst = p->parts + r * p->inner;
        for (int64_t i = 0; i < p->inner; i++) put(dst + i, src[i], p->acc);
        if (++k == p->n) k = 0, o++;
    }
}

static tt_status embedding_take(embedding_plan p, const void *table, void *parts, bool acc)
{
    p.table = as_writable(table);
    p.parts = parts;
    p.acc = acc;
    p.units_per_shard = rows_per_shard(p.inner);
    parallel_for(shards_of(p.outer * p.n, p.units_per_shard), embedding_take_shard, &p);
    return TT_OK;
}

/* Of the table, of any type and strides, only what is looked up is read. */
static tt_status embedding_forward(tt_call *c)
{
    const tt_tensor *table = c->in[0], *index = c->in[1];
    const int axis = embedding_axis(c->attrs), count = embedding_count(c->attrs);
    if (axis == 0 && table->contiguous && table->dtype == T_DTYPE)
        return embedding_take(embedding_plan_of(table, index, axis, count), table->data,
                              c->out[0]->data, false);
    int64_t shape[TT_MAX_DIMS], strides[TT_MAX_DIMS], ndim = 0;
    for (int i = 0; i < table->ndim; i++) {
        if (i == axis) shape[ndim++] = index->numel;
        else if (i < axis || i >= axis + count) shape[ndim++] = table->shape[i];
    }
    tensor_dense_strides((int)ndim, shape, strides);
    int64_t *offsets = call_scratch(c, (size_t)index->numel * sizeof offsets[0]);
    if (offsets == NULL) return TT_ERR_NOMEM;
    tt_places places = copy_places_of(table, axis, count, index, offsets);
    copy_from_places(&places, c->out[0]->data, strides);
    return TT_OK;
}

static tt_status embedding_backward_kernel(tt_call *c)
{
    const tt_tensor *table = c->in[0];
    if (!c->acc[0]) memset(c->dx[0], 0, tensor_bytes(table));
    return embedding_add(
        embedding_plan_of(table, c->in[1], embedding_axis(c->attrs), embedding_count(c->attrs)),
        c->dx[0], c->dy[0]);
}
TT_KERNELS_OF(embedding, embedding_forward, embedding_backward_kernel)

static embedding_plan embedding_backward_plan(const tt_call *c)
{
    return embedding_plan_of(c->out[0], c->in[1], embedding_axis(c->attrs), c->attrs->n_ints - 1);
}

static tt_status embedding_backward_forward(tt_call *c)
{
    memset(c->out[0]->data, 0, tensor_bytes(c->out[0]));
    return embedding_add(embedding_backward_plan(c), c->out[0]->data, c->in[0]->data);
}

static tt_status embedding_backward_backward(tt_call *c)
{
    return embedding_take(embedding_backward_plan(c), c->dy[0], c->dx[0], c->acc[0]);
}
TT_KERNELS_OF(embedding_backward, embedding_backward_forward, embedding_backward_backward)

#else

/* A spec of which n sizes from `at` on are to be others. */
static tt_status embedding_spec(tt_call *c, int at, int n, int others, const int64_t *sizes)
{
    const tt_tensor *x = c->in[0];
    const int after = at + n, ndim = x->ndim - n + others;
    if (ndim > TT_MAX_DIMS)
        return tt_fail(TT_ERR_SHAPE, c->op->name, "a tensor has 0 to %d dimensions, got %d",
                       TT_MAX_DIMS, ndim);
    c->spec[0] = spec_like(x);
    c->spec[0].ndim = ndim;
    memcpy(c->spec[0].shape + at, sizes, (size_t)others * sizeof sizes[0]);
    memcpy(c->spec[0].shape + at + others, x->shape + after,
           (size_t)(x->ndim - after) * sizeof x->shape[0]);
    return TT_OK;
}

static tt_status embedding_infer(tt_call *c)
{
    const tt_tensor *table = c->in[0], *index = c->in[1];
    const tt_attrs *a = c->attrs;
    if (a->n_ints == 0 && (table->ndim != 2 || index->ndim >= TT_MAX_DIMS))
        return tt_fail(TT_ERR_SHAPE, c->op->name,
                       "expected a table of shape (V, D), got %s with indices of shape %s",
                       SHAPE_TEXT(table), SHAPE_TEXT(index));
    if (a->n_ints != 0 && (a->n_ints != 2 || a->ints[0] < 0 || a->ints[1] < 1 ||
                           a->ints[1] > table->ndim || a->ints[0] > table->ndim - a->ints[1]))
        return tt_fail(TT_ERR_INDEX, c->op->name,
                       "the %lld axes from %lld do not exist in a tensor of %d dimensions",
                       (long long)a->ints[1], (long long)a->ints[0], table->ndim);
    const int axis = embedding_axis(a), count = embedding_count(a);
    TT_TRY(embedding_spec(c, axis, count, index->ndim, index->shape));
    return copy_check_places(c->op->name, count, table->shape + axis, index);
}

static void embedding_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                          tt_tensor **dx)
{
    (void)need;
    const int axis = embedding_axis(&node->attrs), count = embedding_count(&node->attrs);
    tt_tensor *in[2] = {dy[0], node->in[1]};
    tt_attrs attrs = {.n_ints = 1 + count, .ints = {axis}};
    memcpy(attrs.ints + 1, node->in[0]->shape + axis, (size_t)count * sizeof attrs.ints[0]);
    dx[0] = v_call(ctx, TT_OP_embedding_backward, in, 2, &attrs);
}

static tt_status embedding_backward_infer(tt_call *c)
{
    const tt_tensor *parts = c->in[0], *index = c->in[1];
    const int64_t *ints = c->attrs->ints;
    const int count = c->attrs->n_ints - 1;
    bool fits = count >= 1 && count <= TT_MAX_DIMS && ints[0] >= 0 &&
                ints[0] <= parts->ndim - index->ndim &&
                memcmp(parts->shape + ints[0], index->shape,
                       (size_t)index->ndim * sizeof index->shape[0]) == 0;
    if (!fits)
        return tt_fail(TT_ERR_SHAPE, c->op->name,
                       "parts of shape %s do not belong to indices of shape %s", SHAPE_TEXT(parts),
                       SHAPE_TEXT(index));
    TT_TRY(embedding_spec(c, (int)ints[0], index->ndim, count, ints + 1));
    return copy_check_places(c->op->name, count, ints + 1, index);
}

static void embedding_backward_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy,
                                   const bool *need, tt_tensor **dx)
{
    (void)need;
    tt_tensor *in[2] = {dy[0], node->in[1]};
    tt_attrs attrs = {.n_ints = 2, .ints = {node->attrs.ints[0], node->attrs.n_ints - 1}};
    dx[0] = v_call(ctx, TT_OP_embedding, in, 2, &attrs);
}

TT_OP(embedding, .inputs = 2, .attributes = embedding_names, .flags = TT_ANY_DTYPE,
      .layout = TT_STRIDED, .indices = 2, .keeps = 2, .infer = embedding_infer,
      .vjp = embedding_vjp)
TT_OP(embedding_backward, .inputs = 2, .attributes = embedding_backward_names, .indices = 2,
      .keeps = 2, .infer = embedding_backward_infer, .vjp = embedding_backward_vjp)

#endif
