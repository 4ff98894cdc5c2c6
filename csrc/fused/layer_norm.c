/* layer_norm: y = (x - mean) / sqrt(var + eps) * w + b over the last axes (Ba, Kiros and Hinton,
 * 2016); and rms_norm, which does not take the mean away: y = x / sqrt(mean(x^2) + eps) * w (Zhang
 * and Sennrich, 2019). w, b may be absent. ints[0]: how many axes; reals[0]: eps.
 * layer_norm_backward: the gradient at x of either, of (x, w, dy); ints[1]: whether the mean was
 * taken away. All save of each row the mean (zero for rms_norm) and 1/sqrt(var + eps), and never
 * square the latter: it is as small as the numbers of the row are large. */
#include "../op.h"

TT_ATTRS(layer_norm, axes, real eps)
TT_ATTRS(layer_norm_backward, axes, centred, real eps)

#ifdef TT_KERNELS

typedef struct {
    const T *x, *w, *b, *dy; /* x, dy (rows, n); w, b (n) */
    T *y, *dx;               /* (rows, n) */
    T *mean, *rstd;          /* (rows) */
    const T *d;              /* layer_norm_backward's: d, the gradient of its dx, */
    T *ddy;                  /* and that of its dy, both (rows, n) */
    double *partial;         /* (shards, 2, n): the share of a shard in dw and db */
    int64_t rows, n, rows_per_shard;
    T eps;
    bool centred, acc, acc_dy;
} layer_norm_plan;

/* rms_norm has no bias, and thus no third input. */
static layer_norm_plan layer_norm_plan_of(const tt_call *c, bool centred)
{
    const tt_tensor *x = c->in[0];
    layer_norm_plan p = {.x = x->data,
                         .w = data_of(c->in[1]),
                         .b = centred ? data_of(c->in[2]) : NULL,
                         .n = inner_size(x, (int)c->attrs->ints[0]),
                         .eps = (T)c->attrs->reals[0],
                         .centred = centred};
    p.rows = p.n > 0 ? x->numel / p.n : 0;
    p.rows_per_shard = rows_per_shard(p.n);
    return p;
}

/* Between these a sum of squares, over how many there are, has lost nothing. */
#ifdef TT_F32
#define LEAST_VAR 1e-30f
#define MOST_VAR 1e36f
#define T_MAX_EXP FLT_MAX_EXP
#else
#define LEAST_VAR 1e-280
#define MOST_VAR 1e300
#define T_MAX_EXP DBL_MAX_EXP
#endif

/* The sum of value, an expression in x[i], over a row, in pieces: so none of its elements is added
 * to many others one by one. */
enum { NORM_PIECE = 256 };
#define PIECEWISE_SUM(total, value)                                      \
    do {                                                                 \
        (total) = 0;                                                     \
        for (int64_t begin = 0; begin < p->n; begin += NORM_PIECE) {     \
            const T *x = row + begin;                                    \
            T sum;                                                       \
            TT_LANES_SUM(sum, at_most(p->n - begin, NORM_PIECE), value); \
            (total) += sum;                                              \
        }                                                                \
    } while (0)

/* The mean and the variance of a row times a factor. Where the mean is large beside the deviation,
 * what its sum lost counts: what is left of the row says how much that was, so that equal elements
 * have exactly their value for mean, and no variance. */
TT_INLINE void moments_of_row(const layer_norm_plan *p, const T *row, T factor, T *mean, T *var)
{
    T each = 1 / (T)p->n, m = 0, square, rest;
    if (p->centred) {
        PIECEWISE_SUM(m, x[i] * factor);
        m *= each;
    }
    PIECEWISE_SUM(square, (x[i] * factor - m) * (x[i] * factor - m));
    *mean = m;
    *var = square * each;
    if (16 * *var < m * m) {
        PIECEWISE_SUM(rest, x[i] * factor - m);
        rest *= each;
        *mean = m + rest;
        *var = *var > rest * rest ? *var - rest * rest : 0;
    }
}

/* The same where squares of x overflow, or underflow and eps does not cover that: of x over a power
 * of 2 near the largest, which rounds nothing. */
