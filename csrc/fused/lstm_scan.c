/* lstm_scan: the linear recurrence along the steps that derivatives of an lstm have, forward or in
 * `reverse`. Each direction is the adjoint of the other, so derivatives of every order need no loop
 * over steps on the tape. */
#include "../op.h"
#include "lstm.h"

TT_ATTRS(lstm_scan, reverse)

#ifdef TT_KERNELS

#include "lstm_steps.h"

/* With k (T, N, 4H), as wide as the gates, and r, f (T, N, H); lstm_vjp says what they are.
 * Forward, with zeros before the first step:
 *     G_t = h_(t-1) W^T
 *     c_t = s_c + f c_(t-1) + k_i G_i + k_f G_f + k_g G_g
 *     h_t = s_h + k_o G_o + r c_t
 * In reverse, with zeros after the last:
 *     h_t = s_h + P_(t+1) W,   P_t = k (c_t, c_t, c_t, h_t)
 *     c_t = s_c + r h_t + f_(t+1) c_(t+1) */
typedef struct {
    const T *s_h, *s_c; /* (T, N, H), or a row of zeros with stride 0 */
    int64_t ld_s_h, ld_s_c;
    const T *k, *r, *f; /* (T, N, 4H), (T, N, H), (T, N, H) */
    T *h, *c;           /* (T, N, H) */
    T *product;         /* forward G (N, 4H), in reverse P W (N, H) */
    const T *zeros;     /* (H) */
} lstm_scan_plan;

static void lstm_scan_units(const lstm_steps *s, int64_t step, int64_t t, int64_t row, int64_t rows,
                            int64_t unit, int64_t units)
{
    const lstm_scan_plan *p = s->plan;
    int64_t n = s->hidden;
    for (int64_t x = row; x < row + rows; x++) {
        int64_t line = t * s->n + x, at = line * n + unit;
        const T *ki = p->k + 4 * line * n + unit, *kf = ki + n, *kg = kf + n, *ko = kg + n;
        const T *gi = p->product + 4 * x * n + unit, *gf = gi + n, *gg = gf + n, *go = gg + n;
        const T *r = p->r + at, *f = p->f + at,
                *c_prev = t > 0 ? p->c + at - s->n * n : p->zeros + unit;
        const T *s_h = p->s_h + line * p->ld_s_h + unit, *s_c = p->s_c + line * p->ld_s_c + unit;
        T *h = p->h + at, *c = p->c + at, *carry = lstm_carry(s, step) + x * n + unit;
#pragma omp simd
        for (int64_t j = 0; j < units; j++) {
            c[j] = s_c[j] + f[j] * c_prev[j] + ki[j] * gi[j] + kf[j] * gf[j] + kg[j] * gg[j];
            h[j] = carry[j] = s_h[j] + ko[j] * go[j] + r[j] * c[j];
        }
    }
}

/* gates = k (c, c, c, h) of one row; the gates of a unit are n apart */
static inline void lstm_spread(T *gates, const T *k, const T *h, const T *c, int64_t n,
                               int64_t units, bool acc)
{
    for (int64_t gate = 0; gate < 4; gate++) {
        const T *with = gate < 3 ? c : h;
        for (int64_t j = 0; j < units; j++)
            put(gates + gate * n + j, k[gate * n + j] * with[j], acc);
    }
}

static void lstm_scan_units_reverse(const lstm_steps *s, int64_t step, int64_t t, int64_t row,
                                    int64_t rows, int64_t unit, int64_t units)
{
    const lstm_scan_plan *p = s->plan;
    int64_t n = s->hidden, later = s->n * n;
    for (int64_t x = row; x < row + rows; x++) {
        int64_t line = t * s->n + x, at = line * n + unit;
        bool last = t == s->steps - 1;
        const T *f = last ? p->zeros + unit : p->f + at + later;
        const T *c_next = last ? p->zeros + unit : p->c + at + later;
        const T *r = p->r + at, *from_h = p->product + x * n + unit;
        const T *s_h = p->s_h + line * p->ld_s_h + unit, *s_c = p->s_c + line * p->ld_s_c + unit;
        T *h = p->h + at, *c = p->c + at;
#pragma omp simd
        for (int64_t j = 0; j < units; j++) {
            h[j] = s_h[j] + from_h[j];
            c[j] = s_c[j] + r[j] * h[j] + f[j] * c_next[j];
        }
        lstm_spread(lstm_carry(s, step) + x * s->ld_carry + unit, p->k + 4 * line * n + unit, h, c,
                    n, units, false);
    }
}

