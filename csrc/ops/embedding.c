/* embedding: the parts of a table that an index of any shape names, the index standing for some
 * neighbouring axes of the table: y[.., i, ..] = table[.., index[i], ..]; and embedding_backward,
 * which adds parts into zeros. Each is the gradient of the other. embedding without attributes
 * takes the rows of a matrix. */
#include "../tensor/copy.h"
#include "../op.h"

TT_ATTRS(embedding, axis, count)
TT_ATTRS(embedding_backward, axis, sizes[])

enum { EMBEDDING_TABLE, EMBEDDING_INDEX };
enum { EMBEDDING_PARTS = EMBEDDING_TABLE }; /* of embedding_backward */

static inline int embedding_axis(const tt_attrs *a) { return (int)embedding_read(a).axis; }
static inline int embedding_count(const tt_attrs *a)
{
    return a->n_ints > 0 ? (int)embedding_read(a).count : 1;
}

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
    tt_span s = rule_span_of_axes(table, axis, count);
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
    const tt_tensor *table = c->in[EMBEDDING_TABLE], *index = c->in[EMBEDDING_INDEX];
    const int axis = embedding_axis(c->attrs), count = embedding_count(c->attrs);
    if (axis == 0 && table->contiguous && table->dtype == T_DTYPE)
        return embedding_take(embedding_plan_of(table, index, axis, count), table->data,
                              c->out[Y]->data, false);
    int64_t shape[TT_MAX_DIMS], strides[TT_MAX_DIMS], ndim = 0;
    for (int i = 0; i < table->ndim; i++) {
        if (i == axis) shape[ndim++] = index->numel;
        else if (i < axis || i >= axis + count) shape[ndim++] = table->shape[i];
    }
    tensor_dense_strides((int)ndim, shape, strides);
    int64_t *offsets = call_scratch(c, (size_t)index->numel * sizeof offsets[0]);
    if (offsets == NULL) return TT_ERR_NOMEM;
    tt_places places = copy_places_of(table, axis, count, index, offsets);
    copy_from_places(&places, c->out[Y]->data, strides);
    return TT_OK;
}

static tt_status embedding_backward_kernel(tt_call *c)
{
    const tt_tensor *table = c->in[EMBEDDING_TABLE], *index = c->in[EMBEDDING_INDEX];
    void *dtable = c->dx[EMBEDDING_TABLE];
    if (!c->acc[EMBEDDING_TABLE]) memset(dtable, 0, tensor_bytes(table));
    return embedding_add(
        embedding_plan_of(table, index, embedding_axis(c->attrs), embedding_count(c->attrs)),
        dtable, c->dy[Y]);
}
TT_KERNELS_OF(embedding, embedding_forward, embedding_backward_kernel)

static embedding_plan embedding_backward_plan(const tt_call *c)
{
    const embedding_backward_attrs a = embedding_backward_read(c->attrs);
    return embedding_plan_of(c->out[Y], c->in[EMBEDDING_INDEX], (int)a.axis, a.n_sizes);
}

static tt_status embedding_backward_forward(tt_call *c)
{
    memset(c->out[Y]->data, 0, tensor_bytes(c->out[Y]));
    return embedding_add(embedding_backward_plan(c), c->out[Y]->data, c->in[EMBEDDING_PARTS]->data);
}

static tt_status embedding_backward_backward(tt_call *c)
{
    return embedding_take(embedding_backward_plan(c), c->dy[Y], c->dx[EMBEDDING_PARTS],
                          c->acc[EMBEDDING_PARTS]);
}
TT_KERNELS_OF(embedding_backward, embedding_backward_forward, embedding_backward_backward)

#else

/* A spec of which n sizes from `at` on are to be others. */
static tt_status embedding_spec(tt_call *c, int at, int n, int others, const int64_t *sizes)
{
    const tt_tensor *x = c->in[X];
    const int after = at + n, ndim = x->ndim - n + others;
    if (ndim > TT_MAX_DIMS)
        return tt_fail(TT_ERR_SHAPE, c->op->name, "a tensor has 0 to %d dimensions, got %d",
                       TT_MAX_DIMS, ndim);
    c->spec[Y] = rule_spec_like(x);
    c->spec[Y].ndim = ndim;
    memcpy(c->spec[Y].shape + at, sizes, (size_t)others * sizeof sizes[0]);
    memcpy(c->spec[Y].shape + at + others, x->shape + after,
           (size_t)(x->ndim - after) * sizeof x->shape[0]);
    return TT_OK;
}