static __attribute__((noinline)) void layer_norm_scaled_moments(const layer_norm_plan *p, int64_t r)
{
    const T *x = p->x + r * p->n;
    double most = 0;
    for (int64_t i = 0; i < p->n; i++) most = fabs((double)x[i]) > most ? fabs((double)x[i]) : most;
    if (!(most > 0 && most <= DBL_MAX)) return; /* there is nothing better */
    int exponent;
    frexp(most, &exponent);
    exponent = exponent > 2 - T_MAX_EXP ? exponent - 1 : 1 - T_MAX_EXP;
    T mean, var;
    double down = ldexp(1, -exponent);
    moments_of_row(p, x, (T)down, &mean, &var);
    p->mean[r] = (T)ldexp((double)mean, exponent);
    p->rstd[r] = (T)(down / sqrt((double)var + (double)p->eps * down * down));
}

TT_INLINE void layer_norm_moments(const layer_norm_plan *p, int64_t r)
{
    T mean, var;
    moments_of_row(p, p->x + r * p->n, 1, &mean, &var);
    var += p->eps;
    p->mean[r] = mean;
    p->rstd[r] = 1 / tt_sqrt(var);
    if (!(var >= (T)LEAST_VAR && var <= (T)MOST_VAR)) layer_norm_scaled_moments(p, r);
}

static void layer_norm_shard(void *arg, int64_t shard)
{
    const layer_norm_plan *p = arg;
    int64_t begin = shard * p->rows_per_shard, end = at_most(begin + p->rows_per_shard, p->rows),
            n = p->n;
    for (int64_t r = begin; r < end; r++) {
        layer_norm_moments(p, r);
        const T *x = p->x + r * n, mean = p->mean[r], rstd = p->rstd[r];
        T *restrict y = p->y + r * n;
        if (p->w != NULL && p->b != NULL) {
            for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * rstd * p->w[i] + p->b[i];
        } else if (p->w != NULL) {
            for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * rstd * p->w[i];
        } else {
            for (int64_t i = 0; i < n; i++)
                y[i] = (x[i] - mean) * rstd + (p->b != NULL ? p->b[i] : 0);
        }
    }
}

/* Run over shards of rows, which find the moments. */
static tt_status layer_norm_run(tt_call *c, layer_norm_plan *p, void (*shard)(void *, int64_t))
{
    p->mean = call_save(c, 0, (size_t)p->rows * sizeof(T));
    p->rstd = call_save(c, 1, (size_t)p->rows * sizeof(T));
    if (p->mean == NULL || p->rstd == NULL) return TT_ERR_NOMEM;
    parallel_for(shards_of(p->rows, p->rows_per_shard), shard, p);
    return TT_OK;
}

static tt_status normalize(tt_call *c, bool centred)
{
    layer_norm_plan p = layer_norm_plan_of(c, centred);
    p.y = c->out[0]->data;
    return layer_norm_run(c, &p, layer_norm_shard);
}

/* With h = (x - mean) rstd and g = dy w:  dx = rstd (g - mean(g) - h mean(g h)),  dw = sum dy h, db
 * = sum dy. Where no mean was taken away, none of g is. */
static void layer_norm_backward_row(const layer_norm_plan *p, int64_t r)
{
    int64_t n = p->n;
    const T *x = p->x + r * n, *dy = p->dy + r * n, *w = p->w;
    T *restrict dx = p->dx + r * n;
    T mean = p->mean[r], rstd = p->rstd[r], sum_g = 0, sum_gh = 0;
    if (w != NULL) {
        TT_LANES_SUM(sum_g, n, dy[i] * w[i]);
        TT_LANES_SUM(sum_gh, n, dy[i] * w[i] * ((x[i] - mean) * rstd));
    } else {
        TT_LANES_SUM(sum_g, n, dy[i]);
        TT_LANES_SUM(sum_gh, n, dy[i] * ((x[i] - mean) * rstd));
    }
    sum_g = p->centred ? sum_g / (T)n : 0;
    sum_gh *= rstd / (T)n;
    for (int64_t i = 0; i < n; i++) {
        T g = w != NULL ? dy[i] * w[i] : dy[i];
        put(dx + i, rstd * (g - sum_g - (x[i] - mean) * sum_gh), p->acc);
    }
}

