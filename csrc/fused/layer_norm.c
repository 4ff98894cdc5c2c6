/* layer_norm: y = (x - mean) / sqrt(var + eps) * w + b over the last `axes` axes (Ba, Kiros and
 * Hinton, 2016). rms_norm: y = x / sqrt(mean(x^2) + eps) * w, without a mean (Zhang and Sennrich,
 * 2019). w and b may be absent. layer_norm_backward: dx of layer_norm (`centred`) or of rms_norm,
 * from x, w and dy.
 *
 * All three save the mean of each row (0 for rms_norm) and rstd = 1 / sqrt(var + eps). None squares
 * rstd: it is small where the numbers of the row are large, and the square could be 0. */
#include "../op.h"

enum { LAYER_NORM_X, LAYER_NORM_WEIGHT, LAYER_NORM_BIAS };
enum { LAYER_NORM_BACKWARD_X, LAYER_NORM_BACKWARD_WEIGHT, LAYER_NORM_BACKWARD_DY };
enum { LAYER_NORM_SAVED_MEAN, LAYER_NORM_SAVED_RSTD };
TT_ATTRS(layer_norm, axes, real eps)
TT_ATTRS(layer_norm_backward, axes, centred, real eps)

#ifdef TT_KERNELS

typedef struct {
    const T *x, *w, *b, *dy; /* x, dy (rows, n); w, b (n) */
    T *y, *dx;               /* (rows, n) */
    T *mean, *rstd;          /* (rows) */
    const T *d;              /* of layer_norm_backward: d, the gradient of its output, */
    T *ddy;                  /* and ddy, that of its input dy, both (rows, n) */
    double *partial;         /* (shards, 2, n): the sums of dw and db over a shard's rows */
    int64_t rows, n, rows_per_shard;
    T eps;
    bool centred, acc, acc_dy;
} layer_norm_plan;

/* Inputs X and WEIGHT are the same of all three operations. */
static layer_norm_plan normalization_plan_of(const tt_call *c, int64_t axes, double eps,
                                             bool centred)
{
    const tt_tensor *x = c->in[LAYER_NORM_X];
    layer_norm_plan p = {.x = x->data,
                         .w = data_of(c->in[LAYER_NORM_WEIGHT]),
                         .n = inner_size(x, (int)axes),
                         .eps = (T)eps,
                         .centred = centred};
    p.rows = p.n > 0 ? x->numel / p.n : 0;
    p.rows_per_shard = rows_per_shard(p.n);
    return p;
}

static layer_norm_plan layer_norm_plan_of(const tt_call *c, bool centred)
{
    const layer_norm_attrs a = layer_norm_read(c->attrs);
    layer_norm_plan p = normalization_plan_of(c, a.axes, a.eps, centred);
    if (centred) p.b = data_of(c->in[LAYER_NORM_BIAS]); /* rms_norm has no such input */
    return p;
}

/* A variance between these lost nothing to overflow or underflow. */
#ifdef TT_F32
#define MIN_VAR 1e-30f
#define MAX_VAR 1e36f
#define T_MAX_EXP FLT_MAX_EXP
#else
#define MIN_VAR 1e-280
#define MAX_VAR 1e300
#define T_MAX_EXP DBL_MAX_EXP
#endif

/* The sum of value, an expression in x[i], over a row. It is taken in pieces, so that no element is
 * added to a sum of many others. */
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

/* The mean and the variance of a row times a factor. Where the mean is large compared with the
 * deviation, the rounding error of its sum matters. The mean of what is left of the row is that
 * error, and corrects both: equal elements have exactly their value as mean, and variance 0. */
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

/* The same where squares of x overflow, or underflow while eps is too small to hide that. x is
 * first divided by a power of 2 near its largest element, which is exact. */
