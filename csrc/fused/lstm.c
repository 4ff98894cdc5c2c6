/* lstm: a layer of long short-term memory over a whole sequence (Hochreiter and Schmidhuber, 1997;
 * Gers et al., 2000), with PyTorch's order of gates. Inputs: x (T, N, I), h0 and c0 (N, H), W_ih
 * (4H, I), W_hh (4H, H), and b_ih and b_hh (4H) or absent. Outputs: h and c of all steps,
 * (T, N, H). With batch_first x, h and c are (N, T, ...).
 *
 *     i, f, g, o = x_t W_ih^T + b_ih + h_(t-1) W_hh^T + b_hh
 *     c_t = sigmoid(f) c_(t-1) + sigmoid(i) tanh(g)
 *     h_t = sigmoid(o) tanh(c_t)
 *
 * The gates are saved after their functions. */
#include "../op.h"
#include "lstm.h"

enum { LSTM_X, LSTM_H0, LSTM_C0, LSTM_W_IH, LSTM_W_HH, LSTM_B_IH, LSTM_B_HH };
enum { LSTM_SAVED_GATES };
TT_ATTRS(lstm, batch_first)

#ifdef TT_KERNELS

#include "lstm_steps.h"

/* The rows of x, h, c and the gates lie in the order of x: row r of the batch at step t is row
 * t * per_step + r * per_row. */
typedef struct {
    int64_t steps, n, in, hidden, rows, per_step, per_row, ld_gates;
} lstm_sizes;

static lstm_sizes lstm_sizes_of(const tt_call *c)
{
    const tt_tensor *x = c->in[LSTM_X], *w_hh = c->in[LSTM_W_HH];
    bool batch_first = lstm_read(c->attrs).batch_first;
    lstm_sizes s = {.steps = x->shape[batch_first],
                    .n = x->shape[!batch_first],
                    .in = x->shape[2],
                    .hidden = w_hh->shape[1]};
    s.rows = s.steps * s.n;
    s.per_step = batch_first ? 1 : s.n;
    s.per_row = batch_first ? s.steps : 1;
    s.ld_gates = lstm_ld(4 * s.hidden);
    return s;
}

typedef struct {
    lstm_sizes z;
    const T *bias; /* (4H) */
    T *gates;      /* before their functions, then after */
    T *h, *c;
    T *c_prev; /* (N, H) */
} lstm_plan;

static void lstm_put_bias(void *arg, int64_t row, int64_t rows, int64_t col, int64_t cols)
{
    const lstm_plan *p = arg;
    for (int64_t r = row; r < row + rows; r++)
        memcpy(p->gates + r * p->z.ld_gates + col, p->bias + col, (size_t)cols * sizeof(T));
}

/* Prefetches the gates of some units of a row of the next step: with the batch first and many steps
 * they lie so far apart that the hardware does not foresee them. */
TT_INLINE void lstm_fetch(const T *gates, int64_t hidden, int64_t units)
{
    enum { LINE = 64 / sizeof(T) };
    for (int64_t gate = 0; gate < 4; gate++)
        for (int64_t j = 0; j < units; j += LINE)
            __builtin_prefetch(gates + gate * hidden + j, 0, 2);
}

static void lstm_units(const lstm_steps *s, int64_t step, int64_t t, int64_t row, int64_t rows,
                       int64_t unit, int64_t units)
{
    const lstm_plan *p = s->plan;
    const lstm_sizes *z = &p->z;
    for (int64_t r = row; r < row + rows; r++) {
        int64_t at = t * z->per_step + r * z->per_row, n = z->hidden;
        T *i = p->gates + at * z->ld_gates + unit, *f = i + n, *g = f + n, *o = g + n;
        T *h = p->h + at * n + unit, *c = p->c + at * n + unit;
        T *c_prev = p->c_prev + r * n + unit, *carry = lstm_carry(s, step) + r * n + unit;
        if (t + 1 < z->steps) lstm_fetch(i + z->per_step * z->ld_gates, n, units);
#pragma omp simd
        for (int64_t j = 0; j < units; j++) {
            i[j] = tt_sigmoid(i[j]);
            f[j] = tt_sigmoid(f[j]);
            g[j] = tt_tanh(g[j]);
            o[j] = tt_sigmoid(o[j]);
            c[j] = c_prev[j] = f[j] * c_prev[j] + i[j] * g[j];
            h[j] = carry[j] = o[j] * tt_tanh(c[j]);
        }
    }
}

