/* lstm: a layer of long short-term memory over a whole sequence (Hochreiter and Schmidhuber, 1997;
 * Gers et al., 2000), with PyTorch's order of gates. Of x (T, N, I), h0 and c0 (N, H), W_ih (4H,
 * I), W_hh (4H, H), and b_ih and b_hh (4H) or absent, it makes all h and all c, (T, N, H):
 *
 *     i, f, g, o = x_t W_ih^T + b_ih + h_(t-1) W_hh^T + b_hh
 *     c_t = sigmoid(f) c_(t-1) + sigmoid(i) tanh(g)
 *     h_t = sigmoid(o) tanh(c_t)
 *
 * It saves the gates after their functions, (T, N, 4H). */
#include "../op.h"

#ifdef TT_KERNELS

/* One step; p->t is set before each. Gates are (T, N, 4H): before their functions, then after. */
typedef struct {
    const T *h0, *c0, *bias; /* (N, H), (N, H), (4H) */
    T *gates, *h, *c;        /* (T, N, 4H), (T, N, H), (T, N, H) */
    const T *dy_h, *dy_c;    /* backward: (T, N, H), or zeros with stride 0 */
    int64_t dy_h_step, dy_c_step;
    T *dgates;  /* (T, N, 4H) */
    T *dh, *dc; /* (N, H): what comes from step t + 1 */
    int64_t t, n, hidden, rows_per_shard;
} lstm_plan;

static void lstm_shard(void *arg, int64_t shard)
{
    const lstm_plan *p = arg;
    int64_t begin = shard * p->rows_per_shard, end = at_most(begin + p->rows_per_shard, p->n),
            n = p->hidden;
    const T *b = p->bias, *before = p->t > 0 ? p->c + (p->t - 1) * p->n * n : p->c0;
    for (int64_t r = begin; r < end; r++) {
        T *i = p->gates + (p->t * p->n + r) * 4 * n, *f = i + n, *g = f + n, *o = g + n;
        T *h = p->h + (p->t * p->n + r) * n, *c = p->c + (p->t * p->n + r) * n;
        const T *c_prev = before + r * n;
#pragma omp simd
        for (int64_t j = 0; j < n; j++) {
            i[j] = tt_sigmoid(i[j] + b[j]);
            f[j] = tt_sigmoid(f[j] + b[n + j]);
            g[j] = tt_tanh(g[j] + b[2 * n + j]);
            o[j] = tt_sigmoid(o[j] + b[3 * n + j]);
            c[j] = f[j] * c_prev[j] + i[j] * g[j];
            h[j] = o[j] * tt_tanh(c[j]);
        }
    }
}

static tt_status lstm_forward(tt_call *c)
{
    const tt_tensor *x = c->in[0], *w_ih = c->in[3], *w_hh = c->in[4];
    int64_t steps = x->shape[0], n = x->shape[1], in = x->shape[2], hidden = w_hh->shape[1];
    lstm_plan p = {.h0 = data_of(c->in[1]),
                   .c0 = data_of(c->in[2]),
                   .h = c->out[0]->data,
                   .c = c->out[1]->data,
                   .n = n,
                   .hidden = hidden,
                   .rows_per_shard = rows_per_shard(4 * hidden)};
    p.gates = call_save(c, 0, (size_t)(steps * n * 4 * hidden) * sizeof(T));
    T *bias = call_scratch(c, (size_t)(4 * hidden) * sizeof(T));
    if (p.gates == NULL || bias == NULL) return TT_ERR_NOMEM;
    const T *b_ih = data_of(c->in[5]), *b_hh = data_of(c->in[6]);
    for (int64_t j = 0; j < 4 * hidden; j++)
        bias[j] = (b_ih != NULL ? b_ih[j] : 0) + (b_hh != NULL ? b_hh[j] : 0);
    p.bias = bias;
    parallel_gemm(false, true, steps * n, 4 * hidden, in, 1, x->data, at_least_one(in), w_ih->data,
                  at_least_one(in), 0, p.gates, at_least_one(4 * hidden));
    for (p.t = 0; p.t < steps; p.t++) {
        const T *h_prev = p.t > 0 ? p.h + (p.t - 1) * n * hidden : p.h0;
        parallel_gemm(false, true, n, 4 * hidden, hidden, 1, h_prev, at_least_one(hidden),
                      w_hh->data, at_least_one(hidden), 1, p.gates + p.t * n * 4 * hidden,
                      at_least_one(4 * hidden));
        parallel_for(shards_of(n, p.rows_per_shard), lstm_shard, &p);
    }
    return TT_OK;
}

