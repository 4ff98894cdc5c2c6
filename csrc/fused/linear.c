/* linear: y = x W^T + b, x (..., in), W (out, in), b (out) or absent. linear_activation: y = a(z),
 * z = x W^T + b, for the activation a of ints[0], which is applied to each part of the product
 * while that is in the cache; saves a'(z) where y does not tell it. linear_add: y = r + x W^T + b,
 * where the product is added to r (..., out), whose gradient is dy. */
#include "../op.h"
#include "../loops/activations.h"

TT_ATTRS(linear_activation, activation)

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

static void add_bias(void *arg, int64_t row, int64_t rows, int64_t col, int64_t cols)
{
    const epilogue *e = arg;
    for (int64_t r = row; r < row + rows; r++)
        for (int64_t i = col; i < col + cols; i++) e->y[r * e->cols + i] += e->bias[i];
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
    const T *residual = c->n_in > 3 ? data_of(c->in[3]) : NULL;
    epilogue e = {.bias = data_of(c->in[2]),
                  .y = c->out[0]->data,
                  .cols = out,
                  .activation = c->attrs->ints[0]};
    if (c->recording && activation_saves_slope(e.activation)) {
        e.slopes = call_save(c, 0, (size_t)(rows * out) * sizeof(T));
        if (e.slopes == NULL) return TT_ERR_NOMEM;
    }
    /* The product is added to the residual or the bias, with both to the residual. */
    const T *add = residual != NULL ? residual : e.bias;
    const gemm_args g = {.tb = true,
                         .m = rows,
                         .n = out,
                         .k = in,
                         .alpha = 1,
                         .beta = add != NULL,
                         .a = c->in[0]->data,
                         .lda = at_least_one(in),
                         .b = w->data,
                         .ldb = at_least_one(in),
                         .d = add,
                         .ldd = residual != NULL ? out : 0,
                         .c = e.y,
                         .ldc = at_least_one(out)};
    gemm_parts parts = {.arg = &e};
    if (e.activation != ACTIVATION_NONE) parts.after = apply_activation;
    else if (residual != NULL && e.bias != NULL) parts.after = add_bias;
    parallel_gemm_tiled(&g, &parts);
    return TT_OK;
}

typedef struct {
    const T *dy, *y, *slopes;
    T *dz;
    int64_t rows, cols, activation, rows_per_shard;
} epilogue_gradient;

static void past_activation(void *arg, int64_t row, int64_t rows, int64_t col, int64_t cols)
{
    const epilogue_gradient *e = arg;
    int64_t at = row * e->cols;
    (void)col, (void)cols; /* of dx: it takes whole rows of dz */
    activation_backward(e->activation, e->dy + at, e->y + at,
                        e->slopes != NULL ? e->slopes + at : NULL, e->dz + at, rows * e->cols);
}

static void past_activation_shard(void *arg, int64_t shard)
{
    const epilogue_gradient *e = arg;
    int64_t row = shard * e->rows_per_shard;
    past_activation(arg, row, at_most(e->rows_per_shard, e->rows - row), 0, 0);
}

/* The bias's gradient, on the way to the weight's: the columns of dz that a part of dW reads next
 * are summed first. */
static void sum_columns(void *arg, int64_t row, int64_t rows, int64_t col, int64_t cols)
{
    (void)cols;
    if (col > 0) return; /* another part does it */
    for (int64_t i = row; i < row + rows; i += COLUMN_BLOCK)
        column_sums_block(arg, i, at_most(COLUMN_BLOCK, row + rows - i));
}