/* Adds to dw and db what `rows` rows have for them. */
TT_INLINE void layer_norm_backward_columns(const layer_norm_plan *p, int64_t row, int rows,
                                           double *restrict dw, double *restrict db)
{
    const T *x = p->x + row * p->n, *dy = p->dy + row * p->n;
    const T *mean = p->mean + row, *rstd = p->rstd + row;
    for (int64_t i = 0; i < p->n; i++) {
        T w = 0, b = 0;
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
            T g = dy[r * p->n + i];
            w += g * ((x[r * p->n + i] - mean[r]) * rstd[r]);
            b += g;
        }
        dw[i] += (double)w;
        db[i] += (double)b;
    }
}

enum { NORM_ROWS = 4 }; /* so few are summed in T, which loses nothing */

static void layer_norm_backward_shard(void *arg, int64_t shard)
{
    const layer_norm_plan *p = arg;
    int64_t begin = shard * p->rows_per_shard, end = at_most(begin + p->rows_per_shard, p->rows);
    double *dw = p->partial + shard * 2 * p->n, *db = dw + p->n;
    for (int64_t i = 0; i < 2 * p->n; i++) dw[i] = 0;
    for (int64_t r = begin; r < end; r += NORM_ROWS) {
        int64_t last = at_most(r + NORM_ROWS, end);
        for (int64_t k = r; k < last && p->dx != NULL; k++) layer_norm_backward_row(p, k);
        if (last - r == NORM_ROWS) layer_norm_backward_columns(p, r, NORM_ROWS, dw, db);
        else
            for (int64_t k = r; k < last; k++) layer_norm_backward_columns(p, k, 1, dw, db);
    }
}

static void layer_norm_gather(T *dst, const double *partial, int64_t shards, int64_t n, bool acc)
{
    for (int64_t i = 0; i < n; i++) {
        double s = 0;
        for (int64_t k = 0; k < shards; k++) s += partial[k * 2 * n + i];
        put(dst + i, (T)s, acc);
    }
}

/* Run over shards of rows with the moments of the forward; what each has for dw is added up. */
static tt_status layer_norm_run_back(tt_call *c, layer_norm_plan *p, void (*shard)(void *, int64_t))
{
    p->mean = c->saved[0];
    p->rstd = c->saved[1];
    p->dx = c->dx[0];
    p->acc = c->acc[0];
    int64_t shards = shards_of(p->rows, p->rows_per_shard);
    p->partial = call_scratch(c, (size_t)(shards * 2 * p->n) * sizeof(double));
    if (p->partial == NULL) return TT_ERR_NOMEM;
    parallel_for(shards, shard, p);
    if (c->dx[1] != NULL) layer_norm_gather(c->dx[1], p->partial, shards, p->n, c->acc[1]);
    return TT_OK;
}

static tt_status normalize_backward(tt_call *c, bool centred)
{
    layer_norm_plan p = layer_norm_plan_of(c, centred);
    p.dy = c->dy[0];
    TT_TRY(layer_norm_run_back(c, &p, layer_norm_backward_shard));
    int64_t shards = shards_of(p.rows, p.rows_per_shard);
    if (c->dx[2] != NULL) layer_norm_gather(c->dx[2], p.partial + p.n, shards, p.n, c->acc[2]);
    return TT_OK;
}

static tt_status layer_norm_forward(tt_call *c) { return normalize(c, true); }
static tt_status layer_norm_backward(tt_call *c) { return normalize_backward(c, true); }
TT_KERNELS_OF(layer_norm, layer_norm_forward, layer_norm_backward)

static tt_status rms_norm_forward(tt_call *c) { return normalize(c, false); }
static tt_status rms_norm_backward(tt_call *c) { return normalize_backward(c, false); }
TT_KERNELS_OF(rms_norm, rms_norm_forward, rms_norm_backward)

static layer_norm_plan layer_norm_backward_plan_of(const tt_call *c)
{
    layer_norm_plan p = layer_norm_plan_of(c, false);
    p.centred = c->attrs->ints[1];
    p.dy = c->in[2]->data;
    return p;
}

