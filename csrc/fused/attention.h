/* attention: the loops that scaled_dot_product_attention and its packed form share.
 *
 * A tile is the scores of QUERY_TILE queries against KEY_TILE keys: what is computed of the L x S
 * matrix at a time, so that it stays in the cache. Forward goes along the keys with the largest
 * score so far and the sum of e^(score - largest), and scales what it has when a larger one comes
 * (online softmax; Milakov and Gimelshein, 2018; Dao et al., 2022). Both are saved for backward,
 * which computes the weights again. What a causal mask hides is left out, but for the corner of the
 * last tile of each query.
 *
 * A tile lies transposed, a key to a row: the largest score and the sum of each query are then
 * those of a lane, and a product packs few queries and not many keys. A few queries alone would
 * leave most lanes empty, so theirs lie the other way. */
#ifndef TT_ATTENTION_H
#define TT_ATTENTION_H

#ifdef TT_KERNELS

enum {
    QUERY_TILE = 32,
    KEY_TILE = 128,
    FEW_QUERIES = 8,
    ATTENTION_LANES = 16,      /* rows of a tile are this many elements, or a multiple */
    ATTENTION_SHARD = 1 << 20, /* multiplications worth waking a thread for */
    ATTENTION_EXP = 16,        /* as many multiplications as e^x costs */
    ATTENTION_HEADS = 16,      /* fewer than these, and long: threads share the keys of a head */
    ATTENTION_SPAN = 256       /* the fewest keys then of a thread */
};

/* Rows of every head in one tensor: row i of head h of text b is at b batch + h head + i row. */
typedef struct {
    T *data; /* NULL: not wanted */
    int64_t batch, head, row;
    bool acc; /* a gradient: added to what is there */
} attention_rows;

typedef struct {
    attention_rows q, k, v, y, dy, dq, dk, dv;
    const tt_tensor *mask; /* (B, H, L, S), or NULL */
    T *dmask;              /* contiguous, or NULL */
    int64_t pairs, heads;  /* B H, H */
    int64_t queries, keys, dim, out_dim;
    int64_t sees; /* causal: how many keys the first query sees, and each one more; else 0 */
    T scale;
    bool acc_mask, drops;
    uint64_t seed, stream, offset;
    T p, kept;       /* dropout makes 0 of a one with probability p, else this */
    T *most, *share; /* (B, H, L): the largest score, and 1 / sum e^(score - largest) */
    T *scratch;      /* for each thread the tiles that it needs */
    int64_t scratch_each;
    int threads;
    int64_t each;  /* tiles of queries, or spans of keys, in a shard */
    int64_t spans; /* backward: of a head's keys */
    T *partial;    /* dq of each span (B H, spans, L, D), where there are several */
} attention_plan;

/* What the attributes say: `ints` are nothing, or seed, stream and offset of a dropout. */
static inline void attention_drops(attention_plan *p, const tt_attrs *attrs, int ints)
{
    p->scale = (T)attrs->reals[0];
    p->drops = attrs->n_ints > ints;
    if (!p->drops) return;
    p->seed = (uint64_t)attrs->ints[ints];
    p->stream = (uint64_t)attrs->ints[ints + 1];
    p->offset = (uint64_t)attrs->ints[ints + 2];
    p->p = (T)attrs->reals[1];
    p->kept = (T)(attrs->reals[1] < 1 ? 1 / (1 - attrs->reals[1]) : 0);
}

static T *attention_at(const attention_plan *p, const attention_rows *of, int64_t pair, int64_t row)
{
    return of->data + pair / p->heads * of->batch + pair % p->heads * of->head + row * of->row;
}

static int64_t keys_seen(const attention_plan *p, int64_t query)
{
    return p->sees > 0 ? at_most(query + p->sees, p->keys) : p->keys;
}

static int64_t in_lanes(int64_t n) { return (n + ATTENTION_LANES - 1) & -(int64_t)ATTENTION_LANES; }

/* One tile: the queries first..first+n against the keys key..key+keys of a head. */
typedef struct {
    int64_t pair, first, n, key, keys;
    bool by_query; /* a query to a row; else a key */
    int64_t width; /* of a row */
} attention_tile;