/* dh and dc come in as what step t + 1 wants of h_t and c_t; dc goes out as what t wants of
 * c_(t-1). */
static void lstm_shard_backward(void *arg, int64_t shard)
{
    const lstm_plan *p = arg;
    int64_t begin = shard * p->rows_per_shard, end = at_most(begin + p->rows_per_shard, p->n),
            n = p->hidden;
    const T *before = p->t > 0 ? p->c + (p->t - 1) * p->n * n : p->c0;
    for (int64_t r = begin; r < end; r++) {
        const T *i = p->gates + (p->t * p->n + r) * 4 * n, *f = i + n, *g = f + n, *o = g + n;
        T *di = p->dgates + (p->t * p->n + r) * 4 * n, *df = di + n, *dg = df + n, *d_o = dg + n;
        const T *c = p->c + (p->t * p->n + r) * n, *c_prev = before + r * n, *dh = p->dh + r * n;
        const T *dy_h = p->dy_h + p->t * p->dy_h_step + r * n;
        const T *dy_c = p->dy_c + p->t * p->dy_c_step + r * n;
        T *dc = p->dc + r * n;
#pragma omp simd
        for (int64_t j = 0; j < n; j++) {
            T tanh_c = tt_tanh(c[j]), all_h = dh[j] + dy_h[j];
            T all_c = dc[j] + dy_c[j] + all_h * o[j] * (1 - tanh_c * tanh_c);
            di[j] = all_c * g[j] * i[j] * (1 - i[j]);
            df[j] = all_c * c_prev[j] * f[j] * (1 - f[j]);
            dg[j] = all_c * i[j] * (1 - g[j] * g[j]);
            d_o[j] = all_h * tanh_c * o[j] * (1 - o[j]);
            dc[j] = all_c * f[j];
        }
    }
}

/* With d = dgates of all steps:  dx = d W_ih,  dW_ih = d^T x,  dW_hh = d^T h_prev,  db = sum d */
static tt_status lstm_gather(const tt_call *c, const lstm_plan *p)
{
    const tt_tensor *x = c->in[0];
    int64_t rows = x->shape[0] * p->n, in = x->shape[2], hidden = p->hidden, wide = 4 * hidden;
    if (c->dx[0] != NULL)
        parallel_gemm(false, false, rows, in, wide, 1, p->dgates, at_least_one(wide),
                      data_of(c->in[3]), at_least_one(in), c->acc[0], c->dx[0], at_least_one(in));
    if (c->dx[3] != NULL)
        parallel_gemm(true, false, wide, in, rows, 1, p->dgates, at_least_one(wide), x->data,
                      at_least_one(in), c->acc[3], c->dx[3], at_least_one(in));
    if (c->dx[4] != NULL) { /* h_prev is h0, then h without its last step */
        int64_t first = at_most(rows, p->n);
        parallel_gemm(true, false, wide, hidden, first, 1, p->dgates, at_least_one(wide), p->h0,
                      at_least_one(hidden), c->acc[4], c->dx[4], at_least_one(hidden));
        if (rows > first)
            parallel_gemm(true, false, wide, hidden, rows - first, 1, p->dgates + first * wide,
                          at_least_one(wide), p->h, at_least_one(hidden), 1, c->dx[4],
                          at_least_one(hidden));
    }
    for (int b = 5; b < 7; b++)
        if (c->dx[b] != NULL) column_sums(p->dgates, rows, wide, c->dx[b], c->acc[b]);
    return TT_OK;
}