static __attribute__((noinline)) void layer_norm_scaled_moments(const layer_norm_plan *p, int64_t r)
{
    const T *x = p->x + r * p->n;
    double max_abs = 0;
    for (int64_t i = 0; i < p->n; i++)
        max_abs = fabs((double)x[i]) > max_abs ? fabs((double)x[i]) : max_abs;
    if (!(max_abs > 0 && max_abs <= DBL_MAX)) return; /* no scale would help */
    int exponent;
    frexp(max_abs, &exponent);
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
    if (!(var >= (T)MIN_VAR && var <= (T)MAX_VAR)) layer_norm_scaled_moments(p, r);
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

/* Runs over shards of rows, which write the moments. */
static tt_status layer_norm_run(tt_call *c, layer_norm_plan *p, void (*shard)(void *, int64_t))
{
    p->mean = call_save(c, LAYER_NORM_SAVED_MEAN, (size_t)p->rows * sizeof(T));
    p->rstd = call_save(c, LAYER_NORM_SAVED_RSTD, (size_t)p->rows * sizeof(T));
    if (p->mean == NULL || p->rstd == NULL) return TT_ERR_NOMEM;
    parallel_for(shards_of(p->rows, p->rows_per_shard), shard, p);
    return TT_OK;
}

static tt_status normalize(tt_call *c, bool centred)
{
    layer_norm_plan p = layer_norm_plan_of(c, centred);
    p.y = c->out[Y]->data;
    return layer_norm_run(c, &p, layer_norm_shard);
}

/* With h = (x - mean) rstd and g = dy w:
 *     dx = rstd (g - mean(g) - h mean(g h)),  dw = sum dy h,  db = sum dy
 * In rms_norm the term mean(g) is absent. */
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

/* Adds the terms of `rows` rows to dw and db. */
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

enum { NORM_ROWS = 4 }; /* so few rows may be summed in T before they are added in double */

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

/* Runs over shards of rows with the moments of the forward, and adds up their sums for dw. */
static tt_status layer_norm_run_back(tt_call *c, layer_norm_plan *p, void (*shard)(void *, int64_t))
{
    p->mean = c->saved[LAYER_NORM_SAVED_MEAN];
    p->rstd = c->saved[LAYER_NORM_SAVED_RSTD];
    p->dx = c->dx[LAYER_NORM_X];
    p->acc = c->acc[LAYER_NORM_X];
    int64_t shards = shards_of(p->rows, p->rows_per_shard);
    p->partial = call_scratch(c, (size_t)(shards * 2 * p->n) * sizeof(double));
    if (p->partial == NULL) return TT_ERR_NOMEM;
    parallel_for(shards, shard, p);
    if (c->dx[LAYER_NORM_WEIGHT] != NULL)
        layer_norm_gather(c->dx[LAYER_NORM_WEIGHT], p->partial, shards, p->n,
                          c->acc[LAYER_NORM_WEIGHT]);
    return TT_OK;
}

static tt_status normalize_backward(tt_call *c, bool centred)
{
    layer_norm_plan p = layer_norm_plan_of(c, centred);
    p.dy = c->dy[Y];
    TT_TRY(layer_norm_run_back(c, &p, layer_norm_backward_shard));
    int64_t shards = shards_of(p.rows, p.rows_per_shard);
    if (c->dx[LAYER_NORM_BIAS] != NULL)
        layer_norm_gather(c->dx[LAYER_NORM_BIAS], p.partial + p.n, shards, p.n,
                          c->acc[LAYER_NORM_BIAS]);
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
    const layer_norm_backward_attrs a = layer_norm_backward_read(c->attrs);
    layer_norm_plan p = normalization_plan_of(c, a.axes, a.eps, a.centred);
    p.dy = c->in[LAYER_NORM_BACKWARD_DY]->data;
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
    p.dx = c->out[Y]->data;
    return layer_norm_run(c, &p, layer_norm_gradient_shard);
}

/* The backward of dx = rstd P(g) with P(v) = v - mean(v) - h mean(v h), for the gradient d of dx. P
 * is linear and its own transpose, so
 *     dg = rstd P(d),  ddy = dg w,  dw = sum dg dy
 * and the gradient at x, on which rstd and h depend, is
 *     -rstd (mean(g h) dg + mean(d h) dx + h h_factor),
 *     h_factor = rstd (mean(d g) - mean(d) mean(g) - mean(d h) mean(g h)) */
static void layer_norm_double_backward_row(const layer_norm_plan *p, int64_t r, double *restrict dw)
{
    int64_t n = p->n;
    const T *x = p->x + r * n, *dy = p->dy + r * n, *d = p->d + r * n, *w = p->w;
    T mean = p->mean[r], rstd = p->rstd[r], mean_g = 0, mean_d = 0, mean_gh = 0, mean_dh = 0,
      mean_dg = 0;
    if (w != NULL) {
        TT_LANES_SUM(mean_g, n, dy[i] * w[i]);
        TT_LANES_SUM(mean_gh, n, dy[i] * w[i] * ((x[i] - mean) * rstd));
        TT_LANES_SUM(mean_dg, n, d[i] * dy[i] * w[i]);
    } else {
        TT_LANES_SUM(mean_g, n, dy[i]);
        TT_LANES_SUM(mean_gh, n, dy[i] * ((x[i] - mean) * rstd));
        TT_LANES_SUM(mean_dg, n, d[i] * dy[i]);
    }
    TT_LANES_SUM(mean_d, n, d[i]);
    TT_LANES_SUM(mean_dh, n, d[i] * ((x[i] - mean) * rstd));
    mean_g = p->centred ? mean_g / (T)n : 0;
    mean_d = p->centred ? mean_d / (T)n : 0;
    mean_gh /= (T)n;
    mean_dh /= (T)n;
    mean_dg /= (T)n;
    T h_factor = rstd * (mean_dg - mean_d * mean_g - mean_dh * mean_gh);
    for (int64_t i = 0; i < n; i++) {
        T h = (x[i] - mean) * rstd, g = w != NULL ? dy[i] * w[i] : dy[i];
        T dg = rstd * (d[i] - mean_d - h * mean_dh), dx = rstd * (g - mean_g - h * mean_gh);
        if (p->dx != NULL)
            put(p->dx + r * n + i, -rstd * (mean_gh * dg + mean_dh * dx + h_factor * h), p->acc);
        if (p->ddy != NULL) put(p->ddy + r * n + i, w != NULL ? dg * w[i] : dg, p->acc_dy);
        dw[i] += (double)(dg * dy[i]);
    }
}

static void layer_norm_double_backward_shard(void *arg, int64_t shard)
{
    const layer_norm_plan *p = arg;
    int64_t begin = shard * p->rows_per_shard, end = at_most(begin + p->rows_per_shard, p->rows);
    double *dw = p->partial + shard * 2 * p->n;
    memset(dw, 0, (size_t)p->n * sizeof *dw);
    for (int64_t r = begin; r < end; r++) layer_norm_double_backward_row(p, r, dw);
}

static tt_status layer_norm_backward_backward(tt_call *c)
{
    layer_norm_plan p = layer_norm_backward_plan_of(c);
    p.d = c->dy[Y];
    p.ddy = c->dx[LAYER_NORM_BACKWARD_DY];
    p.acc_dy = c->acc[LAYER_NORM_BACKWARD_DY];
    return layer_norm_run_back(c, &p, layer_norm_double_backward_shard);
}
TT_KERNELS_OF(layer_norm_backward, layer_norm_backward_forward, layer_norm_backward_backward)

#else

#include <math.h>

static tt_status normalization_infer(tt_call *c, int axes, int inputs)
{
    const tt_tensor *x = c->in[LAYER_NORM_X];
    if (axes < 1 || axes > x->ndim)
        return tt_fail(TT_ERR_SHAPE, c->op->name, "cannot normalise over %d axes of shape %s", axes,
                       SHAPE_TEXT(x));
    for (int i = LAYER_NORM_WEIGHT; i < inputs; i++) {
        const tt_tensor *t = c->in[i];
        if (t != NULL && (t->ndim != axes || memcmp(t->shape, x->shape + x->ndim - axes,
                                                    (size_t)axes * sizeof t->shape[0]) != 0))
            return tt_fail(
                TT_ERR_SHAPE, c->op->name, "%s of shape %s does not fit the last %d axes of %s",
                i == LAYER_NORM_WEIGHT ? "weight" : "bias", SHAPE_TEXT(t), axes, SHAPE_TEXT(x));
    }
    c->spec[Y] = rule_spec_like(x);
    return TT_OK;
}

static tt_status layer_norm_infer(tt_call *c)
{
    return normalization_infer(c, (int)layer_norm_read(c->attrs).axes, c->n_in);
}

static tt_status layer_norm_backward_infer(tt_call *c)
{
    int axes = (int)layer_norm_backward_read(c->attrs).axes;
    const tt_tensor *x = c->in[LAYER_NORM_BACKWARD_X], *dy = c->in[LAYER_NORM_BACKWARD_DY];
    TT_TRY(normalization_infer(c, axes, LAYER_NORM_BACKWARD_WEIGHT + 1));
    if (layer_norm_backward_complete(c->attrs) && tensor_same_shape(x, dy)) return TT_OK;
    return tt_fail(TT_ERR_SHAPE, c->op->name, "dy of shape %s does not fit x of shape %s",
                   SHAPE_TEXT(dy), SHAPE_TEXT(x));
}

/* x as a matrix whose rows are normalized. */
typedef struct {
    int lead; /* how many axes come before those that are normalized */
    int64_t leading[TT_MAX_DIMS], shape[2];
} norm_rows;

static norm_rows norm_rows_of(const tt_tensor *x, int64_t axes)
{
    norm_rows r = {.lead = x->ndim - (int)axes, .shape = {1, 1}};
    for (int i = 0; i < r.lead; i++) r.shape[0] *= x->shape[r.leading[i] = i];
    for (int i = r.lead; i < x->ndim; i++) r.shape[1] *= x->shape[i];
    return r;
}

/* A sum over the rows, with the shape of w. */
static tt_tensor *norm_sum(tt_ctx *ctx, tt_tensor *x, const norm_rows *r)
{
    return r->lead > 0 ? v_sum(ctx, x, r->lead, r->leading, false) : x;
}

/* (x - mean) rstd, as rows. */
static tt_tensor *norm_of_rows(tt_ctx *ctx, tt_tensor *x, const norm_rows *r, double eps,
                               bool centred)
{
    const tt_attrs *attrs = ATTRS(layer_norm, .axes = 1, .eps = eps);
    tt_tensor *rows = v_reshape(ctx, x, 2, r->shape);
    return centred ? v_call(ctx, TT_OP_layer_norm, INPUTS(rows, NULL, NULL), attrs)
                   : v_call(ctx, TT_OP_rms_norm, INPUTS(rows, NULL), attrs);
}

/* rstd as sqrt(n) over the norm of (x - mean, sqrt(n eps)), since squares of x might overflow. */
static tt_tensor *rstd_of_rows(tt_ctx *ctx, tt_tensor *x, const norm_rows *r, double eps,
                               bool centred)
{
    double n = (double)r->shape[1];
    int64_t column[2] = {r->shape[0], 1};
    tt_tensor *rows = v_reshape(ctx, x, 2, r->shape), *wide[TT_MAX_IN] = {NULL};
    if (centred) rows = v_sub(ctx, rows, v_mean_axis(ctx, rows, 1));
    wide[0] = rows;
    wide[1] = v_constant(ctx, x->dtype, 2, column, sqrt(n * eps));
    if (wide[1] == NULL) return NULL;
    tt_tensor *both = v_call(ctx, TT_OP_cat, wide, TT_MAX_IN, ATTRS(cat, .axis = 1));
    tt_tensor *norm = v_call(ctx, TT_OP_norm, &both, 1,
                             ATTRS(norm, .keepdim = true, .first = 1, .count = 1, .p = 2));
    return v_div(ctx, v_number(ctx, both, sqrt(n)), norm);
}

static void normalization_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy,
                              const bool *need, tt_tensor **dx)
{
    bool centred = node->op->id == TT_OP_layer_norm;
    const layer_norm_attrs a = layer_norm_read(&node->attrs);
    tt_tensor *x = node->in[LAYER_NORM_X];
    norm_rows r = norm_rows_of(x, a.axes);
    if (need[LAYER_NORM_X])
        dx[LAYER_NORM_X] =
            v_call(ctx, TT_OP_layer_norm_backward, INPUTS(x, node->in[LAYER_NORM_WEIGHT], dy[Y]),
                   ATTRS(layer_norm_backward, .axes = a.axes, .centred = centred, .eps = a.eps));
    if (need[LAYER_NORM_WEIGHT]) {
        tt_tensor *h = norm_of_rows(ctx, x, &r, a.eps, centred);
        tt_tensor *full = h != NULL ? v_reshape_like(ctx, h, x) : NULL;
        dx[LAYER_NORM_WEIGHT] = norm_sum(ctx, v_mul(ctx, dy[Y], full), &r);
    }
    if (need[LAYER_NORM_BIAS]) dx[LAYER_NORM_BIAS] = norm_sum(ctx, dy[Y], &r);
}

