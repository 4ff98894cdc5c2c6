/* scaled_dot_product_attention: y = dropout(softmax(scale q k^T + mask)) v for each head (Vaswani
 * et al., 2017). q (B, H, L, D), k (B, H, S, D), v (B, H, S, E), with any strides but the last; the
 * mask, which may be absent, broadcasts to (B, H, L, S) and is read where it lies. A query whose
 * keys are all masked gives zeros. ints[0]: causal, so that query i sees the keys 0..i; reals[0]:
 * scale. With dropout ints[1..3] are seed, stream, offset and reals[1] is p; weight i of the whole
 * (B, H, L, S) is kept or not as element i of TT_OP_dropout would be.
 *
 * Works through blocks of queries: the L x S matrix is never whole, and what a causal mask hides
 * from a block is not computed. Saves of each query the largest score and the sum of e^(score -
 * largest) (Dao et al., 2022). */
#include "../op.h"

#ifdef TT_KERNELS

enum { QUERY_BLOCK = 64, MANY_KEYS = 256 };

typedef struct {
    const tt_tensor *q, *k, *v, *mask; /* the mask (B, H, L, S), or NULL */
    int64_t heads, queries, keys, dim, out_dim;
    T scale;
    bool causal, drops;
    uint64_t seed, stream, offset;
    T p, kept;               /* dropout makes 0 of a one with probability p, else this */
    T *y;                    /* (B, H, L, E) */
    T *most, *share;         /* (B, H, L): the largest score, and 1 / sum e^(score - largest) */
    const T *dy;             /* like y */
    T *dq, *dk, *dv, *dmask; /* contiguous; NULL where not wanted */
    bool acc_q, acc_k, acc_v, acc_mask;
    T *scratch; /* for each thread as many blocks of QUERY_BLOCK x keys as are needed */
    int64_t scratch_each;
    int threads;
} attention_plan;

static attention_plan attention_plan_of(tt_call *c, int blocks)
{
    const tt_tensor *q = c->in[0], *k = c->in[1], *v = c->in[2];
    const int64_t *ints = c->attrs->ints;
    attention_plan p = {.q = q,
                        .k = k,
                        .v = v,
                        .mask = c->in[3],
                        .heads = q->shape[1],
                        .queries = q->shape[2],
                        .keys = k->shape[2],
                        .dim = q->shape[3],
                        .out_dim = v->shape[3],
                        .scale = (T)c->attrs->reals[0],
                        .causal = ints[0] != 0,
                        .drops = c->attrs->n_ints > 1,
                        .seed = (uint64_t)ints[1],
                        .stream = (uint64_t)ints[2],
                        .offset = (uint64_t)ints[3],
                        .p = (T)c->attrs->reals[1],
                        .kept = (T)(c->attrs->reals[1] < 1 ? 1 / (1 - c->attrs->reals[1]) : 0),
                        .y = c->out[0]->data};
    int64_t least = QUERY_BLOCK * (blocks + p.drops) * p.keys;
    p.scratch_each = (int64_t)(align_up((size_t)least * sizeof(T)) / sizeof(T));
    p.threads = parallel_get_threads();
    p.scratch = call_scratch(c, (size_t)(p.scratch_each * p.threads) * sizeof(T));
    return p;
}

/* The matrix of one head, and its row stride. */
static const T *head_of(const tt_tensor *t, int64_t head, int64_t heads)
{
    return data_of(t) + head / heads * t->strides[0] + head % heads * t->strides[1];
}

static int64_t row_stride(const tt_tensor *t)
{
    return t->shape[2] > 1 ? t->strides[2] : at_least_one(t->shape[3]);
}

