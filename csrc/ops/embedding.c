/* embedding: rows of a (V, D) table at integer indices of any shape; and embedding_backward, which
 * adds rows back into a table of zeros. Each is the gradient of the other. ints[0] of
 * embedding_backward: V. */
#include "../op.h"

#ifdef TT_KERNELS

/* table (V, D), rows (N, D) */
typedef struct {
    T *table, *rows;
    const int64_t *index;
    int64_t n, dim;
    bool acc;
} embedding_plan;

/* A shard is a block of columns, so that rows which share an index are added in one fixed order. */
static void embedding_add_shard(void *arg, int64_t shard)
{
    const embedding_plan *p = arg;
    int64_t first = shard * COLUMN_BLOCK, last = at_most(first + COLUMN_BLOCK, p->dim);
    for (int64_t r = 0; r < p->n; r++) {
        T *dst = p->table + p->index[r] * p->dim;
        const T *src = p->rows + r * p->dim;
        for (int64_t i = first; i < last; i++) dst[i] += src[i];
    }
}

static void embedding_take_shard(void *arg, int64_t shard)
{
    const embedding_plan *p = arg;
    int64_t rows = rows_per_shard(p->dim), begin = shard * rows, end = at_most(begin + rows, p->n);
    for (int64_t r = begin; r < end; r++) {
        const T *src = p->table + p->index[r] * p->dim;
        T *dst = p->rows + r * p->dim;
        for (int64_t i = 0; i < p->dim; i++) put(dst + i, src[i], p->acc);
    }
}

static tt_status embedding_take(const tt_tensor *index, const void *table, int64_t dim, void *rows,
                                bool acc)
{
    union {
        const void *read;
        T *data;
    } from = {.read = table};
    embedding_plan p = {from.data, rows, index->data, index->numel, dim, acc};
    parallel_for(shards_of(p.n, rows_per_shard(dim)), embedding_take_shard, &p);
    return TT_OK;
}

static tt_status embedding_add(const tt_tensor *index, void *table, int64_t dim, const void *rows)
{
    union {
        const void *read;
        T *data;
    } from = {.read = rows};
    embedding_plan p = {table, from.data, index->data, index->numel, dim, true};
    parallel_for(shards_of(dim, COLUMN_BLOCK), embedding_add_shard, &p);
    return TT_OK;
}

static tt_status embedding_forward(tt_call *c)
{
    return embedding_take(c->in[1], c->in[0]->data, c->in[0]->shape[1], c->out[0]->data, false);
}

static tt_status embedding_backward_kernel(tt_call *c)
{
    if (!c->acc[0]) memset(c->dx[0], 0, tensor_bytes(c->in[0]));
    return embedding_add(c->in[1], c->dx[0], c->in[0]->shape[1], c->dy[0]);
}
TT_KERNELS_OF(embedding, embedding_forward, embedding_backward_kernel)

static tt_status embedding_backward_forward(tt_call *c)
{
    memset(c->out[0]->data, 0, tensor_bytes(c->out[0]));
    return embedding_add(c->in[1], c->out[0]->data, c->out[0]->shape[1], c->in[0]->data);
}

static tt_status embedding_backward_backward(tt_call *c)
{
    return embedding_take(c->in[1], c->dy[0], c->out[0]->shape[1], c->dx[0], c->acc[0]);
}
TT_KERNELS_OF(embedding_backward, embedding_backward_forward, embedding_backward_backward)

#else

static tt_status embedding_check(const tt_call *c, int64_t rows)
{
    const tt_tensor *index = c->in[1];
    for (int64_t i = 0; i < index->numel; i++) {
        int64_t row = ((const int64_t *)index->data)[i];
        if (row < 0 || row >= rows)
            return tt_fail(TT_ERR_INDEX, c->op->name,
                           "index %lld at position %lld is out of range for a table of %lld rows",
                           (long long)row, (long long)i, (long long)rows);
    }
    return TT_OK;
}

static tt_status embedding_infer(tt_call *c)
{
    const tt_tensor *table = c->in[0], *index = c->in[1];
    if (table->ndim != 2 || index->ndim >= TT_MAX_DIMS)
        return tt_fail(TT_ERR_SHAPE, c->op->name,
                       "expected a table of shape (V, D), got %s with indices of shape %s",
                       SHAPE_TEXT(table), SHAPE_TEXT(index));
    c->spec[0] = spec_like(index);
    c->spec[0].dtype = table->dtype;
    c->spec[0].shape[c->spec[0].ndim++] = table->shape[1];
    return embedding_check(c, table->shape[0]);
}

static void embedding_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                          tt_tensor **dx)
{
    (void)need;
    tt_tensor *in[2] = {dy[0], node->in[1]};
    tt_attrs attrs = {.n_ints = 1, .ints = {node->in[0]->shape[0]}};
    dx[0] = v_call(ctx, TT_OP_embedding_backward, in, 2, &attrs);
}

static tt_status embedding_backward_infer(tt_call *c)
{
    const tt_tensor *rows = c->in[0], *index = c->in[1];
    bool fits =
        c->attrs->n_ints == 1 && rows->ndim == index->ndim + 1 &&
        memcmp(rows->shape, index->shape, (size_t)index->ndim * sizeof index->shape[0]) == 0;
    if (!fits)
        return tt_fail(TT_ERR_SHAPE, c->op->name,
                       "rows of shape %s do not belong to indices of shape %s", SHAPE_TEXT(rows),
                       SHAPE_TEXT(index));
    c->spec[0] = (tt_spec){
        .dtype = rows->dtype, .ndim = 2, .shape = {c->attrs->ints[0], rows->shape[rows->ndim - 1]}};
    return embedding_check(c, c->attrs->ints[0]);
}

static void embedding_backward_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy,
                                   const bool *need, tt_tensor **dx)
{
    (void)need;
    dx[0] = v_binary(ctx, TT_OP_embedding, dy[0], node->in[1]);
}

TT_OP(embedding, .inputs = 2, .flags = TT_INTEGERS, .indices = 2, .keeps = 2,
      .infer = embedding_infer, .vjp = embedding_vjp)
TT_OP(embedding_backward, .inputs = 2, .indices = 2, .keeps = 2, .infer = embedding_backward_infer,
      .vjp = embedding_backward_vjp)

#endif
