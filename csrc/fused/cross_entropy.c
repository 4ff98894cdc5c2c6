/* cross_entropy: -ln softmax(x)[target] for each row of logits x (N, C) and class indices (N), in
 * nats. ints: reduction (0 none, 1 mean over rows that count, 2 sum), the index that is ignored.
 * Saves of each row its largest logit m and ln sum e^(x - m), apart so that large logits lose
 * nothing, and the number of rows that count. */
#include "../op.h"

enum { REDUCE_NONE, REDUCE_MEAN, REDUCE_SUM };

#ifdef TT_KERNELS

typedef struct {
    const T *x; /* (rows, n) */
    const int64_t *target;
    T *loss, *most, *log_sum; /* (rows) */
    T *dx;
    const T *dy; /* one, or one for each row */
    int64_t rows, n, ignored, rows_per_shard;
    double counted;
    int reduction;
    bool acc;
} cross_entropy_plan;

static cross_entropy_plan cross_entropy_plan_of(const tt_call *c)
{
    const tt_tensor *x = c->in[0];
    return (cross_entropy_plan){.x = x->data,
                                .target = c->in[1]->data,
                                .rows = x->shape[0],
                                .n = x->shape[1],
                                .ignored = c->attrs->ints[1],
                                .rows_per_shard = rows_per_shard(x->shape[1]),
                                .reduction = (int)c->attrs->ints[0]};
}

static void cross_entropy_shard(void *arg, int64_t shard)
{
    const cross_entropy_plan *p = arg;
    int64_t begin = shard * p->rows_per_shard, end = at_most(begin + p->rows_per_shard, p->rows);
    for (int64_t r = begin; r < end; r++) {
        const T *x = p->x + r * p->n;
        T m = line_max(x, p->n, 1);
        p->most[r] = m;
        p->log_sum[r] = line_log_sum(x, p->n, 1, m);
        p->loss[r] = p->target[r] == p->ignored ? 0 : p->log_sum[r] - (x[p->target[r]] - m);
    }
}

static tt_status cross_entropy_forward(tt_call *c)
{
    cross_entropy_plan p = cross_entropy_plan_of(c);
    p.log_sum = call_save(c, 0, (size_t)p.rows * sizeof(T));
    p.most = call_save(c, 1, (size_t)p.rows * sizeof(T));
    double *counted = call_save(c, 2, sizeof *counted);
    p.loss =
        p.reduction == REDUCE_NONE ? c->out[0]->data : call_scratch(c, (size_t)p.rows * sizeof(T));
    if (p.log_sum == NULL || p.most == NULL || counted == NULL || p.loss == NULL)
        return TT_ERR_NOMEM;
    parallel_for(shards_of(p.rows, p.rows_per_shard), cross_entropy_shard, &p);
    *counted = 0;
    for (int64_t r = 0; r < p.rows; r++) *counted += p.target[r] != p.ignored;
    if (p.reduction == REDUCE_NONE) return TT_OK;
    double total = row_sum(p.loss, p.rows, 1);
    *(T *)c->out[0]->data = (T)(p.reduction == REDUCE_MEAN ? total / *counted : total);
    return TT_OK;
}

/* dx = (softmax(x) - onehot(target)) dy, scaled as the reduction says */
static void cross_entropy_backward_shard(void *arg, int64_t shard)
{
    const cross_entropy_plan *p = arg;
    int64_t begin = shard * p->rows_per_shard, end = at_most(begin + p->rows_per_shard, p->rows);
    for (int64_t r = begin; r < end; r++) {
        const T *x = p->x + r * p->n;
        T *dx = p->dx + r * p->n, most = p->most[r], log_sum = p->log_sum[r];
        T g = p->dy[p->reduction == REDUCE_NONE ? r : 0];
        if (p->reduction == REDUCE_MEAN) g = (T)((double)g / p->counted);
        if (p->target[r] == p->ignored) {
            if (!p->acc) memset(dx, 0, (size_t)p->n * sizeof(T));
            continue;
        }
        for (int64_t i = 0; i < p->n; i++) put(dx + i, tt_exp(x[i] - most - log_sum) * g, p->acc);
        dx[p->target[r]] -= g;
    }
}

static tt_status cross_entropy_backward(tt_call *c)
{
    cross_entropy_plan p = cross_entropy_plan_of(c);
    p.log_sum = c->saved[0];
    p.most = c->saved[1];
    p.counted = *(const double *)c->saved[2];
    p.dy = c->dy[0];
    p.dx = c->dx[0];
    p.acc = c->acc[0];
    parallel_for(shards_of(p.rows, p.rows_per_shard), cross_entropy_backward_shard, &p);
    return TT_OK;
}
TT_KERNELS_OF(cross_entropy, cross_entropy_forward, cross_entropy_backward)

#else

static tt_status cross_entropy_infer(tt_call *c)
{
    const tt_tensor *x = c->in[0], *target = c->in[1];
    if (x->ndim != 2 || target->ndim != 1 || x->shape[0] != target->shape[0] || x->shape[1] < 1)
        return tt_fail(TT_ERR_SHAPE, c->op->name,
                       "expected logits (N, C) and targets (N), got %s and %s", SHAPE_TEXT(x),
                       SHAPE_TEXT(target));
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

/* A constant (N, C) or (N, 1) table of floats on the tape, written element by element. */
static void set_element(tt_tensor *t, int64_t i, double value)
{
    if (t->dtype == TT_FLOAT32) ((float *)t->data)[i] = (float)value;
    else ((double *)t->data)[i] = value;
}

static void cross_entropy_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy,
                              const bool *need, tt_tensor **dx)
{
    (void)need;
    tt_tensor *x = node->in[0];
    const int64_t *target = node->in[1]->data, reduction = node->attrs.ints[0];
    int64_t rows = x->shape[0], classes = x->shape[1], column[2] = {rows, 1};
    double counted = *(const double *)node->saved[2];
    tt_tensor *onehot = v_constant(ctx, x->dtype, 2, x->shape, 0.0);
    tt_tensor *weight =
        v_constant(ctx, x->dtype, 2, column, reduction == REDUCE_MEAN ? 1.0 / counted : 1.0);
    if (onehot == NULL || weight == NULL) return;
    for (int64_t r = 0; r < rows; r++) {
        if (target[r] == node->attrs.ints[1]) set_element(weight, r, 0.0);
        else set_element(onehot, r * classes + target[r], 1.0);
    }
    tt_tensor *g = reduction == REDUCE_NONE ? v_reshape(ctx, dy[0], 2, column) : dy[0];
    dx[0] = v_mul(ctx, v_sub(ctx, v_softmax(ctx, x, 1), onehot), v_mul(ctx, weight, g));
}

TT_OP(cross_entropy, .inputs = 2, .indices = 2, .keeps = 3, .infer = cross_entropy_infer,
      .vjp = cross_entropy_vjp)

#endif
