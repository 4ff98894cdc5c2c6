/* attention: the loops of scaled_dot_product_attention, of its packed form and of decoding.
 *
 * The L x S matrix of scores is computed in tiles of QUERY_TILE queries and KEY_TILE keys, which
 * stay in the cache. Forward goes along the keys and keeps the running maximum of each query's
 * scores and the sum of e^(score - maximum); when the maximum grows, it scales the sum and the
 * output so far (online softmax; Milakov and Gimelshein, 2018; Dao et al., 2022). The maximum and
 * 1 / sum are saved: backward computes the weights again from them. Tiles that a causal mask hides
 * are not computed; only the last tile of a query is computed in part.
 *
 * A tile is stored transposed, one row for each key. The maximum and the sum of a query then belong
 * to one lane of a vector, and a product packs the few queries and not the many keys. With few
 * queries most lanes would be empty: then a tile has one row for each query. */
#ifndef TT_ATTENTION_H
#define TT_ATTENTION_H

/* The inputs of scaled_dot_product_attention. */
enum { ATTENTION_Q, ATTENTION_K, ATTENTION_V, ATTENTION_MASK, ATTENTION_INPUTS };

#ifdef TT_KERNELS

enum { ATTENTION_SAVED_MAX, ATTENTION_SAVED_INVERSE_SUM };

enum {
    QUERY_TILE = 32,
    KEY_TILE = 128,
    FEW_QUERIES = 8,
    ATTENTION_LANES = 16, /* the length of a tile's row is a multiple of this */
    ATTENTION_SHARD = 1
        << 20,            /* the least multiplications of a shard: fewer are not worth a thread */
    ATTENTION_EXP = 16,   /* e^x costs as much as so many multiplications */
    ATTENTION_HEADS = 16, /* of fewer heads, each is split by its keys if these are many */
    ATTENTION_SPAN = 256  /* the least keys of a split */
};

/* The rows of all heads in one tensor: row i of head h of batch element b is at
 * data + b batch + h head + i row. */
typedef struct {
    T *data; /* NULL: a gradient that is not wanted */
    int64_t batch, head, row;
    bool acc; /* the gradient is added to what is there */
} attention_rows;

typedef struct {
    attention_rows q, k, v, y, dy, dq, dk, dv;
    const tt_tensor *mask; /* (B, H, L, S), or NULL */
    T *dmask;              /* contiguous, or NULL */
    int64_t pairs, heads;  /* B H, H */
    int64_t queries, keys, dim, out_dim;
    int64_t first_sees; /* causal: the first query sees so many keys, each next one more; else 0 */
    T scale;
    bool acc_mask, drops;
    uint64_t seed, stream, offset;
    T p, kept;            /* dropout multiplies a weight by 0 with probability p, else by `kept` */
    T *max, *inverse_sum; /* (B, H, L): of the scores, and 1 / sum e^(score - max) */
    T *scratch;           /* the tiles of each thread */
    int64_t scratch_each;
    int threads;
    int64_t each;  /* tiles of queries, or spans of keys, in a shard */
    int64_t spans; /* backward: into so many the keys of a head are split */
    T *partial;    /* dq of each span (B H, spans, L, D), where there are several */
} attention_plan;

static inline void attention_set_dropout(attention_plan *p, attention_attrs attrs)
{
    p->drops = attrs.dropout_p > 0;
    p->seed = (uint64_t)attrs.seed;
    p->stream = (uint64_t)attrs.stream;
    p->offset = (uint64_t)attrs.offset;
    p->p = (T)attrs.dropout_p;
    p->kept = (T)(attrs.dropout_p < 1 ? 1 / (1 - attrs.dropout_p) : 0);
}

static T *attention_at(const attention_plan *p, const attention_rows *of, int64_t pair, int64_t row)
{
    return of->data + pair / p->heads * of->batch + pair % p->heads * of->head + row * of->row;
}

static int64_t keys_seen(const attention_plan *p, int64_t query)
{
    return p->first_sees > 0 ? at_most(query + p->first_sees, p->keys) : p->keys;
}

static int64_t in_lanes(int64_t n) { return (n + ATTENTION_LANES - 1) & -(int64_t)ATTENTION_LANES; }

/* One tile: the queries first..first+n and the keys key..key+keys of a head. */
typedef struct {
    int64_t pair, first, n, key, keys;
    bool by_query; /* one row for each query; else one for each key */
    int64_t width; /* of a row */
} attention_tile;