static attention_tile tile_of(int64_t pair, int64_t first, int64_t n, int64_t key, int64_t keys)
{
    bool by_query = n <= FEW_QUERIES;
    return (attention_tile){pair, first, n, key, keys, by_query, in_lanes(by_query ? keys : n)};
}

/* How many keys of the tile query i of it sees. */
static int64_t tile_seen(const attention_plan *p, const attention_tile *t, int64_t i)
{
    int64_t seen = keys_seen(p, t->first + i) - t->key;
    return seen < 0 ? 0 : at_most(seen, t->keys);
}

/* out[j, i] = x[i, j] */
static void transpose(int64_t rows, int64_t columns, const T *x, int64_t down, T *out,
                      int64_t out_down)
{
    int64_t row = 0;
#ifdef TT_GEMM
    for (; row + LANES <= rows; row += LANES) {
        int64_t column = 0;
        for (; column + LANES <= columns; column += LANES)
            vec_transpose(x + row * down + column, down, out + column * out_down + row, out_down);
        for (; column < columns; column++)
            for (int64_t i = row; i < row + LANES; i++)
                out[column * out_down + i] = x[i * down + column];
    }
#endif
    for (; row < rows; row++)
        for (int64_t j = 0; j < columns; j++) out[j * out_down + row] = x[row * down + j];
}

static void tile_mask(const attention_plan *p, const attention_tile *t, T *s)
{
    const int64_t *strides = p->mask->strides;
    const T *mask = data_of(p->mask) + t->pair / p->heads * strides[0] +
                    t->pair % p->heads * strides[1] + t->first * strides[2] + t->key * strides[3];
    if (!t->by_query && strides[3] == 1) {
        transpose(t->n, t->keys, mask, strides[2], s, t->width);
        return;
    }
    int64_t down = t->by_query ? t->width : 1, along = t->by_query ? 1 : t->width;
    for (int64_t i = 0; i < t->n; i++)
        for (int64_t j = 0; j < t->keys; j++)
            s[i * down + j * along] = mask[i * strides[2] + j * strides[3]];
}

/* s = alpha a b^T + beta s, for rows a of the queries of the tile and b of its keys. */
static void tile_product(const attention_plan *p, const attention_tile *t, int64_t dim, T alpha,
                         const attention_rows *of_queries, const attention_rows *of_keys, T beta,
                         T *s)
{
    const T *a = attention_at(p, of_queries, t->pair, t->first);
    const T *b = attention_at(p, of_keys, t->pair, t->key);
    int64_t lda = of_queries->row, ldb = of_keys->row;
    if (t->by_query)
        gemm(false, true, t->n, t->keys, dim, alpha, a, lda, b, ldb, beta, s, t->width);
    else gemm(false, true, t->keys, t->n, dim, alpha, b, ldb, a, lda, beta, s, t->width);
}

/* scale q k^T + mask */
static void tile_scores(const attention_plan *p, const attention_tile *t, T *s)
{
    if (p->mask != NULL) tile_mask(p, t, s);
    tile_product(p, t, p->dim, p->scale, &p->q, &p->k, p->mask != NULL, s);
}

/* By what dropout multiplies the weights; returns the row stride. A draw works in batches: where
 * keys are few the rows are drawn together, also what no query sees. */
static int64_t tile_keep(const attention_plan *p, const attention_tile *t, T *keep)
{
    bool together = p->keys <= KEY_TILE;
    int64_t stride = together ? p->keys : t->keys, rows = together ? t->n : 1;
    for (int64_t i = 0; i < t->n; i += rows) {
        int64_t at = ((t->pair * p->queries) + t->first + i) * p->keys + t->key;
        philox_uniform(p->seed, p->stream, p->offset + (uint64_t)at, rows * stride,
                       keep + i * stride);
    }
    for (int64_t j = 0; j < t->n * stride; j++) keep[j] = keep[j] < p->p ? 0 : p->kept;
    return stride;
}

