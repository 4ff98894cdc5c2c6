/* linear: y = x W^T + b, with x (..., in), W (out, in), and b (out) or absent.
 * linear_activation: y = a(z), z = x W^T + b. The activation a is applied to each part of the
 * product while the part is in the cache; a'(z) is saved where it does not follow from y.
 * linear_add: y = r + x W^T + b. The product is added to the residual r (..., out), whose gradient
 * is dy. */
#include "../op.h"
#include "../loops/activations.h"

enum { LINEAR_X, LINEAR_WEIGHT, LINEAR_BIAS, LINEAR_RESIDUAL };
enum { LINEAR_SAVED_SLOPES };
TT_ATTRS(linear_activation, activation)

#ifdef TT_KERNELS

/* The rows are those of x: a layer without outputs has rows too, and their gradient is zero. */
static int64_t row_count(const tt_tensor *x)
{
    int64_t rows = 1;
    for (int i = 0; i < x->ndim - 1; i++) rows *= x->shape[i];
    return rows;
}

typedef struct {
    const T *bias;
    T *y, *slopes; /* (rows, cols); slopes are saved for backward, or NULL */
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
    const tt_tensor *x = c->in[LINEAR_X], *w = c->in[LINEAR_WEIGHT];
    int64_t out = w->shape[0], in = w->shape[1], rows = row_count(x);
    const T *residual = c->n_in > LINEAR_RESIDUAL ? data_of(c->in[LINEAR_RESIDUAL]) : NULL;
    epilogue e = {.bias = data_of(c->in[LINEAR_BIAS]),
                  .y = c->out[Y]->data,
                  .cols = out,
                  .activation = linear_activation_read(c->attrs).activation};
    if (c->recording && activation_saves_slope(e.activation)) {
        e.slopes = call_save(c, LINEAR_SAVED_SLOPES, (size_t)(rows * out) * sizeof(T));
        if (e.slopes == NULL) return TT_ERR_NOMEM;
    }
    /* The product is added to the residual, or without one to the bias. */
    const T *add = residual != NULL ? residual : e.bias;
    const gemm_args g = {.tb = true,
                         .m = rows,
                         .n = out,
                         .k = in,
                         .alpha = 1,
                         .beta = add != NULL,
                         .a = x->data,
                         .lda = at_least_one(in),
                         .b = w->data,
                         .ldb = at_least_one(in),
                         .d = add != NULL ? add : e.y,
                         .ldd = add != NULL && add == e.bias ? 0 : at_least_one(out),
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
    (void)col, (void)cols; /* columns of dx: each needs whole rows of dz */
    activation_backward(e->activation, e->dy + at, e->y + at,
                        e->slopes != NULL ? e->slopes + at : NULL, e->dz + at, rows * e->cols);
}

static void past_activation_shard(void *arg, int64_t shard)
{
    const epilogue_gradient *e = arg;
    int64_t row = shard * e->rows_per_shard;
    past_activation(arg, row, at_most(e->rows_per_shard, e->rows - row), 0, 0);
}

/* The gradient of the bias, found along with that of the weight: the columns of dz are summed just
 * before a part of dW reads them. */
static void sum_columns(void *arg, int64_t row, int64_t rows, int64_t col, int64_t cols)
{
    (void)cols;
    if (col > 0) return; /* another part does it */
    for (int64_t i = row; i < row + rows; i += COLUMN_BLOCK)
        column_sums_block(arg, i, at_most(COLUMN_BLOCK, row + rows - i));
}

static tt_status linear_backward(tt_call *c)
{
    const tt_tensor *x = c->in[LINEAR_X], *w = c->in[LINEAR_WEIGHT];
    const int64_t activation = linear_activation_read(c->attrs).activation;
    int64_t out = w->shape[0], in = w->shape[1], rows = row_count(x);
    const T *dz = c->dy[Y];
    T *dx = c->dx[LINEAR_X], *dw = c->dx[LINEAR_WEIGHT], *db = c->dx[LINEAR_BIAS];
    gemm_parts dx_parts = {.whole_rows = activation != ACTIVATION_NONE};
    epilogue_gradient e = {.dy = c->dy[Y],
                           .y = c->out[Y]->data,
                           .slopes = c->saved[LINEAR_SAVED_SLOPES],
                           .rows = rows,
                           .cols = out,
                           .activation = activation,
                           .rows_per_shard = rows_per_shard(out)};
    if (e.activation != ACTIVATION_NONE) {
        dz = e.dz = call_scratch(c, (size_t)(rows * out) * sizeof(T));
        if (dz == NULL) return TT_ERR_NOMEM;
        if (dx != NULL && in > 0) dx_parts.before = past_activation, dx_parts.arg = &e;
        else parallel_for(shards_of(rows, e.rows_per_shard), past_activation_shard, &e);
    }
    if (dx != NULL) { /* dx (rows, in) = dz W; rows of dz are computed just before those of dx */
        const gemm_args g =
            gemm_args_of(false, false, rows, in, out, 1, dz, at_least_one(out), w->data,
                         at_least_one(in), c->acc[LINEAR_X], dx, at_least_one(in));
        parallel_gemm_tiled(&g, &dx_parts);
    }
    column_sums_plan sums = {dz, db, rows, out, c->acc[LINEAR_BIAS]};
    gemm_parts dw_parts = {.before = db != NULL ? sum_columns : NULL, .arg = &sums};
    if (dw != NULL) { /* dW (out, in) = dz^T x */
        const gemm_args g =
            gemm_args_of(true, false, out, in, rows, 1, dz, at_least_one(out), x->data,
                         at_least_one(in), c->acc[LINEAR_WEIGHT], dw, at_least_one(in));
        parallel_gemm_tiled(&g, &dw_parts);
    }
    if (db != NULL && (dw == NULL || in == 0)) column_sums(dz, rows, out, db, c->acc[LINEAR_BIAS]);
    return TT_OK;
}
TT_KERNELS_OF(linear, linear_forward, linear_backward)
TT_KERNELS_OF(linear_activation, linear_forward, linear_backward)
TT_KERNELS_OF(linear_add, linear_forward, linear_backward)

#else

static tt_status linear_infer(tt_call *c)
{
    const tt_tensor *x = c->in[LINEAR_X], *w = c->in[LINEAR_WEIGHT], *b = c->in[LINEAR_BIAS];
    const int64_t activation = linear_activation_read(c->attrs).activation;
    bool fits = w->ndim == 2 && x->ndim >= 1 && x->shape[x->ndim - 1] == w->shape[1] &&
                (b == NULL || (b->ndim == 1 && b->shape[0] == w->shape[0]));
    if (!fits)
        return tt_fail(
            TT_ERR_SHAPE, c->op->name,
            "expected input (..., in), weight (out, in) and bias (out), got %s, %s and %s",
            SHAPE_TEXT(x), SHAPE_TEXT(w), b != NULL ? SHAPE_TEXT(b) : "no bias");
    if (activation < 0 || activation >= ACTIVATION_COUNT)
        return tt_fail(TT_ERR_ARG, c->op->name, "there is no activation %lld",
                       (long long)activation);
    c->spec[Y] = rule_spec_like(x);
    c->spec[Y].shape[x->ndim - 1] = w->shape[0];
    return TT_OK;
}

static tt_status linear_add_infer(tt_call *c)
{
    TT_TRY(linear_infer(c));
    const int64_t activation = linear_activation_read(c->attrs).activation;
    if (activation != ACTIVATION_NONE)
        return tt_fail(TT_ERR_ARG, c->op->name, "a sum has no activation, got %lld",
                       (long long)activation);
    const tt_tensor *r = c->in[LINEAR_RESIDUAL];
    const tt_spec *y = &c->spec[Y];
    bool fits = r->ndim == y->ndim;
    for (int i = 0; i < y->ndim && fits; i++) fits = r->shape[i] == y->shape[i];
    if (fits) return TT_OK;
    return tt_fail(TT_ERR_SHAPE, c->op->name,
                   "expected a residual (..., out) for input %s and weight %s, got %s",
                   SHAPE_TEXT(c->in[LINEAR_X]), SHAPE_TEXT(c->in[LINEAR_WEIGHT]), SHAPE_TEXT(r));
}

/* dz = dy a'(z), by the rule of the activation's own operation. Where a' does not follow from y, z
 * is computed again. */
static tt_tensor *activation_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *dy)
{
    static const int operations[ACTIVATION_COUNT] = {
        [ACTIVATION_RELU] = TT_OP_relu,      [ACTIVATION_GELU] = TT_OP_gelu,
        [ACTIVATION_GELU_TANH] = TT_OP_gelu, [ACTIVATION_SILU] = TT_OP_silu,
        [ACTIVATION_TANH] = TT_OP_tanh,      [ACTIVATION_SIGMOID] = TT_OP_sigmoid,
    };
    const tt_attrs none = {0};
    int64_t activation = linear_activation_read(&node->attrs).activation;
    if (activation == ACTIVATION_NONE) return dy;
    tt_tensor *z = NULL, *dz = NULL;
    if (activation_saves_slope(activation)) {
        z = v_call(ctx, TT_OP_linear, node->in, LINEAR_BIAS + 1, &none);
        if (z == NULL) return NULL;
    }
    tt_node alone = {.op = tt_ops[operations[activation]],
                     .in = &z,
                     .out = node->out,
                     .attrs = gelu_pack((gelu_attrs){activation == ACTIVATION_GELU_TANH})};
    const bool need = true;
    alone.op->vjp(ctx, &alone, &dy, &need, &dz);
    return dz;
}

