/* linear: y = x W^T + b, x (..., in), W (out, in), b (out) or absent; and linear_activation, y =
 * a(x W^T + b) for the activation a of ints[0], which is applied to each part of the product while
 * that is in the cache. Saves a'(x W^T + b) where y does not tell it. */
#include "../op.h"
#include "../activations.h"

#ifdef TT_KERNELS

/* From x, not from y: a layer without outputs has rows too, and their gradient is zero. */
static int64_t row_count(const tt_tensor *x)
{
    int64_t rows = 1;
    for (int i = 0; i < x->ndim - 1; i++) rows *= x->shape[i];
    return rows;
}

typedef struct {
    const T *bias;
    T *y, *slopes; /* (rows, cols); slopes, if any, for the backward */
    int64_t cols, activation;
} epilogue;

/* The product is added to the bias. */
static void put_bias(void *arg, int64_t row, int64_t rows, int64_t col, int64_t cols)
{
    const epilogue *e = arg;
    for (int64_t r = row; r < row + rows; r++)
        memcpy(e->y + r * e->cols + col, e->bias + col, (size_t)cols * sizeof(T));
}

static void apply_activation(void *arg, int64_t row, int64_t rows, int64_t col, int64_t cols)
{
    const epilogue *e = arg;
    for (int64_t r = row; r < row + rows; r++) {
        int64_t at = r * e->cols + col;
        activate(e->activation, e->y + at, e->slopes != NULL ? e->slopes + at : NULL, cols);
    }
}

static tt_status linear_forward(tt_call *c)
{
    const tt_tensor *w = c->in[1];
    int64_t out = w->shape[0], in = w->shape[1], rows = row_count(c->in[0]);
    epilogue e = {.bias = data_of(c->in[2]),
                  .y = c->out[0]->data,
                  .cols = out,
                  .activation = c->attrs->ints[0]};
    if (c->recording && activation_saves_slope(e.activation)) {
        e.slopes = call_save(c, 0, (size_t)(rows * out) * sizeof(T));
        if (e.slopes == NULL) return TT_ERR_NOMEM;
    }
    blas_tiles tiles = {.before = e.bias != NULL ? put_bias : NULL,
                        .after = e.activation != ACTIVATION_NONE ? apply_activation : NULL,
                        .arg = &e};
    blas_matmul_tiled(false, true, rows, out, in, 1, c->in[0]->data, at_least_one(in), w->data,
                      at_least_one(in), e.bias != NULL, e.y, at_least_one(out), &tiles);
    return TT_OK;
}

typedef struct {
    const T *dy, *y, *slopes;
    T *dz;
    int64_t numel, activation;
} epilogue_gradient;

static void epilogue_gradient_shard(void *arg, int64_t shard)
{
    const epilogue_gradient *p = arg;
    int64_t at = shard * GRAIN, n = at_most(GRAIN, p->numel - at);
    activation_backward(p->activation, p->dy + at, p->y + at,
                        p->slopes != NULL ? p->slopes + at : NULL, p->dz + at, n);
}

static tt_status linear_backward(tt_call *c)
{
    const tt_tensor *x = c->in[0], *w = c->in[1];
    int64_t out = w->shape[0], in = w->shape[1], rows = row_count(c->in[0]);
    const T *dz = c->dy[0];
    if (c->attrs->ints[0] != ACTIVATION_NONE) {
        epilogue_gradient p = {.dy = c->dy[0],
                               .y = c->out[0]->data,
                               .slopes = c->saved[0],
                               .dz = call_scratch(c, (size_t)(rows * out) * sizeof(T)),
                               .numel = rows * out,
                               .activation = c->attrs->ints[0]};
        if (p.dz == NULL) return TT_ERR_NOMEM;
        parallel_for(shards_of(p.numel, GRAIN), epilogue_gradient_shard, &p);
        dz = p.dz;
    }
    if (c->dx[0] != NULL) /* dx (rows, in) = dz W */
        blas_matmul(false, false, rows, in, out, 1, dz, at_least_one(out), w->data,
                    at_least_one(in), c->acc[0], c->dx[0], at_least_one(in));
    if (c->dx[1] != NULL) /* dW (out, in) = dz^T x */
        blas_matmul(true, false, out, in, rows, 1, dz, at_least_one(out), x->data, at_least_one(in),
                    c->acc[1], c->dx[1], at_least_one(in));
    if (c->dx[2] != NULL) column_sums(dz, rows, out, c->dx[2], c->acc[2]);
    return TT_OK;
}
TT_KERNELS_OF(linear, linear_forward, linear_backward)
TT_KERNELS_OF(linear_activation, linear_forward, linear_backward)

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
    if (c->attrs->ints[0] < 0 || c->attrs->ints[0] >= ACTIVATION_COUNT)
        return tt_fail(TT_ERR_ARG, c->op->name, "there is no activation %lld",
                       (long long)c->attrs->ints[0]);
    c->spec[0] = (tt_spec){.dtype = x->dtype, .ndim = x->ndim};
    memcpy(c->spec[0].shape, x->shape, sizeof x->shape);
    c->spec[0].shape[x->ndim - 1] = w->shape[0];
    return TT_OK;
}