static tt_status lstm_backward(tt_call *c)
{
    const tt_tensor *x = c->in[0], *w_hh = c->in[4];
    int64_t steps = x->shape[0], n = x->shape[1], hidden = w_hh->shape[1], state = n * hidden;
    lstm_plan p = {.h0 = data_of(c->in[1]),
                   .c0 = data_of(c->in[2]),
                   .gates = c->saved[0],
                   .h = c->out[0]->data,
                   .c = c->out[1]->data,
                   .n = n,
                   .hidden = hidden,
                   .rows_per_shard = rows_per_shard(4 * hidden)};
    p.dgates = call_scratch(c, (size_t)(steps * 4 * state) * sizeof(T));
    T *carry = call_scratch(c, (size_t)(3 * state) * sizeof(T));
    if (p.dgates == NULL || carry == NULL) return TT_ERR_NOMEM;
    memset(carry, 0, (size_t)(3 * state) * sizeof(T));
    p.dh = carry;
    p.dc = carry + state;
    p.dy_h = c->dy[0] != NULL ? c->dy[0] : carry + 2 * state;
    p.dy_c = c->dy[1] != NULL ? c->dy[1] : carry + 2 * state;
    p.dy_h_step = c->dy[0] != NULL ? state : 0;
    p.dy_c_step = c->dy[1] != NULL ? state : 0;
    for (p.t = steps - 1; p.t >= 0; p.t--) {
        parallel_for(shards_of(n, p.rows_per_shard), lstm_shard_backward, &p);
        if (p.t > 0 || c->dx[1] != NULL)
            parallel_gemm(false, false, n, hidden, 4 * hidden, 1, p.dgates + p.t * 4 * state,
                          at_least_one(4 * hidden), w_hh->data, at_least_one(hidden), 0, p.dh,
                          at_least_one(hidden));
    }
    for (int64_t i = 0; i < state; i++) {
        if (c->dx[1] != NULL) put((T *)c->dx[1] + i, p.dh[i], c->acc[1]);
        if (c->dx[2] != NULL) put((T *)c->dx[2] + i, p.dc[i], c->acc[2]);
    }
    return lstm_gather(c, &p);
}
TT_KERNELS_OF(lstm, lstm_forward, lstm_backward)

#else

#include "lstm.h"

static tt_status lstm_infer(tt_call *c)
{
    const tt_tensor *x = c->in[0], *h0 = c->in[1], *c0 = c->in[2], *w_ih = c->in[3],
                    *w_hh = c->in[4];
    bool fits = x->ndim == 3 && h0->ndim == 2 && w_ih->ndim == 2 && w_hh->ndim == 2;
    int64_t hidden = fits ? w_hh->shape[1] : 0;
    fits = fits && tensor_same_shape(h0, c0) && h0->shape[0] == x->shape[1] &&
           h0->shape[1] == hidden && w_hh->shape[0] == 4 * hidden && w_ih->shape[0] == 4 * hidden &&
           w_ih->shape[1] == x->shape[2];
    if (!fits)
        return tt_fail(TT_ERR_SHAPE, c->op->name,
                       "expected input (T, N, I), h and c (N, H), w_ih (4H, I) and w_hh (4H, H), "
                       "got %s, %s, %s, %s and %s",
                       SHAPE_TEXT(x), SHAPE_TEXT(h0), SHAPE_TEXT(c0), SHAPE_TEXT(w_ih),
                       SHAPE_TEXT(w_hh));
    for (int i = 5; i < 7; i++) {
        const tt_tensor *b = c->in[i];
        if (b != NULL && (b->ndim != 1 || b->shape[0] != 4 * hidden))
            return tt_fail(TT_ERR_SHAPE, c->op->name, "expected %s of shape (%lld,), got %s",
                           i == 5 ? "b_ih" : "b_hh", (long long)(4 * hidden), SHAPE_TEXT(b));
    }
    c->spec[0] = c->spec[1] =
        (tt_spec){.dtype = x->dtype, .ndim = 3, .shape = {x->shape[0], x->shape[1], hidden}};
    return TT_OK;
}

static tt_tensor *lstm_gate(tt_ctx *ctx, tt_tensor *gates, int gate)
{
    if (gates == NULL) return NULL;
    int64_t hidden = gates->shape[2] / 4;
    return v_slice(ctx, gates, 2, gate * hidden, hidden);
}