static tt_status lstm_forward(tt_call *c)
{
    lstm_sizes z = lstm_sizes_of(c);
    int64_t state = z.n * z.hidden, wide = 4 * z.hidden;
    lstm_plan p = {.z = z, .h = c->out[LSTM_H]->data, .c = c->out[LSTM_C]->data};
    p.gates = call_save(c, LSTM_SAVED_GATES, (size_t)(z.rows * z.ld_gates) * sizeof(T));
    T *bias = call_scratch(c, (size_t)wide * sizeof(T));
    T *carry = call_scratch(c, (size_t)(3 * state) * sizeof(T));
    if (p.gates == NULL || bias == NULL || carry == NULL) return TT_ERR_NOMEM;
    const T *b_ih = data_of(c->in[LSTM_B_IH]), *b_hh = data_of(c->in[LSTM_B_HH]);
    for (int64_t j = 0; j < wide; j++)
        bias[j] = (b_ih != NULL ? b_ih[j] : 0) + (b_hh != NULL ? b_hh[j] : 0);
    p.bias = bias;
    p.c_prev = carry + 2 * state;
    memcpy(p.c_prev, c->in[LSTM_C0]->data, (size_t)state * sizeof(T));
    gemm_parts parts = {.before = lstm_put_bias, .arg = &p};
    const gemm_args g =
        gemm_args_of(false, true, z.rows, wide, z.in, 1, c->in[LSTM_X]->data, at_least_one(z.in),
                     c->in[LSTM_W_IH]->data, at_least_one(z.in), 1, p.gates, z.ld_gates);
    parallel_gemm_tiled(&g, &parts);
    lstm_steps steps = {.units = lstm_units,
                        .plan = &p,
                        .steps = z.steps,
                        .n = z.n,
                        .hidden = z.hidden,
                        .w = c->in[LSTM_W_HH]->data,
                        .first = c->in[LSTM_H0]->data,
                        .carry = carry,
                        .ld_carry = z.hidden,
                        .out = p.gates,
                        .out_row = z.per_row * z.ld_gates,
                        .out_step = z.per_step * z.ld_gates,
                        .beta = 1};
    return lstm_run(c, &steps);
}

typedef struct {
    lstm_sizes z;
    const T *h0, *c0, *gates, *h, *c;
    const T *dy_h, *dy_c; /* like h, or a row of zeros with stride 0 */
    int64_t ld_dy_h, ld_dy_c;
    T *dgates, *dh, *dc; /* dh and dc (N, H): the gradients that the next step gives */
    T *h_prev;           /* (rows, H) */
    double *sums;        /* (shards, 4H) */
} lstm_backward_plan;