/* The mask of the queries first..first+n against the first `keys` keys, into s (n, keys) */
static void attention_mask(const attention_plan *p, int64_t head, int64_t first, int64_t n,
                           int64_t keys, T *s)
{
    int64_t down = p->mask->strides[2], along = p->mask->strides[3];
    const T *mask = head_of(p->mask, head, p->heads) + first * down;
    for (int64_t i = 0; i < n; i++, mask += down, s += keys) {
        if (along == 1) memcpy(s, mask, (size_t)keys * sizeof(T));
        else
            for (int64_t j = 0; j < keys; j++) s[j] = mask[j * along];
    }
}

/* scale q k^T + mask, likewise */
static void attention_scores(const attention_plan *p, int64_t head, int64_t first, int64_t n,
                             int64_t keys, T *s)
{
    if (p->mask != NULL) attention_mask(p, head, first, n, keys, s);
    gemm(false, true, n, keys, p->dim, p->scale,
         head_of(p->q, head, p->heads) + first * row_stride(p->q), row_stride(p->q),
         head_of(p->k, head, p->heads), row_stride(p->k), p->mask != NULL, s, at_least_one(keys));
}

static int64_t keys_seen(const attention_plan *p, int64_t query)
{
    return p->causal ? at_most(query + 1, p->keys) : p->keys;
}

/* By what dropout multiplies the weights of the queries first..first+n, into keep (n, p->keys). A
 * draw works in batches: where keys are few it is cheaper to draw also what no query sees. */
static void attention_keep(const attention_plan *p, int64_t head, int64_t first, int64_t n, T *keep)
{
    bool together = !p->causal || p->keys < MANY_KEYS;
    int64_t rows = together ? n : 1;
    for (int64_t i = 0; i < n; i += rows, keep += rows * p->keys) {
        int64_t drawn = together ? n * p->keys : keys_seen(p, first + i);
        uint64_t from = (uint64_t)((head * p->queries + first + i) * p->keys);
        philox_uniform(p->seed, p->stream, p->offset + from, drawn, keep);
        for (int64_t j = 0; j < drawn; j++) keep[j] = keep[j] < p->p ? 0 : p->kept;
    }
}

static void multiply_row(T *restrict x, const T *restrict by, int64_t n)
{
    for (int64_t i = 0; i < n; i++) x[i] *= by[i];
}

static void attention_head(void *arg, int64_t head)
{
    const attention_plan *p = arg;
    T *s = p->scratch + parallel_worker() * p->scratch_each, *keep = s + QUERY_BLOCK * p->keys;
    for (int64_t first = 0; first < p->queries; first += QUERY_BLOCK) {
        int64_t n = at_most(QUERY_BLOCK, p->queries - first), keys = keys_seen(p, first + n - 1);
        attention_scores(p, head, first, n, keys, s);
        if (p->drops) attention_keep(p, head, first, n, keep);
        for (int64_t i = 0; i < n; i++) {
            T *row = s + i * keys, sum = 0;
            int64_t seen = keys_seen(p, first + i);
            T m = line_max(row, seen, 1);
            if (m == -INFINITY) m = 0; /* all masked: e^(score - m) is 0, not NaN */
#pragma omp simd reduction(+ : sum)
            for (int64_t j = 0; j < seen; j++) {
                row[j] = tt_exp(row[j] - m);
                sum += row[j];
            }
            T scale = sum == 0 ? 0 : 1 / sum;
            for (int64_t j = 0; j < seen; j++) row[j] *= scale;
            if (p->drops) multiply_row(row, keep + i * p->keys, seen);
            for (int64_t j = seen; j < keys; j++) row[j] = 0;
            p->most[head * p->queries + first + i] = m;
            p->share[head * p->queries + first + i] = scale;
        }
        gemm(false, false, n, p->out_dim, keys, 1, s, at_least_one(keys),
             head_of(p->v, head, p->heads), row_stride(p->v), 0,
             p->y + (head * p->queries + first) * p->out_dim, at_least_one(p->out_dim));
    }
}