/* The tile s times what dropout keeps. */
static void tile_drop(const attention_tile *t, T *restrict s, const T *restrict keep,
                      int64_t stride)
{
    int64_t rows = t->by_query ? t->n : t->keys, columns = t->by_query ? t->keys : t->n;
    int64_t down = t->by_query ? stride : 1, along = t->by_query ? 1 : stride;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) s[i * t->width + j] *= keep[i * down + j * along];
}

static void attention_scale(T *x, T factor, int64_t n)
{
    for (int64_t i = 0; i < n; i++) x[i] *= factor;
}

static void hide(T *row, int64_t from, int64_t to, T value)
{
    for (int64_t j = from; j < to; j++) row[j] = value;
}

/* e^-inf - -inf is to be 0 where all is masked, not NaN. */
static T finite_most(T most) { return most == -INFINITY ? 0 : most; }

/* Scores of one query become e^(score - *most) and are added to *sum, which is scaled to the same.
 * Returns by what. What is hidden at the end of a row is -inf up to whole lanes. */
static T row_softmax(T *x, int64_t n, T *most, T *sum)
{
    T m = line_max(x, n, 1), before = *most, here;
    *most = m > before ? m : before;
    m = finite_most(*most);
    T factor = tt_exp_negative(before - m);
    TT_LANES_SUM(here, n, x[i] = tt_exp_negative(x[i] - m));
    *sum = *sum * factor + here;
    return factor;
}

/* The same for the queries of ATTENTION_LANES columns and n keys. */
static void lanes_softmax(T *x, int64_t width, int64_t n, T *most, T *sum, T *factor)
{
    T m[ATTENTION_LANES], total[ATTENTION_LANES];
    for (int k = 0; k < ATTENTION_LANES; k++) m[k] = most[k];
    for (int64_t j = 0; j < n; j++) {
        const T *row = x + j * width;
#pragma omp simd
        for (int k = 0; k < ATTENTION_LANES; k++) m[k] = row[k] > m[k] ? row[k] : m[k];
    }
    for (int k = 0; k < ATTENTION_LANES; k++) {
        T before = most[k];
        most[k] = m[k];
        m[k] = finite_most(m[k]);
        factor[k] = tt_exp_negative(before - m[k]);
        total[k] = sum[k] * factor[k];
    }
    for (int64_t j = 0; j < n; j++) {
        T *row = x + j * width;
#pragma omp simd
        for (int k = 0; k < ATTENTION_LANES; k++) {
            T e = tt_exp_negative(row[k] - m[k]);
            row[k] = e;
            total[k] += e;
        }
    }
    for (int k = 0; k < ATTENTION_LANES; k++) sum[k] = total[k];
}

/* Of a tile with a key to a row: what queries do not see becomes `value`, and columns without a
 * query 0. */
static void tile_hide(const attention_plan *p, const attention_tile *t, T *s, T value)
{
    int64_t all = tile_seen(p, t, 0); /* the keys that all queries see */
    for (int64_t j = all; j < t->keys; j++)
        hide(s + j * t->width, 0, at_most(j + 1 - all, t->n), value);
    if (t->n < t->width)
        for (int64_t j = 0; j < t->keys; j++) hide(s + j * t->width, t->n, t->width, 0);
}

/* How many keys of the tile any query of the lanes from i on sees. */
static int64_t lanes_seen(const attention_plan *p, const attention_tile *t, int64_t i)
{
    return tile_seen(p, t, at_most(i + ATTENTION_LANES, t->n) - 1);
}

/* Scores become e^(score - most), and what y has of the keys before is scaled to the same
 * `most`. */
static void tile_softmax(const attention_plan *p, const attention_tile *t, T *s, T *most, T *sum,
                         T *y)
{
    T factor[QUERY_TILE];
    if (t->by_query) {
        for (int64_t i = 0; i < t->n; i++) {
            T *row = s + i * t->width;
            int64_t seen = tile_seen(p, t, i), lanes = in_lanes(seen);
            hide(row, seen, lanes, -INFINITY);
            hide(row, lanes, t->keys, 0);
            factor[i] = seen > 0 ? row_softmax(row, lanes, most + i, sum + i) : 1;
        }
    } else {
        tile_hide(p, t, s, -INFINITY);
        for (int64_t i = 0; i < t->n; i += ATTENTION_LANES) {
            int64_t seen = lanes_seen(p, t, i);
            lanes_softmax(s + i, t->width, seen, most + i, sum + i, factor + i);
            for (int64_t j = seen; j < t->keys; j++)
                hide(s + j * t->width + i, 0, ATTENTION_LANES, 0);
        }
    }
    for (int64_t i = 0; t->key > 0 && i < t->n; i++)
        if (factor[i] != 1) attention_scale(y + i * p->y.row, factor[i], p->out_dim);
}