/* dc is first the gradient of c_t from step t + 1, and then that of c_(t-1) from step t. */
static void lstm_units_backward(const lstm_steps *s, int64_t step, int64_t t, int64_t row,
                                int64_t rows, int64_t unit, int64_t units)
{
    const lstm_backward_plan *p = s->plan;
    const lstm_sizes *z = &p->z;
    for (int64_t r = row; r < row + rows; r++) {
        int64_t at = t * z->per_step + r * z->per_row, n = z->hidden;
        const T *i = p->gates + at * z->ld_gates + unit, *f = i + n, *g = f + n, *o = g + n;
        T *di = p->dgates + at * z->ld_gates + unit, *df = di + n, *dg = df + n, *d_o = dg + n;
        T *to_i = lstm_carry(s, step) + r * s->ld_carry + unit, *to_f = to_i + n, *to_g = to_f + n,
          *to_o = to_g + n;
        const T *c = p->c + at * n + unit,
                *c_prev = t > 0 ? c - z->per_step * n : p->c0 + r * n + unit;
        const T *dy_h = p->dy_h + at * p->ld_dy_h + unit, *dy_c = p->dy_c + at * p->ld_dy_c + unit;
        const T *dh = p->dh + r * n + unit;
        T *dc = p->dc + r * n + unit;
        if (t > 0) {
            lstm_fetch(i - z->per_step * z->ld_gates, n, units);
            lstm_fetch(di - z->per_step * z->ld_gates, n, units);
        }
#pragma omp simd
        for (int64_t j = 0; j < units; j++) {
            T tanh_c = tt_tanh(c[j]), all_h = dh[j] + dy_h[j];
            T all_c = dc[j] + dy_c[j] + all_h * o[j] * (1 - tanh_c * tanh_c);
            di[j] = to_i[j] = all_c * g[j] * i[j] * (1 - i[j]);
            df[j] = to_f[j] = all_c * c_prev[j] * f[j] * (1 - f[j]);
            dg[j] = to_g[j] = all_c * i[j] * (1 - g[j] * g[j]);
            d_o[j] = to_o[j] = all_h * tanh_c * o[j] * (1 - o[j]);
            dc[j] = all_c * f[j];
        }
    }
}

enum { LSTM_SHARD = 256 /* rows */ };

static void lstm_delay_rows(void *arg, int64_t shard)
{
    const lstm_backward_plan *p = arg;
    const lstm_sizes *z = &p->z;
    int64_t end = at_most((shard + 1) * LSTM_SHARD, z->rows), n = z->hidden;
    for (int64_t at = shard * LSTM_SHARD; at < end; at++) {
        int64_t t = at / z->per_step % z->steps, row = at / z->per_row % z->n;
        const T *from = t > 0 ? p->h + (at - z->per_step) * n : p->h0 + row * n;
        memcpy(p->h_prev + at * n, from, (size_t)n * sizeof(T));
    }
}

static void lstm_sum_rows(void *arg, int64_t shard)
{
    const lstm_backward_plan *p = arg;
    int64_t end = at_most((shard + 1) * LSTM_SHARD, p->z.rows), n = 4 * p->z.hidden;
    double *sum = p->sums + shard * n;
    memset(sum, 0, (size_t)n * sizeof *sum);
    for (int64_t r = shard * LSTM_SHARD; r < end; r++) {
        const T *row = p->dgates + r * p->z.ld_gates;
        for (int64_t j = 0; j < n; j++) sum[j] += (double)row[j];
    }
}

/* With d = dgates of all steps:  dx = d W_ih,  dW_ih = d^T x,  dW_hh = d^T h_prev,  db = sum d */
static tt_status lstm_gather(tt_call *c, lstm_backward_plan *p)
{
    const lstm_sizes *z = &p->z;
    int64_t in = z->in, hidden = z->hidden, wide = 4 * hidden,
            shards = shards_of(z->rows, LSTM_SHARD);
    if (c->dx[LSTM_X] != NULL)
        parallel_gemm(false, false, z->rows, in, wide, 1, p->dgates, z->ld_gates,
                      data_of(c->in[LSTM_W_IH]), at_least_one(in), c->acc[LSTM_X], c->dx[LSTM_X],
                      at_least_one(in));
    if (c->dx[LSTM_W_IH] != NULL)
        parallel_gemm(true, false, wide, in, z->rows, 1, p->dgates, z->ld_gates,
                      c->in[LSTM_X]->data, at_least_one(in), c->acc[LSTM_W_IH], c->dx[LSTM_W_IH],
                      at_least_one(in));
    if (c->dx[LSTM_W_HH] != NULL) {
        p->h_prev = call_scratch(c, (size_t)(z->rows * hidden) * sizeof(T));
        if (p->h_prev == NULL) return TT_ERR_NOMEM;
        parallel_for(shards, lstm_delay_rows, p);
        parallel_gemm(true, false, wide, hidden, z->rows, 1, p->dgates, z->ld_gates, p->h_prev,
                      at_least_one(hidden), c->acc[LSTM_W_HH], c->dx[LSTM_W_HH],
                      at_least_one(hidden));
    }
    if (c->dx[LSTM_B_IH] == NULL && c->dx[LSTM_B_HH] == NULL) return TT_OK;
    p->sums = call_scratch(c, (size_t)((shards + 1) * wide) * sizeof(double));
    if (p->sums == NULL) return TT_ERR_NOMEM;
    parallel_for(shards, lstm_sum_rows, p);
    double *total = p->sums + shards * wide;
    memset(total, 0, (size_t)wide * sizeof *total);
    for (int64_t shard = 0; shard < shards; shard++)
        for (int64_t j = 0; j < wide; j++) total[j] += p->sums[shard * wide + j];
    for (int b = LSTM_B_IH; b <= LSTM_B_HH; b++)
        for (int64_t j = 0; c->dx[b] != NULL && j < wide; j++)
            put((T *)c->dx[b] + j, (T)total[j], c->acc[b]);
    return TT_OK;
}

