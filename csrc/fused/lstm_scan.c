/* lstm_scan: the linear recurrence by which derivatives of an lstm run along its steps, forward or
 * (ints[0]) in reverse. Each direction is the adjoint of the other, so no derivative of any order
 * needs a loop over steps on the tape. */
#include "../op.h"

TT_ATTRS(lstm_scan, reverse)

#ifdef TT_KERNELS

#include "lstm_steps.h"

/* With k (T, N, 4H), as wide as the gates, and r, f (T, N, H); lstm_vjp says what they are.
 * Forward, where nothing comes before the first step:
 *     c_t = s_c + f c_(t-1) + sum of k_i, k_f, k_g times those of G_t,   G_t = h_(t-1) W^T
 *     h_t = s_h + k_o G_o + r c_t
 * In reverse, where nothing comes after the last:
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
    const tt_tensor *k = call->in[2], *w = call->in[5];
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
                        .r = data_of(call->in[3]),
                        .f = data_of(call->in[4]),
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
    return lstm_scan_run(c, c->attrs->ints[0], data_of(c->in[0]), data_of(c->in[1]),
                         c->out[0]->data, c->out[1]->data);
}

/* With (h, c) of the forward scan and (dh, dc) of the reverse one, whichever of them this is:
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
    const tt_tensor *w = c->in[5];
    bool reverse = c->attrs->ints[0];
    int64_t n = c->in[2]->shape[1], hidden = w->shape[1], state = n * hidden, wide = 4 * hidden;
    int64_t all = c->in[2]->shape[0] * state,
            later = all > state ? all / at_least_one(hidden) - n : 0;
    T *adjoint = call_scratch(c, (size_t)(2 * all) * sizeof(T));
    T *gates = call_scratch(c, (size_t)(4 * all) * sizeof(T));
    if (adjoint == NULL || gates == NULL) return TT_ERR_NOMEM;
    TT_TRY(lstm_scan_run(c, !reverse, c->dy[0], c->dy[1], adjoint, adjoint + all));
    for (int i = 0; i < 2; i++)
        for (int64_t j = 0; c->dx[i] != NULL && j < all; j++)
            put((T *)c->dx[i] + j, adjoint[i * all + j], c->acc[i]);
    const T *own_h = c->out[0]->data, *own_c = c->out[1]->data;
    lstm_scan_products p = {.k = c->in[2]->data,
                            .h = reverse ? adjoint : own_h,
                            .c = reverse ? adjoint + all : own_c,
                            .dh = reverse ? own_h : adjoint,
                            .dc = reverse ? own_c : adjoint + all,
                            .gates = gates,
                            .dk = c->dx[2],
                            .dr = c->dx[3],
                            .df = c->dx[4],
                            .acc_k = c->acc[2],
                            .acc_r = c->acc[3],
                            .acc_f = c->acc[4],
                            .rows = c->in[2]->shape[0] * n,
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
    if (c->dx[5] == NULL) return TT_OK;
    p.spread = true;
    parallel_for(shards, lstm_scan_products_shard, &p);
    parallel_gemm(true, false, wide, hidden, later, 1, gates + 4 * state, at_least_one(wide), p.h,
                  at_least_one(hidden), c->acc[5], c->dx[5], at_least_one(hidden));
    return TT_OK;
}
TT_KERNELS_OF(lstm_scan, lstm_scan_forward, lstm_scan_backward)

#else

#include "lstm.h"

static tt_status lstm_scan_infer(tt_call *c)
{
    const tt_tensor *s = c->in[0], *k = c->in[2], *w = c->in[5];
    bool fits = s->ndim == 3 && k->ndim == 3 && w->ndim == 2 && k->shape[0] == s->shape[0] &&
                k->shape[1] == s->shape[1] && k->shape[2] == 4 * s->shape[2] &&
                w->shape[0] == 4 * s->shape[2] && w->shape[1] == s->shape[2];
    for (int i = 1; i < 5; i++) fits = fits && (i == 2 || tensor_same_shape(s, c->in[i]));
    if (!fits || c->attrs->n_ints != 1)
        return tt_fail(TT_ERR_SHAPE, c->op->name,
                       "expected states (T, N, H), k (T, N, 4H) and w (4H, H), got %s, %s and %s",
                       SHAPE_TEXT(s), SHAPE_TEXT(k), SHAPE_TEXT(w));
    c->spec[0] = c->spec[1] =
        (tt_spec){.dtype = s->dtype, .ndim = 3, .shape = {s->shape[0], s->shape[1], s->shape[2]}};
    return TT_OK;
}

static void lstm_scan_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                          tt_tensor **dx)
{
    bool reverse = node->attrs.ints[0];
    tt_tensor *k = node->in[2], *w = node->in[5], *adjoint[2];
    tt_tensor *scan[6] = {dy[0], dy[1], k, node->in[3], node->in[4], w};
    if (!lstm_scan_call(ctx, scan, !reverse, adjoint)) return;
    tt_tensor *const *state = reverse ? adjoint : node->out, *const *d =
                                                                 reverse ? node->out : adjoint;
    tt_tensor *h_prev = lstm_delay(ctx, state[0], NULL);
    tt_tensor *spread = lstm_gates(ctx, d[1], d[1], d[1], d[0]);
    for (int i = 0; i < 2; i++)
        if (need[i]) dx[i] = adjoint[i];
    if (need[2]) dx[2] = v_mul(ctx, lstm_affine(ctx, h_prev, w, NULL), spread);
    if (need[3]) dx[3] = v_mul(ctx, d[0], state[1]);
    if (need[4]) dx[4] = v_mul(ctx, d[1], lstm_delay(ctx, state[1], NULL));
    if (need[5]) {
        tt_tensor *rows = v_as_rows(ctx, v_mul(ctx, k, spread));
        dx[5] = v_matmul(ctx, rows != NULL ? v_transpose(ctx, rows) : NULL, v_as_rows(ctx, h_prev));
    }
}

TT_OP(lstm_scan, .inputs = 6, .attributes = lstm_scan_names, .outputs = 2, .keeps = 60,
      .infer = lstm_scan_infer, .vjp = lstm_scan_vjp)

#endif