static void attention_queries(const attention_plan *p, int64_t pair, int64_t first, T *s)
{
    T most[QUERY_TILE], sum[QUERY_TILE], *keep = p->drops ? s + QUERY_TILE * KEY_TILE : NULL;
    T *y = attention_at(p, &p->y, pair, first);
    int64_t n = at_most(QUERY_TILE, p->queries - first), last = keys_seen(p, first + n - 1);
    hide(most, 0, QUERY_TILE, -INFINITY);
    hide(sum, 0, QUERY_TILE, 0);
    for (int64_t key = 0; key < last; key += KEY_TILE) {
        int64_t keys = at_most(KEY_TILE, last - key);
        attention_tile t = tile_of(pair, first, n, key, keys);
        tile_scores(p, &t, s);
        tile_softmax(p, &t, s, most, sum, y);
        if (keep != NULL) tile_drop(&t, s, keep, tile_keep(p, &t, keep));
        gemm(!t.by_query, false, n, p->out_dim, keys, 1, s, t.width,
             attention_at(p, &p->v, pair, key), p->v.row, key > 0, y, p->y.row);
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t query = pair * p->queries + first + i;
        p->most[query] = finite_most(most[i]);
        p->share[query] = sum[i] == 0 ? 0 : 1 / sum[i];
        attention_scale(y + i * p->y.row, p->share[query], p->out_dim);
    }
}

static void attention_forward_shard(void *arg, int64_t shard)
{
    const attention_plan *p = arg;
    T *scratch = p->scratch + parallel_worker() * p->scratch_each;
    int64_t of_pair = shards_of(p->queries, QUERY_TILE);
    int64_t end = at_most((shard + 1) * p->each, p->pairs * of_pair);
    for (int64_t tile = shard * p->each; tile < end; tile++)
        attention_queries(p, tile / of_pair, tile % of_pair * QUERY_TILE, scratch);
}

/* Memory for `tiles` tiles, and one more with dropout, of each thread. */
static tt_status attention_take_scratch(tt_call *c, attention_plan *p, int tiles)
{
    p->scratch_each = (int64_t)QUERY_TILE * KEY_TILE * (tiles + p->drops);
    p->threads = parallel_get_threads();
    p->scratch = call_scratch(c, (size_t)(p->scratch_each * p->threads) * sizeof(T));
    return p->scratch != NULL ? TT_OK : TT_ERR_NOMEM;
}

/* The multiplications of the queries of one head, `products` of a tile of either width. */
static double attention_work(const attention_plan *p, double products)
{
    double seen = (double)p->queries * (double)p->keys * (p->sees > 0 ? 0.5 : 1);
    return seen * (products / 2 * (double)(p->dim + p->out_dim) + ATTENTION_EXP);
}

static int64_t attention_each(double work) { return 1 + (int64_t)(ATTENTION_SHARD / (work + 1)); }

static tt_status attention_forward(tt_call *c, attention_plan *p)
{
    size_t lines = (size_t)(p->pairs * p->queries) * sizeof(T);
    p->most = call_save(c, 0, lines);
    p->share = call_save(c, 1, lines);
    if (p->most == NULL || p->share == NULL) return TT_ERR_NOMEM;
    TT_TRY(attention_take_scratch(c, p, 1));
    if (p->keys == 0 || p->queries == 0) {
        memset(p->y.data, 0, tensor_bytes(c->out[0]));
        return TT_OK;
    }
    int64_t of_pair = shards_of(p->queries, QUERY_TILE);
    p->each = attention_each(attention_work(p, 2) / (double)of_pair);
    parallel_for_on(p->threads, shards_of(p->pairs * of_pair, p->each), attention_forward_shard, p);
    return TT_OK;
}