static tt_status lstm_backward(tt_call *c)
{
    lstm_sizes z = lstm_sizes_of(c);
    int64_t state = z.n * z.hidden, zeros = 2 * state + z.hidden;
    lstm_backward_plan p = {.z = z,
                            .h0 = data_of(c->in[LSTM_H0]),
                            .c0 = data_of(c->in[LSTM_C0]),
                            .gates = c->saved[LSTM_SAVED_GATES],
                            .h = c->out[LSTM_H]->data,
                            .c = c->out[LSTM_C]->data};
    p.dgates = call_scratch(c, (size_t)(z.rows * z.ld_gates) * sizeof(T));
    T *carry = call_scratch(c, (size_t)(2 * z.n * z.ld_gates) * sizeof(T));
    T *own = call_scratch(c, (size_t)zeros * sizeof(T));
    if (p.dgates == NULL || carry == NULL || own == NULL) return TT_ERR_NOMEM;
    memset(own, 0, (size_t)zeros * sizeof(T));
    p.dh = own;
    p.dc = own + state;
    p.dy_h = c->dy[LSTM_H] != NULL ? c->dy[LSTM_H] : own + 2 * state;
    p.dy_c = c->dy[LSTM_C] != NULL ? c->dy[LSTM_C] : own + 2 * state;
    p.ld_dy_h = c->dy[LSTM_H] != NULL ? z.hidden : 0;
    p.ld_dy_c = c->dy[LSTM_C] != NULL ? z.hidden : 0;
    lstm_steps steps = {.units = lstm_units_backward,
                        .plan = &p,
                        .reverse = true,
                        .beyond = c->dx[LSTM_H0] != NULL,
                        .steps = z.steps,
                        .n = z.n,
                        .hidden = z.hidden,
                        .w = c->in[LSTM_W_HH]->data,
                        .carry = carry,
                        .ld_carry = z.ld_gates,
                        .out = p.dh,
                        .out_row = z.hidden};
    TT_TRY(lstm_run(c, &steps));
    for (int64_t i = 0; i < state; i++) {
        if (c->dx[LSTM_H0] != NULL) put((T *)c->dx[LSTM_H0] + i, p.dh[i], c->acc[LSTM_H0]);
        if (c->dx[LSTM_C0] != NULL) put((T *)c->dx[LSTM_C0] + i, p.dc[i], c->acc[LSTM_C0]);
    }
    return lstm_gather(c, &p);
}
TT_KERNELS_OF(lstm, lstm_forward, lstm_backward)

#else