static void layer_norm_gradient_shard(void *arg, int64_t shard)
{
    const layer_norm_plan *p = arg;
    int64_t begin = shard * p->rows_per_shard, end = at_most(begin + p->rows_per_shard, p->rows);
    for (int64_t r = begin; r < end; r++) {
        layer_norm_moments(p, r);
        layer_norm_backward_row(p, r);
    }
}

static tt_status layer_norm_backward_forward(tt_call *c)
{
    layer_norm_plan p = layer_norm_backward_plan_of(c);
    p.dx = c->out[0]->data;
    return layer_norm_run(c, &p, layer_norm_gradient_shard);
}

/* With P(v) = v - mean(v) - h mean(v h), dx = rstd P(g), which is linear in g, and P is its own
 * transpose: dg = rstd P(d), ddy = dg w, dw = sum dg dy. And x is in rstd and h:
 *     -rstd (mean(g h) dg + mean(d h) dx + rstd h (mean(d g) - mean(d) mean(g)
 *                                                            - mean(d h) mean(g h))) */
static void layer_norm_bend_row(const layer_norm_plan *p, int64_t r, double *restrict dw)
{
    int64_t n = p->n;
    const T *x = p->x + r * n, *dy = p->dy + r * n, *d = p->d + r * n, *w = p->w;
    T mean = p->mean[r], rstd = p->rstd[r], of_g = 0, of_d = 0, of_gh = 0, of_dh = 0, of_dg = 0;
    if (w != NULL) {
        TT_LANES_SUM(of_g, n, dy[i] * w[i]);
        TT_LANES_SUM(of_gh, n, dy[i] * w[i] * ((x[i] - mean) * rstd));
        TT_LANES_SUM(of_dg, n, d[i] * dy[i] * w[i]);
    } else {
        TT_LANES_SUM(of_g, n, dy[i]);
        TT_LANES_SUM(of_gh, n, dy[i] * ((x[i] - mean) * rstd));
        TT_LANES_SUM(of_dg, n, d[i] * dy[i]);
    }
    TT_LANES_SUM(of_d, n, d[i]);
    TT_LANES_SUM(of_dh, n, d[i] * ((x[i] - mean) * rstd));
    of_g = p->centred ? of_g / (T)n : 0;
    of_d = p->centred ? of_d / (T)n : 0;
    of_gh /= (T)n;
    of_dh /= (T)n;
    T bend = rstd * (of_dg / (T)n - of_d * of_g - of_dh * of_gh);
    for (int64_t i = 0; i < n; i++) {
        T h = (x[i] - mean) * rstd, g = w != NULL ? dy[i] * w[i] : dy[i];
        T dg = rstd * (d[i] - of_d - h * of_dh), dx = rstd * (g - of_g - h * of_gh);
        if (p->dx != NULL)
            put(p->dx + r * n + i, -rstd * (of_gh * dg + of_dh * dx + bend * h), p->acc);
        if (p->ddy != NULL) put(p->ddy + r * n + i, w != NULL ? dg * w[i] : dg, p->acc_dy);
        dw[i] += (double)(dg * dy[i]);
    }
}

static void layer_norm_bend_shard(void *arg, int64_t shard)
{
    const layer_norm_plan *p = arg;
    int64_t begin = shard * p->rows_per_shard, end = at_most(begin + p->rows_per_shard, p->rows);
    double *dw = p->partial + shard * 2 * p->n;
    memset(dw, 0, (size_t)p->n * sizeof *dw);
    for (int64_t r = begin; r < end; r++) layer_norm_bend_row(p, r, dw);
}

static tt_status layer_norm_backward_backward(tt_call *c)
{
    layer_norm_plan p = layer_norm_backward_plan_of(c);
    p.d = c->dy[0];
    p.ddy = c->dx[2];
    p.acc_dy = c->acc[2];
    return layer_norm_run_back(c, &p, layer_norm_bend_shard);
}
TT_KERNELS_OF(layer_norm_backward, layer_norm_backward_forward, layer_norm_backward_backward)