/* ---- backward ---- */

/* dmask is dS; nothing comes to what is not seen, which is everything from key `last` on. */
static void tile_dmask(const attention_plan *p, const attention_tile *t, const T *ds)
{
    T *dmask = p->dmask + (t->pair * p->queries + t->first) * p->keys + t->key;
    if (!t->by_query && !p->acc_mask) {
        transpose(t->keys, t->n, ds, t->width, dmask, p->keys);
        return;
    }
    int64_t down = t->by_query ? t->width : 1, along = t->by_query ? 1 : t->width;
    for (int64_t i = 0; i < t->n; i++)
        for (int64_t j = 0; j < t->keys; j++)
            put(dmask + i * p->keys + j, ds[i * down + j * along], p->acc_mask);
}

static void clear_rows(T *x, int64_t stride, int64_t rows, int64_t width)
{
    for (int64_t i = 0; i < rows; i++) memset(x + i * stride, 0, (size_t)width * sizeof(T));
}

static T attention_dot(const T *a, const T *b, int64_t n)
{
    T sum;
    TT_LANES_SUM(sum, n, a[i] * b[i]);
    return sum;
}

/* The weights of the scores x of one query, and of their gradients g those of the scores. */
static void row_softmax_gradient(T *restrict x, T *restrict g, T most, T share, T dot, int64_t n)
{
    for (int64_t j = 0; j < (n & -(int64_t)ATTENTION_LANES); j++) {
        x[j] = tt_exp_negative(x[j] - most) * share;
        g[j] = x[j] * (g[j] - dot);
    }
}

/* The same for the queries of ATTENTION_LANES columns and n keys. */
static void lanes_softmax_gradient(T *restrict x, T *restrict g, int64_t width, int64_t n,
                                   const T *restrict most, const T *restrict share,
                                   const T *restrict dot)
{
    for (int64_t j = 0; j < n; j++, x += width, g += width) {
#pragma omp simd
        for (int k = 0; k < ATTENTION_LANES; k++) {
            x[k] = tt_exp_negative(x[k] - most[k]) * share[k];
            g[k] = x[k] * (g[k] - dot[k]);
        }
    }
}

/* What backward needs of each query of a tile. */
typedef struct {
    T most[QUERY_TILE], share[QUERY_TILE], dot[QUERY_TILE]; /* dot: of dy and y */
} attention_lines;

static void attention_lines_of(const attention_plan *p, int64_t pair, int64_t first, int64_t n,
                               attention_lines *of)
{
    const T *g = attention_at(p, &p->dy, pair, first), *y = attention_at(p, &p->y, pair, first);
    memset(of, 0, sizeof *of);
    for (int64_t i = 0; i < n; i++, g += p->dy.row, y += p->y.row) {
        of->most[i] = p->most[pair * p->queries + first + i];
        of->share[i] = p->share[pair * p->queries + first + i];
        of->dot[i] = attention_dot(g, y, p->out_dim);
    }
}

/* Of a tile with gradients ds of its weights: the weights, and dS in place of ds. */
static void tile_softmax_gradient(const attention_plan *p, const attention_tile *t, T *weights,
                                  T *ds, const attention_lines *of)
{
    if (t->by_query) {
        for (int64_t i = 0; i < t->n; i++) {
            T *row = weights + i * t->width, *ds_row = ds + i * t->width;
            int64_t seen = tile_seen(p, t, i), lanes = in_lanes(seen);
            hide(row, seen, lanes, -INFINITY);
            hide(ds_row, seen, lanes, 0);
            row_softmax_gradient(row, ds_row, of->most[i], of->share[i], of->dot[i], lanes);
            hide(row, lanes, t->keys, 0);
            hide(ds_row, lanes, t->keys, 0);
        }
        return;
    }
    tile_hide(p, t, weights, -INFINITY);
    tile_hide(p, t, ds, 0);
    for (int64_t i = 0; i < t->n; i += ATTENTION_LANES) {
        int64_t seen = lanes_seen(p, t, i);
        lanes_softmax_gradient(weights + i, ds + i, t->width, seen, of->most + i, of->share + i,
                               of->dot + i);
        for (int64_t j = seen; j < t->keys; j++) {
            hide(weights + j * t->width + i, 0, ATTENTION_LANES, 0);
            hide(ds + j * t->width + i, 0, ATTENTION_LANES, 0);
        }
    }
}