static tt_status linear_backward(tt_call *c)
{
    const tt_tensor *x = c->in[0], *w = c->in[1];
    int64_t out = w->shape[0], in = w->shape[1], rows = row_count(c->in[0]);
    const T *dz = c->dy[0];
    gemm_parts dx_parts = {.whole_rows = c->attrs->ints[0] != ACTIVATION_NONE};
    epilogue_gradient e = {.dy = c->dy[0],
                           .y = c->out[0]->data,
                           .slopes = c->saved[0],
                           .rows = rows,
                           .cols = out,
                           .activation = c->attrs->ints[0],
                           .rows_per_shard = rows_per_shard(out)};
    if (e.activation != ACTIVATION_NONE) {
        dz = e.dz = call_scratch(c, (size_t)(rows * out) * sizeof(T));
        if (dz == NULL) return TT_ERR_NOMEM;
        if (c->dx[0] != NULL && in > 0) dx_parts.before = past_activation, dx_parts.arg = &e;
        else parallel_for(shards_of(rows, e.rows_per_shard), past_activation_shard, &e);
    }
    if (c->dx[0] != NULL) { /* dx (rows, in) = dz W, rows of dz just before those of dx */
        const gemm_args g =
            gemm_args_of(false, false, rows, in, out, 1, dz, at_least_one(out), w->data,
                         at_least_one(in), c->acc[0], c->dx[0], at_least_one(in));
        parallel_gemm_tiled(&g, &dx_parts);
    }
    column_sums_plan sums = {dz, c->dx[2], rows, out, c->acc[2]};
    gemm_parts tiles = {.before = c->dx[2] != NULL ? sum_columns : NULL, .arg = &sums};
    if (c->dx[1] != NULL) { /* dW (out, in) = dz^T x */
        const gemm_args g =
            gemm_args_of(true, false, out, in, rows, 1, dz, at_least_one(out), x->data,
                         at_least_one(in), c->acc[1], c->dx[1], at_least_one(in));
        parallel_gemm_tiled(&g, &tiles);
    }
    if (c->dx[2] != NULL && (c->dx[1] == NULL || in == 0))
        column_sums(dz, rows, out, c->dx[2], c->acc[2]);
    return TT_OK;
}
TT_KERNELS_OF(linear, linear_forward, linear_backward)
TT_KERNELS_OF(linear_activation, linear_forward, linear_backward)
TT_KERNELS_OF(linear_add, linear_forward, linear_backward)

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
    c->spec[0] = spec_like(x);
    c->spec[0].shape[x->ndim - 1] = w->shape[0];
    return TT_OK;
}

static tt_status linear_add_infer(tt_call *c)
{
    TT_TRY(linear_infer(c));
    if (c->attrs->ints[0] != ACTIVATION_NONE)
        return tt_fail(TT_ERR_ARG, c->op->name, "a sum has no activation, got %lld",
                       (long long)c->attrs->ints[0]);
    const tt_tensor *r = c->in[3];
    const tt_spec *y = &c->spec[0];
    bool fits = r->ndim == y->ndim;
    for (int i = 0; i < y->ndim && fits; i++) fits = r->shape[i] == y->shape[i];
    if (fits) return TT_OK;
    return tt_fail(TT_ERR_SHAPE, c->op->name,
                   "expected a residual (..., out) for input %s and weight %s, got %s",
                   SHAPE_TEXT(c->in[0]), SHAPE_TEXT(c->in[1]), SHAPE_TEXT(r));
}

/* dz = dy a'(z), by the rule of the activation's own operation. Some slopes follow from y; for the
 * others z is computed again. */
static tt_tensor *activation_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *dy)
{
    static const int operations[ACTIVATION_COUNT] = {
        [ACTIVATION_RELU] = TT_OP_relu,      [ACTIVATION_GELU] = TT_OP_gelu,
        [ACTIVATION_GELU_TANH] = TT_OP_gelu, [ACTIVATION_SILU] = TT_OP_silu,
        [ACTIVATION_TANH] = TT_OP_tanh,      [ACTIVATION_SIGMOID] = TT_OP_sigmoid,
    };
    int64_t activation = node->attrs.ints[0];
    if (activation == ACTIVATION_NONE) return dy;
    tt_tensor *z = NULL, *dz = NULL;
    if (activation_saves_slope(activation)) {
        tt_attrs none = {0};
        z = v_call(ctx, TT_OP_linear, node->in, 3, &none);
        if (z == NULL) return NULL;
    }
    tt_node alone = {.op = tt_ops[operations[activation]],
                     .in = &z,
                     .out = node->out,
                     .attrs = {.n_ints = 1, .ints = {activation == ACTIVATION_GELU_TANH}}};
    const bool need = true;
    alone.op->vjp(ctx, &alone, &dy, &need, &dz);
    return dz;
}

static void linear_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                       tt_tensor **dx)
{
    tt_tensor *x = node->in[0], *w = node->in[1];
    int64_t first_axis[1] = {0};
    tt_tensor *g = v_as_rows(ctx, activation_vjp(ctx, node, dy[0]));
    if (need[0]) {
        tt_tensor *flat = v_matmul(ctx, g, w);
        dx[0] = flat != NULL ? v_reshape_like(ctx, flat, x) : NULL;
    }
    if (need[1]) dx[1] = v_matmul(ctx, v_transpose(ctx, g), v_as_rows(ctx, x));
    if (need[2]) dx[2] = v_sum(ctx, g, 1, first_axis, false);
}

TT_OP(linear, .inputs = 3, .optional = 4, .keeps = 3, .infer = linear_infer, .vjp = linear_vjp)
TT_OP(linear_activation, .inputs = 3, .attributes = linear_activation_names, .optional = 4,
      .keeps = 7, .infer = linear_infer, .vjp = linear_vjp)
TT_OP(linear_add, .inputs = 4, .optional = 4, .keeps = 3, .passes = 1 << 3,
      .infer = linear_add_infer, .vjp = linear_vjp)

#endif