/* factor y (1 - y), the derivative of a sigmoid y; and of a tanh: factor (1 - y^2) */
static tt_tensor *lstm_past_logistic(tt_ctx *ctx, tt_tensor *y, tt_tensor *factor)
{
    return v_mul(ctx, factor, v_sub(ctx, y, v_mul(ctx, y, y)));
}
static tt_tensor *lstm_past_tanh(tt_ctx *ctx, tt_tensor *y, tt_tensor *factor)
{
    return v_sub(ctx, factor, v_mul(ctx, factor, v_mul(ctx, y, y)));
}

/* h and c of all steps are outputs, connected to the graph: so the gates of all steps are computed
 * again at once, and a second-order pass goes through this operation again. */
static void lstm_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                     tt_tensor **dx)
{
    tt_tensor *x = node->in[0], *w_ih = node->in[3], *w_hh = node->in[4];
    int64_t steps = x->shape[0], one_step[2] = {x->shape[1], w_hh->shape[1]}, first_axis[1] = {0};
    tt_tensor *h_prev = lstm_delay(ctx, node->out[0], node->in[1]);
    tt_tensor *c_prev = lstm_delay(ctx, node->out[1], node->in[2]);
    tt_tensor *sums = v_add(ctx, lstm_affine(ctx, x, w_ih, node->in[5]),
                            lstm_affine(ctx, h_prev, w_hh, node->in[6]));
    tt_tensor *i = v_unary(ctx, TT_OP_sigmoid, lstm_gate(ctx, sums, 0));
    tt_tensor *f = v_unary(ctx, TT_OP_sigmoid, lstm_gate(ctx, sums, 1));
    tt_tensor *g = v_unary(ctx, TT_OP_tanh, lstm_gate(ctx, sums, 2));
    tt_tensor *o = v_unary(ctx, TT_OP_sigmoid, lstm_gate(ctx, sums, 3));
    tt_tensor *tanh_c = v_unary(ctx, TT_OP_tanh, node->out[1]);
    /* d c / d gates for three of them, d h / d gates for the last; and d h / d c */
    tt_tensor *k =
        lstm_gates(ctx, lstm_past_logistic(ctx, i, g), lstm_past_logistic(ctx, f, c_prev),
                   lstm_past_tanh(ctx, g, i), lstm_past_logistic(ctx, o, tanh_c));
    tt_tensor *r = lstm_past_tanh(ctx, tanh_c, o), *d[2];
    tt_tensor *scan[6] = {dy[0], dy[1], k, r, f, w_hh};
    if (!lstm_scan_call(ctx, scan, 1, d)) return;
    tt_tensor *dgates = v_mul(ctx, k, lstm_gates(ctx, d[1], d[1], d[1], d[0]));
    tt_tensor *rows = v_as_rows(ctx, dgates);
    if (rows == NULL) return;
    if (need[0]) {
        tt_tensor *flat = v_matmul(ctx, rows, w_ih);
        dx[0] = flat != NULL ? v_reshape_like(ctx, flat, x) : NULL;
    }
    if (need[3]) dx[3] = v_matmul(ctx, v_transpose(ctx, rows), v_as_rows(ctx, x));
    if (need[4]) dx[4] = v_matmul(ctx, v_transpose(ctx, rows), v_as_rows(ctx, h_prev));
    for (int b = 5; b < 7; b++)
        if (need[b]) dx[b] = v_sum(ctx, rows, 1, first_axis, false);
    for (int s = 1; s < 3; s++) {
        if (!need[s]) continue;
        if (steps == 0) {
            dx[s] = v_constant(ctx, x->dtype, 2, one_step, 0.0);
        } else if (s == 1) {
            dx[s] = v_matmul(ctx, v_slice(ctx, rows, 0, 0, one_step[0]), w_hh);
        } else {
            tt_tensor *dc0 = v_mul(ctx, v_slice(ctx, f, 0, 0, 1), v_slice(ctx, d[1], 0, 0, 1));
            dx[s] = v_reshape(ctx, dc0, 2, one_step);
        }
    }
}

TT_OP(lstm, .inputs = 7, .outputs = 2, .optional = 96, .keeps = 127, .infer = lstm_infer,
      .vjp = lstm_vjp)

#endif