/* 1 where y > 0, else 0: the slope of relu, which is a constant. */
static tt_tensor *positive(tt_ctx *ctx, const tt_tensor *y)
{
    tt_tensor *t = v_constant(ctx, y->dtype, y->ndim, y->shape, 0.0);
    for (int64_t i = 0; t != NULL && i < y->numel; i++) {
        if (y->dtype == TT_FLOAT32) ((float *)t->data)[i] = ((const float *)y->data)[i] > 0;
        else ((double *)t->data)[i] = ((const double *)y->data)[i] > 0;
    }
    return t;
}

static tt_tensor *one_minus(tt_ctx *ctx, tt_tensor *x) { return v_shift(ctx, v_neg(ctx, x), 1.0); }

/* dz = dy a'(z). Some slopes follow from y; for the others z is computed again. */
static tt_tensor *activation_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *dy)
{
    int64_t activation = node->attrs.ints[0];
    tt_tensor *y = node->out[0], *z = NULL, *dz = NULL;
    if (activation_saves_slope(activation)) {
        tt_attrs none = {0};
        z = v_call(ctx, TT_OP_linear, node->in, 3, &none);
    }
    switch (activation) {
    case ACTIVATION_RELU: return v_mul(ctx, dy, positive(ctx, y));
    case ACTIVATION_TANH: return v_mul(ctx, dy, one_minus(ctx, v_mul(ctx, y, y)));
    case ACTIVATION_SIGMOID: return v_mul(ctx, dy, v_mul(ctx, y, one_minus(ctx, y)));
    case ACTIVATION_SILU: {
        tt_tensor *half = v_unary(ctx, TT_OP_tanh, v_scale(ctx, z, 0.5));
        tt_tensor *s = v_scale(ctx, v_shift(ctx, half, 1.0), 0.5); /* 1 / (1 + e^-z) */
        tt_tensor *zs = v_mul(ctx, z, one_minus(ctx, s));
        return v_mul(ctx, dy, v_mul(ctx, s, v_shift(ctx, zs, 1.0)));
    }
    case ACTIVATION_GELU:
    case ACTIVATION_GELU_TANH: {
        tt_node gelu = {.op = tt_ops[TT_OP_gelu],
                        .in = &z,
                        .attrs = {.n_ints = 1, .ints = {activation == ACTIVATION_GELU_TANH}}};
        const bool need = true;
        if (z != NULL) gelu.op->vjp(ctx, &gelu, &dy, &need, &dz);
        return dz;
    }
    default: return dy;
    }
}

static void linear_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                       tt_tensor **dx)
{
    tt_tensor *x = node->in[0], *w = node->in[1];
    int64_t rows = 1;
    for (int i = 0; i < x->ndim - 1; i++) rows *= x->shape[i];
    int64_t x_rows[2] = {rows, w->shape[1]}, dy_rows[2] = {rows, w->shape[0]}, first_axis[1] = {0};
    tt_tensor *g = v_reshape(ctx, activation_vjp(ctx, node, dy[0]), 2, dy_rows);
    if (need[0]) {
        tt_tensor *flat = v_matmul(ctx, g, w);
        dx[0] = flat != NULL ? v_reshape_like(ctx, flat, x) : NULL;
    }
    if (need[1])
        dx[1] = v_matmul(ctx, g != NULL ? v_transpose(ctx, g) : NULL, v_reshape(ctx, x, 2, x_rows));
    if (need[2]) dx[2] = v_sum(ctx, g, 1, first_axis, false);
}

TT_OP(linear, .inputs = 3, .optional = 4, .keeps = 3, .infer = linear_infer, .vjp = linear_vjp)
TT_OP(linear_activation, .inputs = 3, .optional = 4, .keeps = 7, .infer = linear_infer,
      .vjp = linear_vjp)

#endif