static tt_status scaled_dot_product_attention_forward(tt_call *c)
{
    attention_plan p = attention_plan_of(c, 1);
    int64_t heads = c->in[0]->shape[0] * p.heads;
    p.most = call_save(c, 0, (size_t)(heads * p.queries) * sizeof(T));
    p.share = call_save(c, 1, (size_t)(heads * p.queries) * sizeof(T));
    if (p.scratch == NULL || p.most == NULL || p.share == NULL) return TT_ERR_NOMEM;
    if (p.keys == 0) memset(p.y, 0, tensor_bytes(c->out[0]));
    else parallel_for_on(p.threads, heads, attention_head, &p);
    return TT_OK;
}

/* The rows first..first+n of dmask from those of dS (n, keys); nothing comes to what is not seen.
 */
static void attention_dmask(const attention_plan *p, int64_t head, int64_t first, int64_t n,
                            int64_t keys, const T *ds)
{
    T *dmask = p->dmask + (head * p->queries + first) * p->keys;
    for (int64_t i = 0; i < n; i++, ds += keys, dmask += p->keys) {
        for (int64_t j = 0; j < keys; j++) put(dmask + j, ds[j], p->acc_mask);
        if (!p->acc_mask) memset(dmask + keys, 0, (size_t)(p->keys - keys) * sizeof(T));
    }
}

/* With P the weights, R what dropout multiplies them by and g = dy:  dv = (P R)^T g,  dS = P (R g
 * v^T - rowsum(g y)),  dmask = dS,  dq = scale dS k,  dk = scale dS^T q. P and R are computed
 * again, from what was saved and from the seed. */
static void attention_head_backward(void *arg, int64_t head)
{
    const attention_plan *p = arg;
    T *weights = p->scratch + parallel_worker() * p->scratch_each,
      *ds = weights + QUERY_BLOCK * p->keys, *keep = ds + QUERY_BLOCK * p->keys;
    const T *k = head_of(p->k, head, p->heads), *v = head_of(p->v, head, p->heads);
    T *dk = p->dk != NULL ? p->dk + head * p->keys * p->dim : NULL;
    T *dv = p->dv != NULL ? p->dv + head * p->keys * p->out_dim : NULL;
    if (dk != NULL && !p->acc_k) memset(dk, 0, (size_t)(p->keys * p->dim) * sizeof(T));
    if (dv != NULL && !p->acc_v) memset(dv, 0, (size_t)(p->keys * p->out_dim) * sizeof(T));
    for (int64_t first = 0; first < p->queries; first += QUERY_BLOCK) {
        int64_t n = at_most(QUERY_BLOCK, p->queries - first), keys = keys_seen(p, first + n - 1),
                ld = at_least_one(keys);
        const T *g = p->dy + (head * p->queries + first) * p->out_dim,
                *y = p->y + (head * p->queries + first) * p->out_dim;
        attention_scores(p, head, first, n, keys, weights);
        gemm(false, true, n, keys, p->out_dim, 1, g, at_least_one(p->out_dim), v, row_stride(p->v),
             0, ds, ld);
        if (p->drops) attention_keep(p, head, first, n, keep);
        for (int64_t i = 0; i < n; i++) {
            T *row = weights + i * keys, *ds_row = ds + i * keys, dot = 0;
            T m = p->most[head * p->queries + first + i];
            T share = p->share[head * p->queries + first + i];
            int64_t seen = keys_seen(p, first + i);
            for (int64_t j = 0; j < p->out_dim; j++)
                dot += g[i * p->out_dim + j] * y[i * p->out_dim + j];
            if (p->drops) multiply_row(ds_row, keep + i * p->keys, seen);
            for (int64_t j = 0; j < seen; j++) {
                row[j] = tt_exp(row[j] - m) * share;
                ds_row[j] = row[j] * (ds_row[j] - dot);
            }
            if (p->drops) multiply_row(row, keep + i * p->keys, seen);
            for (int64_t j = seen; j < keys; j++) row[j] = ds_row[j] = 0;
        }
        if (p->dmask != NULL) attention_dmask(p, head, first, n, keys, ds);
        if (p->dq != NULL)
            gemm(false, false, n, p->dim, keys, p->scale, ds, ld, k, row_stride(p->k), p->acc_q,
                 p->dq + (head * p->queries + first) * p->dim, at_least_one(p->dim));
        if (dk != NULL)
            gemm(true, false, keys, p->dim, n, p->scale, ds, ld,
                 head_of(p->q, head, p->heads) + first * row_stride(p->q), row_stride(p->q), 1, dk,
                 at_least_one(p->dim));
        if (dv != NULL)
            gemm(true, false, keys, p->out_dim, n, 1, weights, ld, g, at_least_one(p->out_dim), 1,
                 dv, at_least_one(p->out_dim));
    }
}

