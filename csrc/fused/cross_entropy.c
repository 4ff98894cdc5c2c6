/* cross_entropy: -ln softmax(x)[target] for each row of logits x (N, C) and class indices (N), in
 * nats. nll_loss: -x[target], where x holds logarithms already. The weights w of the classes (C)
 * are constant; absent weights are ones.
 *
 * A target that is `ignored` has no loss. Label smoothing s (Szegedy et al., 2016; cross_entropy
 * only) spreads the part s of each target evenly over all classes: the loss of a row is
 * (1 - s) w[t] (-ln p[t]) + s/C sum_k w[k] (-ln p[k]). The mean divides by the sum of the targets'
 * weights. Saved are that sum and, of each row, the largest logit m and ln sum e^(x - m): one
 * number instead of the two would lose digits of large logits. */
#include "../op.h"

enum { CROSS_ENTROPY_X, CROSS_ENTROPY_TARGET, CROSS_ENTROPY_WEIGHT };
enum { CROSS_ENTROPY_SAVED_LOG_SUM, CROSS_ENTROPY_SAVED_MAX, CROSS_ENTROPY_SAVED_TOTAL };
TT_ATTRS(cross_entropy, reduction, ignored, real smoothing)

enum { REDUCE_NONE, REDUCE_MEAN, REDUCE_SUM }; /* reduction */

#ifdef TT_KERNELS

typedef struct {
    const T *x; /* (rows, n) */
    const int64_t *target;
    const T *w;       /* (n), or NULL */
    T *max, *log_sum; /* (rows) */
    SUM *loss;        /* (rows); a weight times a loss may overflow T while their mean does not */
    T *dx;
    const T *dy; /* one, or one for each row */
    int64_t rows, n, ignored, rows_per_shard;
    double total; /* of the weights of the targets that are not ignored */
    SUM smoothing, w_sum;
    int reduction;
    bool acc;
} cross_entropy_plan;

static cross_entropy_plan cross_entropy_plan_of(const tt_call *c)
{
    const tt_tensor *x = c->in[CROSS_ENTROPY_X];
    const cross_entropy_attrs a = cross_entropy_read(c->attrs);
    cross_entropy_plan p = {.x = x->data,
                            .target = c->in[CROSS_ENTROPY_TARGET]->data,
                            .w = data_of(c->in[CROSS_ENTROPY_WEIGHT]),
                            .rows = x->shape[0],
                            .n = x->shape[1],
                            .ignored = a.ignored,
                            .rows_per_shard = rows_per_shard(x->shape[1]),
                            .smoothing = a.smoothing,
                            .reduction = (int)a.reduction};
    p.w_sum = p.w != NULL ? row_sum(p.w, p.n, 1) : (SUM)p.n;
    return p;
}

/* The weight of a row is that of its target. */
static inline SUM weight_of_row(const cross_entropy_plan *p, int64_t r)
{
    if (p->target[r] == p->ignored) return 0;
    return p->w != NULL ? (SUM)p->w[p->target[r]] : 1;
}

/* The output: the losses of the rows, which `shard` computes, or their mean or sum. */
static tt_status losses_of_rows(tt_call *c, cross_entropy_plan *p, parallel_fn shard)
{
    double *total = call_save(c, CROSS_ENTROPY_SAVED_TOTAL, sizeof *total), sum = 0;
    T *y = c->out[Y]->data;
    p->loss = call_scratch(c, (size_t)p->rows * sizeof(SUM));
    if (total == NULL || p->loss == NULL) return TT_ERR_NOMEM;
    parallel_for(shards_of(p->rows, p->rows_per_shard), shard, p);
    *total = 0;
    for (int64_t r = 0; r < p->rows; r++) {
        *total += weight_of_row(p, r);
        sum += p->loss[r];
        if (p->reduction == REDUCE_NONE) y[r] = (T)p->loss[r];
    }
    if (p->reduction != REDUCE_NONE) *y = (T)(p->reduction == REDUCE_MEAN ? sum / *total : sum);
    return TT_OK;
}