static void linear_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                       tt_tensor **dx)
{
    tt_tensor *x = node->in[LINEAR_X], *w = node->in[LINEAR_WEIGHT];
    int64_t first_axis[1] = {0};
    tt_tensor *g = v_as_rows(ctx, activation_vjp(ctx, node, dy[Y]));
    if (need[LINEAR_X]) {
        tt_tensor *flat = v_matmul(ctx, g, w);
        dx[LINEAR_X] = flat != NULL ? v_reshape_like(ctx, flat, x) : NULL;
    }
    if (need[LINEAR_WEIGHT])
        dx[LINEAR_WEIGHT] = v_matmul(ctx, v_transpose(ctx, g), v_as_rows(ctx, x));
    if (need[LINEAR_BIAS]) dx[LINEAR_BIAS] = v_sum(ctx, g, 1, first_axis, false);
}

TT_OP(linear, .inputs = 3, .optional = BIT(LINEAR_BIAS),
      .keeps = BIT(LINEAR_X) | BIT(LINEAR_WEIGHT), .infer = linear_infer, .vjp = linear_vjp)
TT_OP(linear_activation, .inputs = 3, .attributes = linear_activation_names,
      .optional = BIT(LINEAR_BIAS), .keeps = BIT(LINEAR_X) | BIT(LINEAR_WEIGHT) | BIT(LINEAR_BIAS),
      .infer = linear_infer, .vjp = linear_vjp)
TT_OP(linear_add, .inputs = 4, .optional = BIT(LINEAR_BIAS),
      .keeps = BIT(LINEAR_X) | BIT(LINEAR_WEIGHT), .passes = BIT(LINEAR_RESIDUAL),
      .infer = linear_add_infer, .vjp = linear_vjp)

#endif