#else

#include <math.h>

static tt_status layer_norm_infer(tt_call *c)
{
    const tt_tensor *x = c->in[0];
    int axes = c->attrs->n_ints >= 1 ? (int)c->attrs->ints[0] : 0;
    if (axes < 1 || axes > x->ndim)
        return tt_fail(TT_ERR_SHAPE, c->op->name, "cannot normalise over %d axes of shape %s", axes,
                       SHAPE_TEXT(x));
    for (int i = 1; i < c->n_in; i++) {
        const tt_tensor *t = c->in[i];
        if (t != NULL && (t->ndim != axes || memcmp(t->shape, x->shape + x->ndim - axes,
                                                    (size_t)axes * sizeof t->shape[0]) != 0))
            return tt_fail(TT_ERR_SHAPE, c->op->name,
                           "%s of shape %s does not fit the last %d axes of %s",
                           i == 1 ? "weight" : "bias", SHAPE_TEXT(t), axes, SHAPE_TEXT(x));
    }
    c->spec[0] = spec_like(x);
    return TT_OK;
}

static tt_status layer_norm_backward_infer(tt_call *c)
{
    tt_call norm = *c;
    norm.n_in = 2;
    TT_TRY(layer_norm_infer(&norm));
    if (c->attrs->n_ints == 2 && tensor_same_shape(c->in[0], c->in[2])) return TT_OK;
    return tt_fail(TT_ERR_SHAPE, c->op->name, "dy of shape %s does not fit x of shape %s",
                   SHAPE_TEXT(c->in[2]), SHAPE_TEXT(c->in[0]));
}

/* What is normalized, a row each. */
typedef struct {
    int lead; /* axes that are not normalized over */
    int64_t leading[TT_MAX_DIMS], shape[2];
} norm_rows;

static norm_rows norm_rows_of(const tt_node *node)
{
    const tt_tensor *x = node->in[0];
    norm_rows r = {.lead = x->ndim - (int)node->attrs.ints[0], .shape = {1, 1}};
    for (int i = 0; i < r.lead; i++) r.shape[0] *= x->shape[r.leading[i] = i];
    for (int i = r.lead; i < x->ndim; i++) r.shape[1] *= x->shape[i];
    return r;
}

/* A sum over the rows, with the shape of w. */
static tt_tensor *norm_sum(tt_ctx *ctx, tt_tensor *x, const norm_rows *r)
{
    return r->lead > 0 ? v_sum(ctx, x, r->lead, r->leading, false) : x;
}

/* (x - mean) rstd of the rows of a node. */
static tt_tensor *norm_of_rows(tt_ctx *ctx, const tt_node *node, const norm_rows *r, bool centred)
{
    tt_tensor *in[3] = {v_reshape(ctx, node->in[0], 2, r->shape)};
    tt_attrs attrs = {.n_ints = 1, .ints = {1}, .n_reals = 1, .reals = {node->attrs.reals[0]}};
    return centred ? v_call(ctx, TT_OP_layer_norm, in, 3, &attrs)
                   : v_call(ctx, TT_OP_rms_norm, in, 2, &attrs);
}

/* sqrt(n) over the norm of (x - mean, sqrt(n eps)): squares of x might overflow. */
static tt_tensor *rstd_of_rows(tt_ctx *ctx, const tt_node *node, const norm_rows *r, bool centred)
{
    tt_tensor *x = v_reshape(ctx, node->in[0], 2, r->shape), *wide[TT_MAX_IN] = {NULL};
    double n = (double)r->shape[1];
    int64_t column[2] = {r->shape[0], 1};
    tt_attrs along = {.n_ints = 1, .ints = {1}};
    tt_attrs norm = {.n_ints = 3, .ints = {true, 1, 1}, .n_reals = 1, .reals = {2}};
    if (centred) x = v_sub(ctx, x, v_mean_axis(ctx, x, 1));
    wide[0] = x;
    wide[1] = v_constant(ctx, node->in[0]->dtype, 2, column, sqrt(n * node->attrs.reals[0]));
    if (wide[1] == NULL) return NULL;
    tt_tensor *both = v_call(ctx, TT_OP_cat, wide, TT_MAX_IN, &along);
    return v_div(ctx, v_number(ctx, both, sqrt(n)), v_call(ctx, TT_OP_norm, &both, 1, &norm));
}