static tt_status gradients_of_rows(const tt_call *c, cross_entropy_plan *p, parallel_fn shard)
{
    p->total = *(const double *)c->saved[CROSS_ENTROPY_SAVED_TOTAL];
    p->dy = c->dy[Y];
    p->dx = c->dx[CROSS_ENTROPY_X];
    p->acc = c->acc[CROSS_ENTROPY_X];
    parallel_for(shards_of(p->rows, p->rows_per_shard), shard, p);
    return TT_OK;
}

/* The gradient of the loss of a row. */
static inline SUM row_gradient(const cross_entropy_plan *p, int64_t r)
{
    SUM g = (SUM)p->dy[p->reduction == REDUCE_NONE ? r : 0];
    return p->reduction == REDUCE_MEAN ? g / p->total : g;
}

/* sum_k w[k] (m - x[k]) */
static SUM weighted_distance(const T *x, const T *w, int64_t n, SUM m)
{
    SUM s = 0;
    if (w != NULL) {
#pragma omp simd reduction(+ : s)
        for (int64_t i = 0; i < n; i++) s += (SUM)w[i] * (m - (SUM)x[i]);
    } else {
#pragma omp simd reduction(+ : s)
        for (int64_t i = 0; i < n; i++) s += m - (SUM)x[i];
    }
    return s;
}

static void cross_entropy_shard(void *arg, int64_t shard)
{
    const cross_entropy_plan *p = arg;
    int64_t begin = shard * p->rows_per_shard, end = at_most(begin + p->rows_per_shard, p->rows);
    for (int64_t r = begin; r < end; r++) {
        const T *x = p->x + r * p->n;
        p->max[r] = line_max(x, p->n, 1);
        p->log_sum[r] = line_exp_sum(x, p->n, 1, p->max[r]);
    }
    for (int64_t r = begin; r < end; r++) p->log_sum[r] = tt_log(p->log_sum[r]);
    for (int64_t r = begin; r < end; r++) {
        const T *x = p->x + r * p->n;
        SUM m = (SUM)p->max[r], log_sum = (SUM)p->log_sum[r];
        p->loss[r] = 0;
        if (p->target[r] == p->ignored) continue;
        p->loss[r] = weight_of_row(p, r) * (log_sum - ((SUM)x[p->target[r]] - m));
        if (p->smoothing > 0)
            p->loss[r] = (1 - p->smoothing) * p->loss[r] +
                         p->smoothing / (SUM)p->n *
                             (p->w_sum * log_sum + weighted_distance(x, p->w, p->n, m));
    }
}

static tt_status cross_entropy_forward(tt_call *c)
{
    cross_entropy_plan p = cross_entropy_plan_of(c);
    p.log_sum = call_save(c, CROSS_ENTROPY_SAVED_LOG_SUM, (size_t)p.rows * sizeof(T));
    p.max = call_save(c, CROSS_ENTROPY_SAVED_MAX, (size_t)p.rows * sizeof(T));
    if (p.log_sum == NULL || p.max == NULL) return TT_ERR_NOMEM;
    return losses_of_rows(c, &p, cross_entropy_shard);
}

/* With a = (1 - s) w[t]:  dx = (softmax(x) (a + s/C sum w) - s/C w - a onehot(t)) g */
static void cross_entropy_backward_shard(void *arg, int64_t shard)
{
    const cross_entropy_plan *p = arg;
    int64_t begin = shard * p->rows_per_shard, end = at_most(begin + p->rows_per_shard, p->rows);
    SUM smoothing_each = p->smoothing / (SUM)p->n; /* of each class */
    for (int64_t r = begin; r < end; r++) {
        const T *x = p->x + r * p->n;
        T *dx = p->dx + r * p->n, max = p->max[r], log_sum = p->log_sum[r];
        if (p->target[r] == p->ignored) {
            if (!p->acc) memset(dx, 0, (size_t)p->n * sizeof(T));
            continue;
        }
        SUM g = row_gradient(p, r), hard = (1 - p->smoothing) * weight_of_row(p, r) * g;
        T at_target = (T)hard, softmax_scale = (T)(hard + smoothing_each * p->w_sum * g),
          each = (T)(smoothing_each * g);
        for (int64_t i = 0; i < p->n; i++)
            put(dx + i, tt_exp_negative(x[i] - max - log_sum) * softmax_scale, p->acc);
        if (p->smoothing > 0)
            for (int64_t i = 0; i < p->n; i++) dx[i] -= p->w != NULL ? each * p->w[i] : each;
        dx[p->target[r]] -= at_target;
    }
}