static tt_status lstm_scan_run(tt_call *call, bool reverse, const T *s_h, const T *s_c, T *h, T *c)
{
    const tt_tensor *k = call->in[SCAN_K], *w = call->in[SCAN_W];
    int64_t n = k->shape[1], hidden = w->shape[1], wide = 4 * hidden;
    int64_t product = n * (reverse ? hidden : wide), ld_carry = reverse ? lstm_ld(wide) : hidden;
    T *work = call_scratch(call, (size_t)(hidden + product + 2 * n * ld_carry) * sizeof(T));
    if (work == NULL) return TT_ERR_NOMEM;
    memset(work, 0, (size_t)(hidden + product) * sizeof(T));
    lstm_scan_plan p = {.s_h = s_h != NULL ? s_h : work,
                        .s_c = s_c != NULL ? s_c : work,
                        .ld_s_h = s_h != NULL ? hidden : 0,
                        .ld_s_c = s_c != NULL ? hidden : 0,
                        .k = k->data,
                        .r = data_of(call->in[SCAN_R]),
                        .f = data_of(call->in[SCAN_F]),
                        .h = h,
                        .c = c,
                        .zeros = work,
                        .product = work + hidden};
    lstm_steps steps = {.units = reverse ? lstm_scan_units_reverse : lstm_scan_units,
                        .plan = &p,
                        .reverse = reverse,
                        .steps = k->shape[0],
                        .n = n,
                        .hidden = hidden,
                        .w = w->data,
                        .carry = work + hidden + product,
                        .ld_carry = ld_carry,
                        .out = p.product,
                        .out_row = reverse ? hidden : wide};
    return lstm_run(call, &steps);
}

static tt_status lstm_scan_forward(tt_call *c)
{
    return lstm_scan_run(c, lstm_scan_read(c->attrs).reverse, data_of(c->in[SCAN_S_H]),
                         data_of(c->in[SCAN_S_C]), c->out[LSTM_H]->data, c->out[LSTM_C]->data);
}

/* With (h, c) from the forward scan and (dh, dc) from the reverse one; one of the two scans is this
 * operation, the other its adjoint:
 *     dk = G (dc, dc, dc, dh),  dr = dh c,  df = dc c_prev,  dW = P^T h_prev */
typedef struct {
    const T *k, *h, *c, *dh, *dc;
    T *gates; /* (T, N, 4H): G, then P */
    T *dk, *dr, *df;
    bool spread, acc_k, acc_r, acc_f;
    int64_t rows, n, hidden, rows_per_shard;
} lstm_scan_products;

static void lstm_scan_products_shard(void *arg, int64_t shard)
{
    const lstm_scan_products *p = arg;
    int64_t begin = shard * p->rows_per_shard, end = at_most(begin + p->rows_per_shard, p->rows),
            n = p->hidden, state = p->n * n;
    for (int64_t at = begin * n; at < end * n; at += n) {
        const T *dh = p->dh + at, *dc = p->dc + at;
        if (p->spread) {
            lstm_spread(p->gates + 4 * at, p->k + 4 * at, dh, dc, n, n, false);
            continue;
        }
        if (p->dk != NULL) lstm_spread(p->dk + 4 * at, p->gates + 4 * at, dh, dc, n, n, p->acc_k);
        if (p->dr != NULL)
            for (int64_t j = 0; j < n; j++) put(p->dr + at + j, dh[j] * p->c[at + j], p->acc_r);
        if (p->df != NULL)
            for (int64_t j = 0; j < n; j++)
                put(p->df + at + j, at < state ? 0 : dc[j] * p->c[at - state + j], p->acc_f);
    }
}

static tt_status lstm_scan_backward(tt_call *c)
{
    const tt_tensor *k = c->in[SCAN_K], *w = c->in[SCAN_W];
    bool reverse = lstm_scan_read(c->attrs).reverse;
    int64_t n = k->shape[1], hidden = w->shape[1], state = n * hidden, wide = 4 * hidden;
    int64_t all = k->shape[0] * state, later = all > state ? all / at_least_one(hidden) - n : 0;
    T *adjoint = call_scratch(c, (size_t)(2 * all) * sizeof(T));
    T *gates = call_scratch(c, (size_t)(4 * all) * sizeof(T));
    if (adjoint == NULL || gates == NULL) return TT_ERR_NOMEM;
    TT_TRY(lstm_scan_run(c, !reverse, c->dy[LSTM_H], c->dy[LSTM_C], adjoint, adjoint + all));
    for (int i = SCAN_S_H; i <= SCAN_S_C; i++)
        for (int64_t j = 0; c->dx[i] != NULL && j < all; j++)
            put((T *)c->dx[i] + j, adjoint[i * all + j], c->acc[i]);
    const T *own_h = c->out[LSTM_H]->data, *own_c = c->out[LSTM_C]->data;
    lstm_scan_products p = {.k = k->data,
                            .h = reverse ? adjoint : own_h,
                            .c = reverse ? adjoint + all : own_c,
                            .dh = reverse ? own_h : adjoint,
                            .dc = reverse ? own_c : adjoint + all,
                            .gates = gates,
                            .dk = c->dx[SCAN_K],
                            .dr = c->dx[SCAN_R],
                            .df = c->dx[SCAN_F],
                            .acc_k = c->acc[SCAN_K],
                            .acc_r = c->acc[SCAN_R],
                            .acc_f = c->acc[SCAN_F],
                            .rows = k->shape[0] * n,
                            .n = n,
                            .hidden = hidden,
                            .rows_per_shard = rows_per_shard(wide)};
    int64_t shards = shards_of(p.rows, p.rows_per_shard);
    if (p.dk != NULL && all > 0) {
        memset(gates, 0, (size_t)(4 * state) * sizeof(T));
        parallel_gemm(false, true, later, wide, hidden, 1, p.h, at_least_one(hidden), w->data,
                      at_least_one(hidden), 0, gates + 4 * state, at_least_one(wide));
    }
    parallel_for(shards, lstm_scan_products_shard, &p);
    if (c->dx[SCAN_W] == NULL) return TT_OK;
    p.spread = true;
    parallel_for(shards, lstm_scan_products_shard, &p);
    parallel_gemm(true, false, wide, hidden, later, 1, gates + 4 * state, at_least_one(wide), p.h,
                  at_least_one(hidden), c->acc[SCAN_W], c->dx[SCAN_W], at_least_one(hidden));
    return TT_OK;
}
TT_KERNELS_OF(lstm_scan, lstm_scan_forward, lstm_scan_backward)