static tt_status scaled_dot_product_attention_backward(tt_call *c)
{
    attention_plan p = attention_plan_of(c, 2);
    if (p.scratch == NULL) return TT_ERR_NOMEM;
    p.most = c->saved[0];
    p.share = c->saved[1];
    p.dy = c->dy[0];
    p.dq = c->dx[0], p.acc_q = c->acc[0];
    p.dk = c->dx[1], p.acc_k = c->acc[1];
    p.dv = c->dx[2], p.acc_v = c->acc[2];
    p.dmask = c->dx[3], p.acc_mask = c->acc[3];
    if (p.keys == 0 && p.dq != NULL && !p.acc_q) memset(p.dq, 0, tensor_bytes(c->in[0]));
    if (p.keys > 0)
        parallel_for_on(p.threads, c->in[0]->shape[0] * p.heads, attention_head_backward, &p);
    return TT_OK;
}
TT_KERNELS_OF(scaled_dot_product_attention, scaled_dot_product_attention_forward,
              scaled_dot_product_attention_backward)

#else

static tt_status attention_check(const tt_call *c)
{
    const tt_tensor *q = c->in[0], *k = c->in[1], *v = c->in[2];
    bool fits = q->ndim == 4 && k->ndim == 4 && v->ndim == 4;
    for (int i = 0; i < 2 && fits; i++)
        fits = q->shape[i] == k->shape[i] && q->shape[i] == v->shape[i];
    fits = fits && q->shape[3] == k->shape[3] && k->shape[2] == v->shape[2];
    if (!fits)
        return tt_fail(
            TT_ERR_SHAPE, c->op->name,
            "expected q (B, H, L, D), k (B, H, S, D) and v (B, H, S, E), got %s, %s and %s",
            SHAPE_TEXT(q), SHAPE_TEXT(k), SHAPE_TEXT(v));
    const tt_attrs *a = c->attrs;
    bool drops = a->n_ints == 4 && a->n_reals == 2 && a->reals[1] >= 0 && a->reals[1] <= 1;
    if (!drops && !(a->n_ints == 1 && a->n_reals == 1))
        return tt_fail(TT_ERR_ARG, c->op->name,
                       "dropout takes seed, stream, offset and a probability between 0 and 1");
    return TT_OK;
}

/* BLAS reads rows: the last axis must be dense and rows must not overlap. */
static tt_status attention_prepare(tt_call *c)
{
    TT_TRY(attention_check(c));
    const tt_tensor *q = c->in[0], *k = c->in[1];
    for (int i = 0; i < 3; i++) {
        const tt_tensor *t = c->in[i];
        if (t->contiguous) continue;
        if (t->strides[3] == 1 && (t->shape[2] <= 1 || t->strides[2] >= t->shape[3])) continue;
        tt_attrs none = {0};
        TT_TRY(tape_apply(c->ctx, TT_OP_contiguous, &c->in[i], 1, &none, call_place(c), &c->in[i]));
    }
    if (c->in[3] == NULL) return TT_OK;
    int64_t scores[4] = {q->shape[0], q->shape[1], q->shape[2], k->shape[2]};
    return call_broadcast(c, 4, scores, 3);
}