static tt_status cross_entropy_backward(tt_call *c)
{
    cross_entropy_plan p = cross_entropy_plan_of(c);
    p.log_sum = c->saved[CROSS_ENTROPY_SAVED_LOG_SUM];
    p.max = c->saved[CROSS_ENTROPY_SAVED_MAX];
    return gradients_of_rows(c, &p, cross_entropy_backward_shard);
}
TT_KERNELS_OF(cross_entropy, cross_entropy_forward, cross_entropy_backward)

static void nll_loss_shard(void *arg, int64_t shard)
{
    const cross_entropy_plan *p = arg;
    int64_t begin = shard * p->rows_per_shard, end = at_most(begin + p->rows_per_shard, p->rows);
    for (int64_t r = begin; r < end; r++)
        p->loss[r] = p->target[r] == p->ignored
                         ? 0
                         : -weight_of_row(p, r) * (SUM)p->x[r * p->n + p->target[r]];
}

static tt_status nll_loss_forward(tt_call *c)
{
    cross_entropy_plan p = cross_entropy_plan_of(c);
    return losses_of_rows(c, &p, nll_loss_shard);
}

static void nll_loss_backward_shard(void *arg, int64_t shard)
{
    const cross_entropy_plan *p = arg;
    int64_t begin = shard * p->rows_per_shard, end = at_most(begin + p->rows_per_shard, p->rows);
    for (int64_t r = begin; r < end; r++) {
        T *dx = p->dx + r * p->n;
        if (!p->acc) memset(dx, 0, (size_t)p->n * sizeof(T));
        if (p->target[r] != p->ignored)
            dx[p->target[r]] -= (T)(weight_of_row(p, r) * row_gradient(p, r));
    }
}

static tt_status nll_loss_backward(tt_call *c)
{
    cross_entropy_plan p = cross_entropy_plan_of(c);
    return gradients_of_rows(c, &p, nll_loss_backward_shard);
}
TT_KERNELS_OF(nll_loss, nll_loss_forward, nll_loss_backward)

#else

static tt_status cross_entropy_infer(tt_call *c)
{
    const tt_tensor *x = c->in[CROSS_ENTROPY_X], *target = c->in[CROSS_ENTROPY_TARGET],
                    *w = c->in[CROSS_ENTROPY_WEIGHT];
    const cross_entropy_attrs a = cross_entropy_read(c->attrs);
    if (x->ndim != 2 || target->ndim != 1 || x->shape[0] != target->shape[0] || x->shape[1] < 1)
        return tt_fail(TT_ERR_SHAPE, c->op->name,
                       "expected an input (N, C) and targets (N), got %s and %s", SHAPE_TEXT(x),
                       SHAPE_TEXT(target));
    if (w != NULL && (w->ndim != 1 || w->shape[0] != x->shape[1]))
        return tt_fail(TT_ERR_SHAPE, c->op->name,
                       "expected a weight for each of the %lld classes, got shape %s",
                       (long long)x->shape[1], SHAPE_TEXT(w));
    if (w != NULL && w->requires_grad && c->recording)
        return tt_fail(TT_ERR_ARG, c->op->name,
                       "the weight of the classes is a constant, got one that requires grad");
    for (int64_t i = 0; i < target->numel; i++) {
        int64_t t = ((const int64_t *)target->data)[i];
        if ((t < 0 || t >= x->shape[1]) && t != a.ignored)
            return tt_fail(TT_ERR_INDEX, c->op->name,
                           "target %lld at position %lld is out of range for %lld classes",
                           (long long)t, (long long)i, (long long)x->shape[1]);
    }
    c->spec[Y] =
        (tt_spec){.dtype = x->dtype, .ndim = a.reduction == REDUCE_NONE, .shape = {x->shape[0]}};
    return TT_OK;
}

