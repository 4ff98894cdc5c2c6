/* linear: y = x W^T + b, x (..., in), W (out, in), b (out) or absent. */
#include "../op.h"

#ifdef TT_KERNELS

typedef struct {
    const T *bias;
    T *y;
    int64_t rows, cols, rows_per_shard;
} bias_plan;

static void bias_shard(void *arg, int64_t shard)
{
    const bias_plan *p = arg;
    int64_t begin = shard * p->rows_per_shard, end = at_most(begin + p->rows_per_shard, p->rows);
    for (int64_t r = begin; r < end; r++)
        memcpy(p->y + r * p->cols, p->bias, (size_t)p->cols * sizeof(T));
}

/* From x, not from y: a layer without outputs has rows too, and their gradient is zero. */
static int64_t row_count(const tt_tensor *x)
{
    int64_t rows = 1;
    for (int i = 0; i < x->ndim - 1; i++) rows *= x->shape[i];
    return rows;
}

static tt_status linear_forward(tt_call *c)
{
    const tt_tensor *w = c->in[1];
    int64_t out = w->shape[0], in = w->shape[1], rows = row_count(c->in[0]);
    T *y = c->out[0]->data;
    if (c->in[2] != NULL) { /* the product is then added to the bias */
        bias_plan p = {c->in[2]->data, y, rows, out, rows_per_shard(out)};
        parallel_for(shards_of(rows, p.rows_per_shard), bias_shard, &p);
    }
    blas_matmul(false, true, rows, out, in, 1, c->in[0]->data, at_least_one(in), w->data,
                at_least_one(in), c->in[2] != NULL, y, at_least_one(out));
    return TT_OK;
}

static tt_status linear_backward(tt_call *c)
{
    const tt_tensor *x = c->in[0], *w = c->in[1];
    int64_t out = w->shape[0], in = w->shape[1], rows = row_count(c->in[0]);
    const T *dy = c->dy[0];
    if (c->dx[0] != NULL) /* dx (rows, in) = dy W */
        blas_matmul(false, false, rows, in, out, 1, dy, at_least_one(out), w->data,
                    at_least_one(in), c->acc[0], c->dx[0], at_least_one(in));
    if (c->dx[1] != NULL) /* dW (out, in) = dy^T x */
        blas_matmul(true, false, out, in, rows, 1, dy, at_least_one(out), x->data, at_least_one(in),
                    c->acc[1], c->dx[1], at_least_one(in));
    if (c->dx[2] != NULL) column_sums(dy, rows, out, c->dx[2], c->acc[2]);
    return TT_OK;
}
TT_KERNELS_OF(linear, linear_forward, linear_backward)

#else

static tt_status linear_infer(tt_call *c)
{
    const tt_tensor *x = c->in[0], *w = c->in[1], *b = c->in[2];
    bool fits = w->ndim == 2 && x->ndim >= 1 && x->shape[x->ndim - 1] == w->shape[1] &&
                (b == NULL || (b->ndim == 1 && b->shape[0] == w->shape[0]));
    if (!fits)
        return tt_fail(
            TT_ERR_SHAPE, c->op->name,
            "expected input (..., in), weight (out, in) and bias (out), got %s, %s and %s",
            SHAPE_TEXT(x), SHAPE_TEXT(w), b != NULL ? SHAPE_TEXT(b) : "no bias");
    c->spec[0] = (tt_spec){.dtype = x->dtype, .ndim = x->ndim};
    memcpy(c->spec[0].shape, x->shape, sizeof x->shape);
    c->spec[0].shape[x->ndim - 1] = w->shape[0];
    return TT_OK;
}

static void linear_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                       tt_tensor **dx)
{
    tt_tensor *x = node->in[0], *w = node->in[1];
    int64_t rows = 1;
    for (int i = 0; i < x->ndim - 1; i++) rows *= x->shape[i];
    int64_t x_rows[2] = {rows, w->shape[1]}, dy_rows[2] = {rows, w->shape[0]}, first_axis[1] = {0};
    tt_tensor *g = v_reshape(ctx, dy[0], 2, dy_rows);
    if (need[0]) {
        tt_tensor *flat = v_matmul(ctx, g, w);
        dx[0] = flat != NULL ? v_reshape_like(ctx, flat, x) : NULL;
    }
    if (need[1])
        dx[1] = v_matmul(ctx, g != NULL ? v_transpose(ctx, g) : NULL, v_reshape(ctx, x, 2, x_rows));
    if (need[2]) dx[2] = v_sum(ctx, g, 1, first_axis, false);
}

TT_OP(linear, .inputs = 3, .optional = 4, .keeps = 3, .infer = linear_infer, .vjp = linear_vjp)

#endif