/* With P the weights, R what dropout multiplies them by and g = dy:  dv = (P R)^T g,  dS = P (R g
 * v^T - rowsum(g y)),  dmask = dS,  dq = scale dS k,  dk = scale dS^T q. P and R are computed
 * again, from what was saved and from the seed.
 *
 * For the keys from..to of a head. The last queries come first: they see all the keys that any
 * query sees, so that they begin each row of dk and dv and the others add to it. */
static void attention_keys_backward(const attention_plan *p, int64_t pair, int64_t from, int64_t to,
                                    const attention_rows *dq, T *scratch)
{
    T *weights = scratch, *ds = weights + QUERY_TILE * KEY_TILE;
    attention_lines lines;
    T *keep = p->drops ? ds + QUERY_TILE * KEY_TILE : NULL;
    const int64_t begin = (p->queries - 1) / QUERY_TILE * QUERY_TILE;
    for (int64_t first = begin; first >= 0; first -= QUERY_TILE) {
        int64_t n = at_most(QUERY_TILE, p->queries - first);
        int64_t last = at_most(to, keys_seen(p, first + n - 1));
        const T *g = attention_at(p, &p->dy, pair, first);
        attention_lines_of(p, pair, first, n, &lines);
        for (int64_t key = from; key < last; key += KEY_TILE) {
            int64_t keys = at_most(KEY_TILE, last - key), keep_stride = 0;
            attention_tile t = tile_of(pair, first, n, key, keys);
            tile_scores(p, &t, weights);
            tile_product(p, &t, p->out_dim, 1, &p->dy, &p->v, 0, ds);
            if (keep != NULL) keep_stride = tile_keep(p, &t, keep);
            if (keep != NULL) tile_drop(&t, ds, keep, keep_stride);
            tile_softmax_gradient(p, &t, weights, ds, &lines);
            if (keep != NULL) tile_drop(&t, weights, keep, keep_stride);
            if (p->dmask != NULL) tile_dmask(p, &t, ds);
            if (dq->data != NULL)
                gemm(!t.by_query, false, n, p->dim, keys, p->scale, ds, t.width,
                     attention_at(p, &p->k, pair, key), p->k.row, key > from || dq->acc,
                     attention_at(p, dq, pair, first), dq->row);
            if (p->dk.data != NULL)
                gemm(t.by_query, false, keys, p->dim, n, p->scale, ds, t.width,
                     attention_at(p, &p->q, pair, first), p->q.row, first < begin || p->dk.acc,
                     attention_at(p, &p->dk, pair, key), p->dk.row);
            if (p->dv.data != NULL)
                gemm(t.by_query, false, keys, p->out_dim, n, 1, weights, t.width, g, p->dy.row,
                     first < begin || p->dv.acc, attention_at(p, &p->dv, pair, key), p->dv.row);
        }
        int64_t hidden = last > from ? last : from;
        if (p->dmask != NULL && !p->acc_mask)
            clear_rows(p->dmask + (pair * p->queries + first) * p->keys + hidden, p->keys, n,
                       to - hidden);
        if (first < begin) continue;
        if (p->dk.data != NULL && !p->dk.acc) /* of keys that no query sees */
            clear_rows(attention_at(p, &p->dk, pair, hidden), p->dk.row, to - hidden, p->dim);
        if (p->dv.data != NULL && !p->dv.acc)
            clear_rows(attention_at(p, &p->dv, pair, hidden), p->dv.row, to - hidden, p->out_dim);
    }
}

static int64_t span_begin(const attention_plan *p, int64_t span)
{
    return at_most(p->keys, span * shards_of(shards_of(p->keys, p->spans), KEY_TILE) * KEY_TILE);
}