static tt_status lstm_infer(tt_call *c)
{
    const tt_tensor *x = c->in[LSTM_X], *h0 = c->in[LSTM_H0], *c0 = c->in[LSTM_C0],
                    *w_ih = c->in[LSTM_W_IH], *w_hh = c->in[LSTM_W_HH];
    bool fits = x->ndim == 3 && h0->ndim == 2 && w_ih->ndim == 2 && w_hh->ndim == 2;
    bool batch_first = lstm_read(c->attrs).batch_first;
    int64_t hidden = fits ? w_hh->shape[1] : 0;
    fits = fits && tensor_same_shape(h0, c0) && h0->shape[0] == x->shape[!batch_first] &&
           h0->shape[1] == hidden && w_hh->shape[0] == 4 * hidden && w_ih->shape[0] == 4 * hidden &&
           w_ih->shape[1] == x->shape[2];
    if (!fits)
        return tt_fail(TT_ERR_SHAPE, c->op->name,
                       "expected input %s, h and c (N, H), w_ih (4H, I) and w_hh (4H, H), "
                       "got %s, %s, %s, %s and %s",
                       batch_first ? "(N, T, I)" : "(T, N, I)", SHAPE_TEXT(x), SHAPE_TEXT(h0),
                       SHAPE_TEXT(c0), SHAPE_TEXT(w_ih), SHAPE_TEXT(w_hh));
    for (int i = LSTM_B_IH; i <= LSTM_B_HH; i++) {
        const tt_tensor *b = c->in[i];
        if (b != NULL && (b->ndim != 1 || b->shape[0] != 4 * hidden))
            return tt_fail(TT_ERR_SHAPE, c->op->name, "expected %s of shape (%lld,), got %s",
                           i == LSTM_B_IH ? "b_ih" : "b_hh", (long long)(4 * hidden),
                           SHAPE_TEXT(b));
    }
    c->spec[LSTM_H] = c->spec[LSTM_C] =
        (tt_spec){.dtype = x->dtype, .ndim = 3, .shape = {x->shape[0], x->shape[1], hidden}};
    return TT_OK;
}

static tt_tensor *lstm_gate(tt_ctx *ctx, tt_tensor *gates, int gate)
{
    if (gates == NULL) return NULL;
    int64_t hidden = gates->shape[2] / 4;
    return v_slice(ctx, gates, 2, gate * hidden, hidden);
}

/* factor y (1 - y), where y is a sigmoid; and factor (1 - y^2), where it is a tanh */
static tt_tensor *lstm_past_logistic(tt_ctx *ctx, tt_tensor *y, tt_tensor *factor)
{
    return v_mul(ctx, factor, v_sub(ctx, y, v_mul(ctx, y, y)));
}
static tt_tensor *lstm_past_tanh(tt_ctx *ctx, tt_tensor *y, tt_tensor *factor)
{
    return v_sub(ctx, factor, v_mul(ctx, factor, v_mul(ctx, y, y)));
}

static tt_tensor *lstm_time_first(tt_ctx *ctx, tt_tensor *x, bool batch_first)
{
    if (x == NULL || !batch_first) return x;
    return v_call(ctx, TT_OP_permute, &x, 1,
                  ATTRS(permute, .n_order = 3, .order = (int64_t[]){1, 0, 2}));
}

/* h and c of all steps are outputs that are part of the graph. So the gates of all steps can be
 * computed again in one product, and a second-order pass goes through this operation again. */