static tt_tensor *mean_product(tt_ctx *ctx, tt_tensor *a, tt_tensor *b)
{
    return v_mean_axis(ctx, v_mul(ctx, a, b), 1);
}

/* The formulas are at layer_norm_double_backward_row. */
static void layer_norm_backward_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy,
                                    const bool *need, tt_tensor **dx)
{
    const layer_norm_backward_attrs a = layer_norm_backward_read(&node->attrs);
    tt_tensor *x = node->in[LAYER_NORM_BACKWARD_X], *w = node->in[LAYER_NORM_BACKWARD_WEIGHT],
              *norm_dy = node->in[LAYER_NORM_BACKWARD_DY];
    norm_rows r = norm_rows_of(x, a.axes);
    tt_tensor *dg = v_call(ctx, TT_OP_layer_norm_backward, INPUTS(x, NULL, dy[Y]), &node->attrs);
    if (need[LAYER_NORM_BACKWARD_WEIGHT])
        dx[LAYER_NORM_BACKWARD_WEIGHT] = norm_sum(ctx, v_mul(ctx, dg, norm_dy), &r);
    if (need[LAYER_NORM_BACKWARD_DY])
        dx[LAYER_NORM_BACKWARD_DY] = w != NULL ? v_mul(ctx, dg, w) : dg;
    if (!need[LAYER_NORM_BACKWARD_X] || dg == NULL) return;
    tt_tensor *h = norm_of_rows(ctx, x, &r, a.eps, a.centred);
    tt_tensor *rstd = rstd_of_rows(ctx, x, &r, a.eps, a.centred);
    tt_tensor *g = w != NULL ? v_mul(ctx, norm_dy, w) : norm_dy;
    tt_tensor *d = v_reshape(ctx, dy[Y], 2, r.shape);
    g = v_reshape(ctx, g, 2, r.shape);
    tt_tensor *gh = mean_product(ctx, g, h), *dh = mean_product(ctx, d, h);
    tt_tensor *h_factor = v_sub(ctx, mean_product(ctx, d, g), v_mul(ctx, dh, gh));
    if (a.centred)
        h_factor = v_sub(ctx, h_factor, v_mul(ctx, v_mean_axis(ctx, d, 1), v_mean_axis(ctx, g, 1)));
    tt_tensor *sum = v_add(ctx, v_mul(ctx, gh, v_reshape(ctx, dg, 2, r.shape)),
                           v_mul(ctx, dh, v_reshape(ctx, node->out[Y], 2, r.shape)));
    sum = v_add(ctx, sum, v_mul(ctx, h, v_mul(ctx, h_factor, rstd)));
    tt_tensor *flat = v_neg(ctx, v_mul(ctx, sum, rstd));
    dx[LAYER_NORM_BACKWARD_X] = flat != NULL ? v_reshape_like(ctx, flat, x) : NULL;
}

TT_OP(layer_norm, .inputs = 3, .attributes = layer_norm_names,
      .optional = BIT(LAYER_NORM_WEIGHT) | BIT(LAYER_NORM_BIAS),
      .keeps = BIT(LAYER_NORM_X) | BIT(LAYER_NORM_WEIGHT), .infer = layer_norm_infer,
      .vjp = normalization_vjp)
TT_OP(rms_norm, .inputs = 2, .attributes = layer_norm_names, .optional = BIT(LAYER_NORM_WEIGHT),
      .keeps = BIT(LAYER_NORM_X) | BIT(LAYER_NORM_WEIGHT), .infer = layer_norm_infer,
      .vjp = normalization_vjp)
TT_OP(layer_norm_backward, .inputs = 3, .attributes = layer_norm_backward_names,
      .optional = BIT(LAYER_NORM_BACKWARD_WEIGHT),
      .keeps = BIT(LAYER_NORM_BACKWARD_X) | BIT(LAYER_NORM_BACKWARD_WEIGHT) |
               BIT(LAYER_NORM_BACKWARD_DY),
      .infer = layer_norm_backward_infer, .vjp = layer_norm_backward_vjp)

#endif