static tt_status embedding_infer(tt_call *c)
{
    const tt_tensor *table = c->in[EMBEDDING_TABLE], *index = c->in[EMBEDDING_INDEX];
    const embedding_attrs a = embedding_read(c->attrs);
    const int given = c->attrs->n_ints;
    if (given == 0 && (table->ndim != 2 || index->ndim >= TT_MAX_DIMS))
        return tt_fail(TT_ERR_SHAPE, c->op->name,
                       "expected a table of shape (V, D), got %s with indices of shape %s",
                       SHAPE_TEXT(table), SHAPE_TEXT(index));
    if (given != 0 && (!embedding_complete(c->attrs) || a.axis < 0 || a.count < 1 ||
                       a.count > table->ndim || a.axis > table->ndim - a.count))
        return tt_fail(TT_ERR_INDEX, c->op->name,
                       "the %lld axes from %lld do not exist in a tensor of %d dimensions",
                       (long long)a.count, (long long)a.axis, table->ndim);
    const int axis = embedding_axis(c->attrs), count = embedding_count(c->attrs);
    TT_TRY(embedding_spec(c, axis, count, index->ndim, index->shape));
    return copy_check_places(c->op->name, count, table->shape + axis, index);
}

static void embedding_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                          tt_tensor **dx)
{
    (void)need;
    const int axis = embedding_axis(&node->attrs), count = embedding_count(&node->attrs);
    const int64_t *sizes = node->in[EMBEDDING_TABLE]->shape + axis;
    const tt_attrs *attrs =
        ATTRS(embedding_backward, .axis = axis, .n_sizes = count, .sizes = sizes);
    tt_tensor *index = node->in[EMBEDDING_INDEX];
    dx[EMBEDDING_TABLE] = v_call(ctx, TT_OP_embedding_backward, INPUTS(dy[Y], index), attrs);
}

static tt_status embedding_backward_infer(tt_call *c)
{
    const tt_tensor *parts = c->in[EMBEDDING_PARTS], *index = c->in[EMBEDDING_INDEX];
    const embedding_backward_attrs a = embedding_backward_read(c->attrs);
    bool fits = a.n_sizes >= 1 && a.n_sizes <= TT_MAX_DIMS && a.axis >= 0 &&
                a.axis <= parts->ndim - index->ndim &&
                memcmp(parts->shape + a.axis, index->shape,
                       (size_t)index->ndim * sizeof index->shape[0]) == 0;
    if (!fits)
        return tt_fail(TT_ERR_SHAPE, c->op->name,
                       "parts of shape %s do not belong to indices of shape %s", SHAPE_TEXT(parts),
                       SHAPE_TEXT(index));
    TT_TRY(embedding_spec(c, (int)a.axis, index->ndim, a.n_sizes, a.sizes));
    return copy_check_places(c->op->name, a.n_sizes, a.sizes, index);
}

static void embedding_backward_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy,
                                   const bool *need, tt_tensor **dx)
{
    (void)need;
    const embedding_backward_attrs a = embedding_backward_read(&node->attrs);
    dx[EMBEDDING_PARTS] = v_call(ctx, TT_OP_embedding, INPUTS(dy[Y], node->in[EMBEDDING_INDEX]),
                                 ATTRS(embedding, .axis = a.axis, .count = a.n_sizes));
}

TT_OP(embedding, .inputs = 2, .attributes = embedding_names, .flags = TT_ANY_DTYPE,
      .layout = TT_STRIDED, .indices = BIT(EMBEDDING_INDEX), .keeps = BIT(EMBEDDING_INDEX),
      .infer = embedding_infer, .vjp = embedding_vjp)
TT_OP(embedding_backward, .inputs = 2, .attributes = embedding_backward_names,
      .indices = BIT(EMBEDDING_INDEX), .keeps = BIT(EMBEDDING_INDEX),
      .infer = embedding_backward_infer, .vjp = embedding_backward_vjp)

#endif