static attention_rows span_dq(const attention_plan *p, int64_t span)
{
    int64_t head = p->spans * p->queries * p->dim;
    return (attention_rows){.data = p->partial + span * p->queries * p->dim,
                            .batch = p->heads * head,
                            .head = head,
                            .row = at_least_one(p->dim)};
}

static void attention_backward_shard(void *arg, int64_t shard)
{
    const attention_plan *p = arg;
    T *scratch = p->scratch + parallel_worker() * p->scratch_each;
    int64_t end = at_most((shard + 1) * p->each, p->pairs * p->spans);
    for (int64_t unit = shard * p->each; unit < end; unit++) {
        int64_t span = unit % p->spans;
        attention_rows dq = p->partial != NULL ? span_dq(p, span) : p->dq;
        attention_keys_backward(p, unit / p->spans, span_begin(p, span), span_begin(p, span + 1),
                                &dq, scratch);
    }
}

/* dq of a tile of queries from what the spans of keys give, in their order. */
static void attention_sum_spans(void *arg, int64_t shard)
{
    const attention_plan *p = arg;
    int64_t of_pair = shards_of(p->queries, QUERY_TILE);
    int64_t pair = shard / of_pair, first = shard % of_pair * QUERY_TILE;
    int64_t n = at_most(QUERY_TILE, p->queries - first), last = keys_seen(p, first + n - 1);
    for (int64_t span = 0; span < p->spans && span_begin(p, span) < last; span++) {
        attention_rows from = span_dq(p, span);
        for (int64_t i = first; i < first + n; i++) {
            T *dq = attention_at(p, &p->dq, pair, i), *part = attention_at(p, &from, pair, i);
            for (int64_t j = 0; j < p->dim; j++) put(dq + j, part[j], span > 0 || p->dq.acc);
        }
    }
}

/* With queries and keys; dy and the gradients wanted are in the plan. */
static tt_status attention_backward(tt_call *c, attention_plan *p)
{
    p->most = c->saved[0];
    p->share = c->saved[1];
    TT_TRY(attention_take_scratch(c, p, 2));
    p->spans = at_least_one(at_most(ATTENTION_HEADS / p->pairs, p->keys / ATTENTION_SPAN));
    if (p->spans > 1 && p->dq.data != NULL) {
        size_t size = (size_t)(p->pairs * p->spans * p->queries * p->dim) * sizeof(T);
        p->partial = call_scratch(c, size);
        if (p->partial == NULL) return TT_ERR_NOMEM;
    }
    p->each = attention_each(attention_work(p, 5) / (double)p->spans);
    parallel_for_on(p->threads, shards_of(p->pairs * p->spans, p->each), attention_backward_shard,
                    p);
    if (p->partial != NULL)
        parallel_for_on(p->threads, p->pairs * shards_of(p->queries, QUERY_TILE),
                        attention_sum_spans, p);
    return TT_OK;
}

#else

/* What the op's attributes say of dropout, `ints` others before it. */
static tt_status attention_check_drops(const tt_call *c, int ints)
{
    const tt_attrs *a = c->attrs;
    bool drops = a->n_ints == ints + 3 && a->n_reals == 2 && a->reals[1] >= 0 && a->reals[1] <= 1;
    if (!drops && !(a->n_ints == ints && a->n_reals == 1))
        return tt_fail(TT_ERR_ARG, c->op->name,
                       "dropout takes seed, stream, offset and a probability between 0 and 1");
    return TT_OK;
}

/* Products read rows: the last axis must be dense and rows must not overlap. */
static tt_status attention_need_rows(tt_call *c, int input)
{
    const tt_tensor *t = c->in[input];
    const int rows = t->ndim - 2, columns = t->ndim - 1;
    if (t->contiguous) return TT_OK;
    if (t->strides[columns] == 1 && (t->shape[rows] <= 1 || t->strides[rows] >= t->shape[columns]))
        return TT_OK;
    tt_attrs none = {0};
    return apply_op(c->ctx, TT_OP_contiguous, &c->in[input], 1, &none, call_place(c),
                    &c->in[input]);
}

#endif
#endif