static tt_status attention_infer(tt_call *c)
{
    const tt_tensor *q = c->in[0], *v = c->in[2];
    c->spec[0] = (tt_spec){.dtype = q->dtype,
                           .ndim = 4,
                           .shape = {q->shape[0], q->shape[1], q->shape[2], v->shape[3]}};
    return TT_OK;
}

/* What a causal mask adds to the scores: 0 where query i may see key j, else -inf. */
static tt_tensor *causal_mask(tt_ctx *ctx, int dtype, int64_t queries, int64_t keys)
{
    int64_t shape[2] = {queries, keys};
    tt_tensor *mask = v_constant(ctx, dtype, 2, shape, 0.0);
    for (int64_t i = 0; mask != NULL && i < queries; i++) {
        for (int64_t j = i + 1; j < keys; j++) {
            if (dtype == TT_FLOAT32) ((float *)mask->data)[i * keys + j] = -INFINITY;
            else ((double *)mask->data)[i * keys + j] = -INFINITY;
        }
    }
    return mask;
}

static tt_tensor *attention_dropout(tt_ctx *ctx, const tt_node *node, tt_tensor *weights)
{
    const tt_attrs *a = &node->attrs;
    if (a->n_ints == 1) return weights;
    tt_attrs attrs = {.n_ints = 3,
                      .n_reals = 1,
                      .ints = {a->ints[1], a->ints[2], a->ints[3]},
                      .reals = {a->reals[1]}};
    return v_call(ctx, TT_OP_dropout, &weights, 1, &attrs);
}

/* Minus infinity is meant: no anomaly. What is not finite in the scores shows in the weights. */
static tt_tensor *masked(tt_ctx *ctx, tt_tensor *scores, tt_tensor *mask)
{
    const bool checks = ctx->anomaly.checks;
    ctx->anomaly.checks = false;
    tt_tensor *sum = v_add(ctx, scores, mask);
    ctx->anomaly.checks = checks;
    return sum;
}

static void attention_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                          tt_tensor **dx)
{
    tt_tensor *q = node->in[0], *k = node->in[1], *v = node->in[2], *mask = node->in[3];
    double scale = node->attrs.reals[0];
    tt_tensor *scores = v_scale(ctx, v_matmul(ctx, q, v_transpose(ctx, k)), scale);
    if (mask != NULL) scores = masked(ctx, scores, mask);
    if (node->attrs.ints[0])
        scores = masked(ctx, scores, causal_mask(ctx, q->dtype, q->shape[2], k->shape[2]));
    tt_attrs last_axis_masked = {.n_ints = 2, .ints = {3, 1}};
    tt_tensor *weights = v_call(ctx, TT_OP_softmax, &scores, 1, &last_axis_masked);
    if (need[2])
        dx[2] = v_matmul(ctx, v_transpose(ctx, attention_dropout(ctx, node, weights)), dy[0]);
    if (!need[0] && !need[1] && !need[3]) return;
    tt_tensor *dweights = attention_dropout(ctx, node, v_matmul(ctx, dy[0], v_transpose(ctx, v)));
    tt_tensor *mean = v_sum_axis(ctx, v_mul(ctx, weights, dweights), 3);
    tt_tensor *dscores = v_mul(ctx, weights, v_sub(ctx, dweights, mean));
    if (need[3]) dx[3] = dscores;
    if (!need[0] && !need[1]) return;
    dscores = v_scale(ctx, dscores, scale);
    if (need[0]) dx[0] = v_matmul(ctx, dscores, k);
    if (need[1]) dx[1] = v_matmul(ctx, v_transpose(ctx, dscores), q);
}

TT_OP(scaled_dot_product_attention, .inputs = 4, .layout = TT_STRIDED, .optional = 1 << 3,
      .keeps = 15, .prepare = attention_prepare, .infer = attention_infer, .vjp = attention_vjp)

#endif