static void normalization_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy,
                              const bool *need, tt_tensor **dx)
{
    bool centred = node->op->id == TT_OP_layer_norm;
    norm_rows r = norm_rows_of(node);
    if (need[0]) {
        tt_tensor *in[3] = {node->in[0], node->in[1], dy[0]};
        tt_attrs attrs = {.n_ints = 2,
                          .ints = {node->attrs.ints[0], centred},
                          .n_reals = 1,
                          .reals = {node->attrs.reals[0]}};
        dx[0] = v_call(ctx, TT_OP_layer_norm_backward, in, 3, &attrs);
    }
    if (need[1]) {
        tt_tensor *h = norm_of_rows(ctx, node, &r, centred);
        tt_tensor *full = h != NULL ? v_reshape_like(ctx, h, node->in[0]) : NULL;
        dx[1] = norm_sum(ctx, v_mul(ctx, dy[0], full), &r);
    }
    if (need[2]) dx[2] = norm_sum(ctx, dy[0], &r);
}

static tt_tensor *mean_product(tt_ctx *ctx, tt_tensor *a, tt_tensor *b)
{
    return v_mean_axis(ctx, v_mul(ctx, a, b), 1);
}

/* As layer_norm_bend_row has it. */
static void layer_norm_backward_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy,
                                    const bool *need, tt_tensor **dx)
{
    bool centred = node->attrs.ints[1];
    norm_rows r = norm_rows_of(node);
    tt_tensor *w = node->in[1], *plain[3] = {node->in[0], NULL, dy[0]};
    tt_tensor *dg = v_call(ctx, TT_OP_layer_norm_backward, plain, 3, &node->attrs);
    if (need[1]) dx[1] = norm_sum(ctx, v_mul(ctx, dg, node->in[2]), &r);
    if (need[2]) dx[2] = w != NULL ? v_mul(ctx, dg, w) : dg;
    if (!need[0] || dg == NULL) return;
    tt_tensor *h = norm_of_rows(ctx, node, &r, centred);
    tt_tensor *rstd = rstd_of_rows(ctx, node, &r, centred);
    tt_tensor *g = w != NULL ? v_mul(ctx, node->in[2], w) : node->in[2];
    tt_tensor *d = v_reshape(ctx, dy[0], 2, r.shape);
    g = v_reshape(ctx, g, 2, r.shape);
    tt_tensor *gh = mean_product(ctx, g, h), *dh = mean_product(ctx, d, h);
    tt_tensor *bend = v_sub(ctx, mean_product(ctx, d, g), v_mul(ctx, dh, gh));
    if (centred)
        bend = v_sub(ctx, bend, v_mul(ctx, v_mean_axis(ctx, d, 1), v_mean_axis(ctx, g, 1)));
    tt_tensor *along = v_add(ctx, v_mul(ctx, gh, v_reshape(ctx, dg, 2, r.shape)),
                             v_mul(ctx, dh, v_reshape(ctx, node->out[0], 2, r.shape)));
    along = v_add(ctx, along, v_mul(ctx, h, v_mul(ctx, bend, rstd)));
    tt_tensor *flat = v_neg(ctx, v_mul(ctx, along, rstd));
    dx[0] = flat != NULL ? v_reshape_like(ctx, flat, node->in[0]) : NULL;
}

TT_OP(layer_norm, .inputs = 3, .attributes = layer_norm_names, .optional = 6, .keeps = 3,
      .infer = layer_norm_infer, .vjp = normalization_vjp)
TT_OP(rms_norm, .inputs = 2, .attributes = layer_norm_names, .optional = 2, .keeps = 3,
      .infer = layer_norm_infer, .vjp = normalization_vjp)
TT_OP(layer_norm_backward, .inputs = 3, .attributes = layer_norm_backward_names, .optional = 2,
      .keeps = 7, .infer = layer_norm_backward_infer, .vjp = layer_norm_backward_vjp)

#endif