static attention_tile tile_of(int64_t pair, int64_t first, int64_t n, int64_t key, int64_t keys)
{
    bool by_query = n <= FEW_QUERIES;
    return (attention_tile){pair, first, n, key, keys, by_query, in_lanes(by_query ? keys : n)};
}

/* How many keys of the tile its query i sees. */
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

/* s = alpha a b^T + beta s, where a are rows of the tile's queries and b of its keys. */
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

/* The factors by which dropout multiplies the weights, one row for each query; returns the stride
 * of the rows. The generator works in batches: with few keys all rows are drawn at once, hidden
 * weights included. */
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

/* Multiplies the tile s by the factors of dropout. */
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

/* row[from..to] = value */
static void fill_row(T *row, int64_t from, int64_t to, T value)
{
    for (int64_t j = from; j < to; j++) row[j] = value;
}

/* Where all scores of a query are masked, e^(-inf - max) has to be 0 and not NaN. */
static T finite_max(T max) { return max == -INFINITY ? 0 : max; }

/* The next n scores x of one query become e^(x - *max), with *max the running maximum, and are
 * added to *sum. Returns the factor that takes *sum, and the output so far, to the new maximum.
 * Hidden scores at the end of the row are -inf up to whole lanes. */
static T row_softmax(T *x, int64_t n, T *max, T *sum)
{
    T m = line_max(x, n, 1), before = *max, here;
    *max = m > before ? m : before;
    m = finite_max(*max);
    T factor = tt_exp_negative(before - m);
    TT_LANES_SUM(here, n, x[i] = tt_exp_negative(x[i] - m));
    *sum = *sum * factor + here;
    return factor;
}

