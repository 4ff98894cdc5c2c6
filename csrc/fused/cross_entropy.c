/* cross_entropy: -ln softmax(x)[target] for each row of logits x (N, C) and class indices (N), in
 * nats; and nll_loss, -x[target], for x that holds logarithms already. The third input, weights w
 * of the classes (C), may be absent, which means ones; it is a constant.
 *
 * ints: reduction (0 none, 1 mean, 2 sum), the index that is ignored. reals[0]: label smoothing s,
 * for cross_entropy: a share s of each target goes to all classes alike (Szegedy et al., 2016), so
 * that a row that counts loses (1 - s) w[t] (-ln p[t]) + s/C sum_k w[k] (-ln p[k]). The mean is
 * over the weights of the targets. Saves of each row its largest logit m and ln sum e^(x - m),
 * apart so that large logits lose nothing, and the total of those weights. */
#include "../op.h"

TT_ATTRS(cross_entropy, reduction, ignored, real smoothing)

enum { REDUCE_NONE, REDUCE_MEAN, REDUCE_SUM };

#ifdef TT_KERNELS

typedef struct {
    const T *x; /* (rows, n) */
    const int64_t *target;
    const T *w;        /* (n), or NULL */
    T *most, *log_sum; /* (rows) */
    SUM *loss;         /* (rows); a weight times a loss may be no T, and yet their mean one */
    T *dx;
    const T *dy; /* one, or one for each row */
    int64_t rows, n, ignored, rows_per_shard;
    double total; /* of the weights of the targets that count */
    SUM smoothing, w_sum;
    int reduction;
    bool acc;
} cross_entropy_plan;

static cross_entropy_plan cross_entropy_plan_of(const tt_call *c)
{
    const tt_tensor *x = c->in[0];
    cross_entropy_plan p = {.x = x->data,
                            .target = c->in[1]->data,
                            .w = data_of(c->in[2]),
                            .rows = x->shape[0],
                            .n = x->shape[1],
                            .ignored = c->attrs->ints[1],
                            .rows_per_shard = rows_per_shard(x->shape[1]),
                            .smoothing = c->attrs->reals[0],
                            .reduction = (int)c->attrs->ints[0]};
    p.w_sum = p.w != NULL ? row_sum(p.w, p.n, 1) : (SUM)p.n;
    return p;
}

/* The weight of a row: that of its class. */
static inline SUM weight_of_row(const cross_entropy_plan *p, int64_t r)
{
    if (p->target[r] == p->ignored) return 0;
    return p->w != NULL ? (SUM)p->w[p->target[r]] : 1;
}

/* What the losses of the rows become: their mean, their sum, or themselves. */
static tt_status losses_of_rows(tt_call *c, cross_entropy_plan *p, parallel_fn shard)
{
    double *total = call_save(c, 2, sizeof *total), sum = 0;
    T *y = c->out[0]->data;
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
    p->total = *(const double *)c->saved[2];
    p->dy = c->dy[0];
    p->dx = c->dx[0];
    p->acc = c->acc[0];
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
static SUM weighted_fall(const T *x, const T *w, int64_t n, SUM m)
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
        p->most[r] = line_max(x, p->n, 1);
        p->log_sum[r] = line_exp_sum(x, p->n, 1, p->most[r]);
    }
    for (int64_t r = begin; r < end; r++) p->log_sum[r] = tt_log(p->log_sum[r]);
    for (int64_t r = begin; r < end; r++) {
        const T *x = p->x + r * p->n;
        SUM m = (SUM)p->most[r], log_sum = (SUM)p->log_sum[r];
        p->loss[r] = 0;
        if (p->target[r] == p->ignored) continue;
        p->loss[r] = weight_of_row(p, r) * (log_sum - ((SUM)x[p->target[r]] - m));
        if (p->smoothing > 0)
            p->loss[r] =
                (1 - p->smoothing) * p->loss[r] +
                p->smoothing / (SUM)p->n * (p->w_sum * log_sum + weighted_fall(x, p->w, p->n, m));
    }
}

static tt_status cross_entropy_forward(tt_call *c)
{
    cross_entropy_plan p = cross_entropy_plan_of(c);
    p.log_sum = call_save(c, 0, (size_t)p.rows * sizeof(T));
    p.most = call_save(c, 1, (size_t)p.rows * sizeof(T));
    if (p.log_sum == NULL || p.most == NULL) return TT_ERR_NOMEM;
    return losses_of_rows(c, &p, cross_entropy_shard);
}