static void lstm_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                     tt_tensor **dx)
{
    bool batch_first = lstm_read(&node->attrs).batch_first;
    tt_tensor *x = lstm_time_first(ctx, node->in[LSTM_X], batch_first);
    tt_tensor *w_ih = node->in[LSTM_W_IH], *w_hh = node->in[LSTM_W_HH];
    tt_tensor *h = lstm_time_first(ctx, node->out[LSTM_H], batch_first);
    tt_tensor *all_c = lstm_time_first(ctx, node->out[LSTM_C], batch_first);
    if (x == NULL) return;
    int64_t steps = x->shape[0], one_step[2] = {x->shape[1], w_hh->shape[1]}, first_axis[1] = {0};
    tt_tensor *h_prev = lstm_delay(ctx, h, node->in[LSTM_H0]);
    tt_tensor *c_prev = lstm_delay(ctx, all_c, node->in[LSTM_C0]);
    tt_tensor *sums = v_add(ctx, lstm_affine(ctx, x, w_ih, node->in[LSTM_B_IH]),
                            lstm_affine(ctx, h_prev, w_hh, node->in[LSTM_B_HH]));
    tt_tensor *i = v_unary(ctx, TT_OP_sigmoid, lstm_gate(ctx, sums, 0));
    tt_tensor *f = v_unary(ctx, TT_OP_sigmoid, lstm_gate(ctx, sums, 1));
    tt_tensor *g = v_unary(ctx, TT_OP_tanh, lstm_gate(ctx, sums, 2));
    tt_tensor *o = v_unary(ctx, TT_OP_sigmoid, lstm_gate(ctx, sums, 3));
    tt_tensor *tanh_c = v_unary(ctx, TT_OP_tanh, all_c);
    /* d c / d gates for three of them, d h / d gates for the last; and d h / d c */
    tt_tensor *k =
        lstm_gates(ctx, lstm_past_logistic(ctx, i, g), lstm_past_logistic(ctx, f, c_prev),
                   lstm_past_tanh(ctx, g, i), lstm_past_logistic(ctx, o, tanh_c));
    tt_tensor *r = lstm_past_tanh(ctx, tanh_c, o), *d[2];
    tt_tensor *scan[SCAN_INPUTS] = {[SCAN_S_H] = lstm_time_first(ctx, dy[LSTM_H], batch_first),
                                    [SCAN_S_C] = lstm_time_first(ctx, dy[LSTM_C], batch_first),
                                    [SCAN_K] = k,
                                    [SCAN_R] = r,
                                    [SCAN_F] = f,
                                    [SCAN_W] = w_hh};
    if (!lstm_scan_call(ctx, scan, true, d)) return;
    tt_tensor *dh = d[LSTM_H], *dc = d[LSTM_C];
    tt_tensor *dgates = v_mul(ctx, k, lstm_gates(ctx, dc, dc, dc, dh));
    tt_tensor *rows = v_as_rows(ctx, dgates);
    if (rows == NULL) return;
    if (need[LSTM_X]) {
        tt_tensor *flat = v_matmul(ctx, rows, w_ih);
        tt_tensor *dx_steps = flat != NULL ? v_reshape_like(ctx, flat, x) : NULL;
        dx[LSTM_X] = lstm_time_first(ctx, dx_steps, batch_first); /* the same swap is its inverse */
    }
    if (need[LSTM_W_IH]) dx[LSTM_W_IH] = v_matmul(ctx, v_transpose(ctx, rows), v_as_rows(ctx, x));
    if (need[LSTM_W_HH])
        dx[LSTM_W_HH] = v_matmul(ctx, v_transpose(ctx, rows), v_as_rows(ctx, h_prev));
    for (int b = LSTM_B_IH; b <= LSTM_B_HH; b++)
        if (need[b]) dx[b] = v_sum(ctx, rows, 1, first_axis, false);
    for (int s = LSTM_H0; s <= LSTM_C0; s++) {
        if (!need[s]) continue;
        if (steps == 0) {
            dx[s] = v_constant(ctx, x->dtype, 2, one_step, 0.0);
        } else if (s == LSTM_H0) {
            dx[s] = v_matmul(ctx, v_slice(ctx, rows, 0, 0, one_step[0]), w_hh);
        } else {
            tt_tensor *dc0 = v_mul(ctx, v_slice(ctx, f, 0, 0, 1), v_slice(ctx, dc, 0, 0, 1));
            dx[s] = v_reshape(ctx, dc0, 2, one_step);
        }
    }
}

TT_OP(lstm, .inputs = 7, .attributes = lstm_names, .outputs = 2,
      .optional = BIT(LSTM_B_IH) | BIT(LSTM_B_HH),
      .keeps = BIT(LSTM_X) | BIT(LSTM_H0) | BIT(LSTM_C0) | BIT(LSTM_W_IH) | BIT(LSTM_W_HH) |
               BIT(LSTM_B_IH) | BIT(LSTM_B_HH),
      .infer = lstm_infer, .vjp = lstm_vjp)

#endif