/* The same for ATTENTION_LANES queries, a column each, and n keys. */
static void lanes_softmax(T *x, int64_t width, int64_t n, T *max, T *sum, T *factor)
{
    T m[ATTENTION_LANES], total[ATTENTION_LANES];
    for (int k = 0; k < ATTENTION_LANES; k++) m[k] = max[k];
    for (int64_t j = 0; j < n; j++) {
        const T *row = x + j * width;
#pragma omp simd
        for (int k = 0; k < ATTENTION_LANES; k++) m[k] = row[k] > m[k] ? row[k] : m[k];
    }
    for (int k = 0; k < ATTENTION_LANES; k++) {
        T before = max[k];
        max[k] = m[k];
        m[k] = finite_max(m[k]);
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

/* In a tile with one row for each key, what a query does not see becomes `value`; columns without a
 * query become 0. */
static void tile_hide(const attention_plan *p, const attention_tile *t, T *s, T value)
{
    int64_t all = tile_seen(p, t, 0); /* so many keys every query sees */
    for (int64_t j = all; j < t->keys; j++)
        fill_row(s + j * t->width, 0, at_most(j + 1 - all, t->n), value);
    if (t->n < t->width)
        for (int64_t j = 0; j < t->keys; j++) fill_row(s + j * t->width, t->n, t->width, 0);
}

/* How many keys of the tile the queries of the lanes from i on see, at most. */
static int64_t lanes_seen(const attention_plan *p, const attention_tile *t, int64_t i)
{
    return tile_seen(p, t, at_most(i + ATTENTION_LANES, t->n) - 1);
}

/* The scores s become e^(s - max) with the running maximum of each query; the sums and the output y
 * of the keys before are scaled to it. */
static void tile_softmax(const attention_plan *p, const attention_tile *t, T *s, T *max, T *sum,
                         T *y)
{
    T factor[QUERY_TILE];
    if (t->by_query) {
        for (int64_t i = 0; i < t->n; i++) {
            T *row = s + i * t->width;
            int64_t seen = tile_seen(p, t, i), lanes = in_lanes(seen);
            fill_row(row, seen, lanes, -INFINITY);
            fill_row(row, lanes, t->keys, 0);
            factor[i] = seen > 0 ? row_softmax(row, lanes, max + i, sum + i) : 1;
        }
    } else {
        tile_hide(p, t, s, -INFINITY);
        for (int64_t i = 0; i < t->n; i += ATTENTION_LANES) {
            int64_t seen = lanes_seen(p, t, i);
            lanes_softmax(s + i, t->width, seen, max + i, sum + i, factor + i);
            for (int64_t j = seen; j < t->keys; j++)
                fill_row(s + j * t->width + i, 0, ATTENTION_LANES, 0);
        }
    }
    for (int64_t i = 0; t->key > 0 && i < t->n; i++)
        if (factor[i] != 1) attention_scale(y + i * p->y.row, factor[i], p->out_dim);
}

static void attention_queries(const attention_plan *p, int64_t pair, int64_t first, T *s)
{
    T max[QUERY_TILE], sum[QUERY_TILE], *keep = p->drops ? s + QUERY_TILE * KEY_TILE : NULL;
    T *y = attention_at(p, &p->y, pair, first);
    int64_t n = at_most(QUERY_TILE, p->queries - first), last = keys_seen(p, first + n - 1);
    fill_row(max, 0, QUERY_TILE, -INFINITY);
    fill_row(sum, 0, QUERY_TILE, 0);
    for (int64_t key = 0; key < last; key += KEY_TILE) {
        int64_t keys = at_most(KEY_TILE, last - key);
        attention_tile t = tile_of(pair, first, n, key, keys);
        tile_scores(p, &t, s);
        tile_softmax(p, &t, s, max, sum, y);
        if (keep != NULL) tile_drop(&t, s, keep, tile_keep(p, &t, keep));
        gemm(!t.by_query, false, n, p->out_dim, keys, 1, s, t.width,
             attention_at(p, &p->v, pair, key), p->v.row, key > 0, y, p->y.row);
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t query = pair * p->queries + first + i;
        p->max[query] = finite_max(max[i]);
        p->inverse_sum[query] = sum[i] == 0 ? 0 : 1 / sum[i];
        attention_scale(y + i * p->y.row, p->inverse_sum[query], p->out_dim);
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

/* Memory for `tiles` tiles of each thread, and for one more with dropout. */
static tt_status attention_take_scratch(tt_call *c, attention_plan *p, int tiles)
{
    p->scratch_each = (int64_t)QUERY_TILE * KEY_TILE * (tiles + p->drops);
    p->threads = parallel_get_threads();
    p->scratch = call_scratch(c, (size_t)(p->scratch_each * p->threads) * sizeof(T));
    return p->scratch != NULL ? TT_OK : TT_ERR_NOMEM;
}

/* How many multiplications the queries of one head cost, with `products` products of a tile. */
static double attention_work(const attention_plan *p, double products)
{
    double seen = (double)p->queries * (double)p->keys * (p->first_sees > 0 ? 0.5 : 1);
    return seen * (products / 2 * (double)(p->dim + p->out_dim) + ATTENTION_EXP);
}

static int64_t attention_each(double work) { return 1 + (int64_t)(ATTENTION_SHARD / (work + 1)); }

static tt_status attention_forward(tt_call *c, attention_plan *p)
{
    size_t lines = (size_t)(p->pairs * p->queries) * sizeof(T);
    p->max = call_save(c, ATTENTION_SAVED_MAX, lines);
    p->inverse_sum = call_save(c, ATTENTION_SAVED_INVERSE_SUM, lines);
    if (p->max == NULL || p->inverse_sum == NULL) return TT_ERR_NOMEM;
    TT_TRY(attention_take_scratch(c, p, 1));
    if (p->keys == 0 || p->queries == 0) {
        memset(p->y.data, 0, tensor_bytes(c->out[Y]));
        return TT_OK;
    }
    int64_t of_pair = shards_of(p->queries, QUERY_TILE);
    p->each = attention_each(attention_work(p, 2) / (double)of_pair);
    parallel_for_on(p->threads, shards_of(p->pairs * of_pair, p->each), attention_forward_shard, p);
    return TT_OK;
}

/* ---- backward ---- */

/* The gradient of the mask is dS, the gradient of the scores. */
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

/* For one query the scores x become weights, and the gradients g of the weights those of the
 * scores. */
static void row_softmax_gradient(T *restrict x, T *restrict g, T max, T inverse_sum, T dot,
                                 int64_t n)
{
    for (int64_t j = 0; j < (n & -(int64_t)ATTENTION_LANES); j++) {
        x[j] = tt_exp_negative(x[j] - max) * inverse_sum;
        g[j] = x[j] * (g[j] - dot);
    }
}

/* The same for ATTENTION_LANES queries, a column each, and n keys. */
static void lanes_softmax_gradient(T *restrict x, T *restrict g, int64_t width, int64_t n,
                                   const T *restrict max, const T *restrict inverse_sum,
                                   const T *restrict dot)
{
    for (int64_t j = 0; j < n; j++, x += width, g += width) {
#pragma omp simd
        for (int k = 0; k < ATTENTION_LANES; k++) {
            x[k] = tt_exp_negative(x[k] - max[k]) * inverse_sum[k];
            g[k] = x[k] * (g[k] - dot[k]);
        }
    }
}

/* What backward needs of each query of a tile: what was saved, and the product of dy and y. */
typedef struct {
    T max[QUERY_TILE], inverse_sum[QUERY_TILE], dot[QUERY_TILE];
} attention_lines;

static void attention_lines_of(const attention_plan *p, int64_t pair, int64_t first, int64_t n,
                               attention_lines *of)
{
    const T *g = attention_at(p, &p->dy, pair, first), *y = attention_at(p, &p->y, pair, first);
    memset(of, 0, sizeof *of);
    for (int64_t i = 0; i < n; i++, g += p->dy.row, y += p->y.row) {
        of->max[i] = p->max[pair * p->queries + first + i];
        of->inverse_sum[i] = p->inverse_sum[pair * p->queries + first + i];
        of->dot[i] = attention_dot(g, y, p->out_dim);
    }
}

/* The scores in `weights` become weights, and the gradients ds of weights those of the scores. */
static void tile_softmax_gradient(const attention_plan *p, const attention_tile *t, T *weights,
                                  T *ds, const attention_lines *of)
{
    if (t->by_query) {
        for (int64_t i = 0; i < t->n; i++) {
            T *row = weights + i * t->width, *ds_row = ds + i * t->width;
            int64_t seen = tile_seen(p, t, i), lanes = in_lanes(seen);
            fill_row(row, seen, lanes, -INFINITY);
            fill_row(ds_row, seen, lanes, 0);
            row_softmax_gradient(row, ds_row, of->max[i], of->inverse_sum[i], of->dot[i], lanes);
            fill_row(row, lanes, t->keys, 0);
            fill_row(ds_row, lanes, t->keys, 0);
        }
        return;
    }
    tile_hide(p, t, weights, -INFINITY);
    tile_hide(p, t, ds, 0);
    for (int64_t i = 0; i < t->n; i += ATTENTION_LANES) {
        int64_t seen = lanes_seen(p, t, i);
        lanes_softmax_gradient(weights + i, ds + i, t->width, seen, of->max + i,
                               of->inverse_sum + i, of->dot + i);
        for (int64_t j = seen; j < t->keys; j++) {
            fill_row(weights + j * t->width + i, 0, ATTENTION_LANES, 0);
            fill_row(ds + j * t->width + i, 0, ATTENTION_LANES, 0);
        }
    }
}

/* The gradients of the keys from..to of a head. With P the weights, R the factors of dropout and
 * g = dy:
 *     dS = P (R g v^T - rowsum(g y)),  dmask = dS
 *     dv = (P R)^T g,  dq = scale dS k,  dk = scale dS^T q
 * P is computed again from what was saved, R from the seed.
 *
 * The last queries come first. They see every key that any query sees, so they write each row of dk
 * and dv, and the other queries add to it. */
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
        int64_t hidden = last > from ? last : from; /* from this key on none is seen */
        if (p->dmask != NULL && !p->acc_mask)
            clear_rows(p->dmask + (pair * p->queries + first) * p->keys + hidden, p->keys, n,
                       to - hidden);
        if (first < begin) continue;
        if (p->dk.data != NULL && !p->dk.acc) /* no query sees these keys */
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

/* dq of a tile of queries: the sum over the spans of keys, in their order. */
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

/* The plan has dy and the gradients that are wanted, at least one query and one key. */
static tt_status attention_backward(tt_call *c, attention_plan *p)
{
    p->max = c->saved[ATTENTION_SAVED_MAX];
    p->inverse_sum = c->saved[ATTENTION_SAVED_INVERSE_SUM];
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

static tt_status attention_check_dropout(const tt_call *c, bool complete, double p)
{
    if (complete && p >= 0 && p <= 1) return TT_OK;
    return tt_fail(TT_ERR_ARG, c->op->name,
                   "dropout takes seed, stream, offset and a probability between 0 and 1");
}

/* A product reads rows: the last axis must be dense and rows must not overlap. */
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