#else

static tt_status lstm_scan_infer(tt_call *c)
{
    const tt_tensor *s = c->in[SCAN_S_H], *k = c->in[SCAN_K], *w = c->in[SCAN_W];
    bool fits = s->ndim == 3 && k->ndim == 3 && w->ndim == 2 && k->shape[0] == s->shape[0] &&
                k->shape[1] == s->shape[1] && k->shape[2] == 4 * s->shape[2] &&
                w->shape[0] == 4 * s->shape[2] && w->shape[1] == s->shape[2];
    for (int i = SCAN_S_C; i <= SCAN_F; i++)
        fits = fits && (i == SCAN_K || tensor_same_shape(s, c->in[i]));
    if (!fits || !lstm_scan_complete(c->attrs))
        return tt_fail(TT_ERR_SHAPE, c->op->name,
                       "expected states (T, N, H), k (T, N, 4H) and w (4H, H), got %s, %s and %s",
                       SHAPE_TEXT(s), SHAPE_TEXT(k), SHAPE_TEXT(w));
    c->spec[LSTM_H] = c->spec[LSTM_C] =
        (tt_spec){.dtype = s->dtype, .ndim = 3, .shape = {s->shape[0], s->shape[1], s->shape[2]}};
    return TT_OK;
}

static void lstm_scan_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                          tt_tensor **dx)
{
    bool reverse = lstm_scan_read(&node->attrs).reverse;
    tt_tensor *k = node->in[SCAN_K], *w = node->in[SCAN_W], *adjoint[2];
    tt_tensor *scan[SCAN_INPUTS] = {
        [SCAN_S_H] = dy[LSTM_H],     [SCAN_S_C] = dy[LSTM_C],     [SCAN_K] = k,
        [SCAN_R] = node->in[SCAN_R], [SCAN_F] = node->in[SCAN_F], [SCAN_W] = w};
    if (!lstm_scan_call(ctx, scan, !reverse, adjoint)) return;
    tt_tensor *const *state = reverse ? adjoint : node->out;
    tt_tensor *const *d = reverse ? node->out : adjoint;
    tt_tensor *c = state[LSTM_C], *dh = d[LSTM_H], *dc = d[LSTM_C];
    tt_tensor *h_prev = lstm_delay(ctx, state[LSTM_H], NULL);
    tt_tensor *spread = lstm_gates(ctx, dc, dc, dc, dh);
    if (need[SCAN_S_H]) dx[SCAN_S_H] = adjoint[LSTM_H];
    if (need[SCAN_S_C]) dx[SCAN_S_C] = adjoint[LSTM_C];
    if (need[SCAN_K]) dx[SCAN_K] = v_mul(ctx, lstm_affine(ctx, h_prev, w, NULL), spread);
    if (need[SCAN_R]) dx[SCAN_R] = v_mul(ctx, dh, c);
    if (need[SCAN_F]) dx[SCAN_F] = v_mul(ctx, dc, lstm_delay(ctx, c, NULL));
    if (need[SCAN_W]) {
        tt_tensor *rows = v_as_rows(ctx, v_mul(ctx, k, spread));
        dx[SCAN_W] =
            v_matmul(ctx, rows != NULL ? v_transpose(ctx, rows) : NULL, v_as_rows(ctx, h_prev));
    }
}

TT_OP(lstm_scan, .inputs = 6, .attributes = lstm_scan_names, .outputs = 2,
      .keeps = BIT(SCAN_K) | BIT(SCAN_R) | BIT(SCAN_F) | BIT(SCAN_W), .infer = lstm_scan_infer,
      .vjp = lstm_scan_vjp)

#endif