static void add_to_element(tt_tensor *t, int64_t i, double value)
{
    if (t->dtype == TT_FLOAT32) ((float *)t->data)[i] += (float)value;
    else ((double *)t->data)[i] += value;
}

/* dx = (row_weight softmax(x) - soft_target) dy, or -soft_target dy for nll_loss. Both are
 * constants: soft_target (N, C) is the target of each row, smoothed and weighted, and row_weight
 * (N, 1) its sum over the classes. */
static void cross_entropy_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy,
                              const bool *need, tt_tensor **dx)
{
    (void)need;
    tt_tensor *x = node->in[CROSS_ENTROPY_X], *w = node->in[CROSS_ENTROPY_WEIGHT];
    const int64_t *target = node->in[CROSS_ENTROPY_TARGET]->data;
    const cross_entropy_attrs a = cross_entropy_read(&node->attrs);
    int64_t rows = x->shape[0], classes = x->shape[1], column[2] = {rows, 1};
    const double *total_weight = node->saved[CROSS_ENTROPY_SAVED_TOTAL];
    double scale = a.reduction == REDUCE_MEAN ? 1.0 / *total_weight : 1.0;
    tt_tensor *soft_target = v_constant(ctx, x->dtype, 2, x->shape, 0.0);
    tt_tensor *row_weight = v_constant(ctx, x->dtype, 2, column, 0.0);
    if (soft_target == NULL || row_weight == NULL) return;
    for (int64_t r = 0; r < rows; r++) {
        if (target[r] == a.ignored) continue;
        double at_target =
            (1 - a.smoothing) * (w != NULL ? dtype_float_at(w->dtype, w->data, target[r]) : 1.0);
        double total = at_target;
        add_to_element(soft_target, r * classes + target[r], scale * at_target);
        for (int64_t i = 0; a.smoothing > 0 && i < classes; i++) {
            double each = a.smoothing / (double)classes *
                          (w != NULL ? dtype_float_at(w->dtype, w->data, i) : 1.0);
            total += each;
            add_to_element(soft_target, r * classes + i, scale * each);
        }
        add_to_element(row_weight, r, scale * total);
    }
    tt_tensor *g = a.reduction == REDUCE_NONE ? v_reshape(ctx, dy[Y], 2, column) : dy[Y];
    tt_tensor *slope = node->op->id == TT_OP_nll_loss
                           ? v_neg(ctx, soft_target)
                           : v_sub(ctx, v_mul(ctx, row_weight, v_softmax(ctx, x, 1)), soft_target);
    dx[CROSS_ENTROPY_X] = v_mul(ctx, slope, g);
}

TT_OP(cross_entropy, .inputs = 3, .attributes = cross_entropy_names,
      .indices = BIT(CROSS_ENTROPY_TARGET), .optional = BIT(CROSS_ENTROPY_WEIGHT),
      .keeps = BIT(CROSS_ENTROPY_X) | BIT(CROSS_ENTROPY_TARGET) | BIT(CROSS_ENTROPY_WEIGHT),
      .infer = cross_entropy_infer, .vjp = cross_entropy_vjp)
TT_OP(nll_loss, .inputs = 3, .attributes = cross_entropy_names,
      .indices = BIT(CROSS_ENTROPY_TARGET), .optional = BIT(CROSS_ENTROPY_WEIGHT),
      .keeps = BIT(CROSS_ENTROPY_TARGET) | BIT(CROSS_ENTROPY_WEIGHT), .infer = cross_entropy_infer,
      .vjp = cross_entropy_vjp)

#endif
