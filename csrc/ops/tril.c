/* tril and triu: the elements of matrices on and below, on and above a diagonal; the others are 0.
 * The gradient is cut the same way. The diagonal is 0 for the main one, 1 for that above. */
#include "../op.h"

TT_ATTRS(tril, diagonal)

#ifdef TT_KERNELS

/* Matrices of rows by cols, all their rows one after the other. */
typedef struct {
    const char *src;
    char *dst;
    bool acc, upper;
    size_t size;
    int64_t diagonal, rows, cols, all_rows, rows_per_shard;
} triangle_plan;

static void triangle_row(const triangle_plan *p, int64_t row)
{
    int64_t edge = row % p->rows + p->diagonal + (p->upper ? 0 : 1);
    edge = edge < 0 ? 0 : at_most(edge, p->cols);
    int64_t begin = p->upper ? edge : 0, end = p->upper ? p->cols : edge;
    if (p->acc) {
        const T *src = (const T *)(const void *)p->src + row * p->cols;
        T *dst = (T *)(void *)p->dst + row * p->cols;
        for (int64_t i = begin; i < end; i++) dst[i] += src[i];
        return;
    }
    const char *src = p->src + (size_t)(row * p->cols) * p->size;
    char *dst = p->dst + (size_t)(row * p->cols) * p->size;
    memset(dst, 0, (size_t)begin * p->size);
    memcpy(dst + (size_t)begin * p->size, src + (size_t)begin * p->size,
           (size_t)(end - begin) * p->size);
    memset(dst + (size_t)end * p->size, 0, (size_t)(p->cols - end) * p->size);
}

static void triangle_shard(void *arg, int64_t shard)
{
    const triangle_plan *p = arg;
    int64_t begin = shard * p->rows_per_shard;
    int64_t end = at_most(begin + p->rows_per_shard, p->all_rows);
    for (int64_t row = begin; row < end; row++) triangle_row(p, row);
}

static tt_status triangle_run(const tt_call *c, const void *src, void *dst, bool acc)
{
    const tt_tensor *x = c->in[X];
    if (x->numel == 0) return TT_OK;
    triangle_plan p = {.src = src, .dst = dst, .acc = acc, .size = dtype_size(x->dtype)};
    p.upper = c->op->id == TT_OP_triu;
    p.diagonal = tril_read(c->attrs).diagonal;
    p.rows = x->shape[x->ndim - 2];
    p.cols = x->shape[x->ndim - 1];
    p.all_rows = x->numel / p.cols;
    p.rows_per_shard = rows_per_shard(p.cols);
    parallel_for(shards_of(p.all_rows, p.rows_per_shard), triangle_shard, &p);
    return TT_OK;
}

static tt_status triangle_forward(tt_call *c)
{
    return triangle_run(c, c->in[X]->data, c->out[Y]->data, false);
}

static tt_status triangle_backward(tt_call *c)
{
    return triangle_run(c, c->dy[Y], c->dx[X], c->acc[X]);
}
TT_KERNELS_OF(tril, triangle_forward, triangle_backward)
TT_KERNELS_OF(triu, triangle_forward, triangle_backward)

#else

static tt_status triangle_infer(tt_call *c)
{
    if (c->in[X]->ndim < 2)
        return tt_fail(TT_ERR_SHAPE, c->op->name, "expected matrices (..., m, n), got shape %s",
                       SHAPE_TEXT(c->in[X]));
    const int64_t diagonal = tril_read(c->attrs).diagonal;
    if (!tril_complete(c->attrs) || diagonal > INT64_MAX / 2 || diagonal < -INT64_MAX / 2)
        return tt_fail(TT_ERR_ARG, c->op->name, "expected one diagonal");
    return rule_same_shape(c);
}

static void triangle_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                         tt_tensor **dx)
{
    (void)need;
    dx[X] = v_call(ctx, node->op->id, INPUTS(dy[Y]), &node->attrs);
}

TT_OP(tril, .inputs = 1, .attributes = tril_names, .flags = TT_ANY_DTYPE, .infer = triangle_infer,
      .vjp = triangle_vjp)
TT_OP(triu, .inputs = 1, .attributes = tril_names, .flags = TT_ANY_DTYPE, .infer = triangle_infer,
      .vjp = triangle_vjp)

#endif