/* With a = (1 - s) w[t]:  dx = (softmax(x) (a + s/C sum w) - s/C w - a onehot(t)) g */
static void cross_entropy_backward_shard(void *arg, int64_t shard)
{
    const cross_entropy_plan *p = arg;
    int64_t begin = shard * p->rows_per_shard, end = at_most(begin + p->rows_per_shard, p->rows);
    SUM share = p->smoothing / (SUM)p->n;
    for (int64_t r = begin; r < end; r++) {
        const T *x = p->x + r * p->n;
        T *dx = p->dx + r * p->n, most = p->most[r], log_sum = p->log_sum[r];
        if (p->target[r] == p->ignored) {
            if (!p->acc) memset(dx, 0, (size_t)p->n * sizeof(T));
            continue;
        }
        SUM g = row_gradient(p, r), certain = (1 - p->smoothing) * weight_of_row(p, r) * g;
        T at_target = (T)certain, all = (T)(certain + share * p->w_sum * g), each = (T)(share * g);
        for (int64_t i = 0; i < p->n; i++)
            put(dx + i, tt_exp_negative(x[i] - most - log_sum) * all, p->acc);
        if (p->smoothing > 0)
            for (int64_t i = 0; i < p->n; i++) dx[i] -= p->w != NULL ? each * p->w[i] : each;
        dx[p->target[r]] -= at_target;
    }
}

static tt_status cross_entropy_backward(tt_call *c)
{
    cross_entropy_plan p = cross_entropy_plan_of(c);
    p.log_sum = c->saved[0];
    p.most = c->saved[1];
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
    const tt_tensor *x = c->in[0], *target = c->in[1], *w = c->in[2];
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
        if ((t < 0 || t >= x->shape[1]) && t != c->attrs->ints[1])
            return tt_fail(TT_ERR_INDEX, c->op->name,
                           "target %lld at position %lld is out of range for %lld classes",
                           (long long)t, (long long)i, (long long)x->shape[1]);
    }
    c->spec[0] = (tt_spec){
        .dtype = x->dtype, .ndim = c->attrs->ints[0] == REDUCE_NONE, .shape = {x->shape[0]}};
    return TT_OK;
}

static void add_to_element(tt_tensor *t, int64_t i, double value)
{
    if (t->dtype == TT_FLOAT32) ((float *)t->data)[i] += (float)value;
    else ((double *)t->data)[i] += value;
}

/* dx = (share softmax(x) - certain) dy, where two constants say what the rows count: share (N, 1),
 * which nll_loss does not have, and certain (N, C). */
static void cross_entropy_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy,
                              const bool *need, tt_tensor **dx)
{
    (void)need;
    tt_tensor *x = node->in[0], *w = node->in[2];
    const int64_t *target = node->in[1]->data, reduction = node->attrs.ints[0];
    int64_t rows = x->shape[0], classes = x->shape[1], column[2] = {rows, 1};
    double smoothing = node->attrs.reals[0];
    double scale = reduction == REDUCE_MEAN ? 1.0 / *(const double *)node->saved[2] : 1.0;
    tt_tensor *certain = v_constant(ctx, x->dtype, 2, x->shape, 0.0);
    tt_tensor *share = v_constant(ctx, x->dtype, 2, column, 0.0);
    if (certain == NULL || share == NULL) return;
    for (int64_t r = 0; r < rows; r++) {
        if (target[r] == node->attrs.ints[1]) continue;
        double at_target =
            (1 - smoothing) * (w != NULL ? dtype_float_at(w->dtype, w->data, target[r]) : 1.0);
        double total = at_target;
        add_to_element(certain, r * classes + target[r], scale * at_target);
        for (int64_t i = 0; smoothing > 0 && i < classes; i++) {
            double each = smoothing / (double)classes *
                          (w != NULL ? dtype_float_at(w->dtype, w->data, i) : 1.0);
            total += each;
            add_to_element(certain, r * classes + i, scale * each);
        }
        add_to_element(share, r, scale * total);
    }
    tt_tensor *g = reduction == REDUCE_NONE ? v_reshape(ctx, dy[0], 2, column) : dy[0];
    tt_tensor *slope = node->op->id == TT_OP_nll_loss
                           ? v_neg(ctx, certain)
                           : v_sub(ctx, v_mul(ctx, share, v_softmax(ctx, x, 1)), certain);
    dx[0] = v_mul(ctx, slope, g);
}

TT_OP(cross_entropy, .inputs = 3, .attributes = cross_entropy_names, .indices = 2, .optional = 4,
      .keeps = 7, .infer = cross_entropy_infer, .vjp = cross_entropy_vjp)
TT_OP(nll_loss, .inputs = 3, .attributes = cross_entropy_names, .indices = 2, .optional = 4,
      .keeps = 6, .infer = cross_entropy_infer, .vjp = cross_entropy_vjp)

#endif
