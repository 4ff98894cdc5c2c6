/* optim: one pass over all parameters, cut into ranges that threads share. */
#include "optim.h"

#include <math.h>

#include "op.h"
#include "parallel.h"

enum { RANGE = 32768 };

/* Lists of leaves of one dtype, each role as long as the list of parameters. */
enum { PARAM, GRAD, FIRST, SECOND, ROLES };

typedef struct {
    const tt_kernel_set *kernels;
    tt_tensor **tensors[ROLES];
    int64_t *first_range; /* of each tensor; one more at the end */
    int n, dtype;
    const adam_step *adam;
    const sgd_step *sgd;
    double power, factor, *partial;
} update_plan;

static tt_status collect(tt_ctx *ctx, const char *op, int n, const tt_handle *const *lists,
                         bool writes, update_plan *p)
{
    *p = (update_plan){.n = n};
    arena_reset(&ctx->scratch); /* what a refused call left */
    if (n < 0) return tt_fail(TT_ERR_ARG, op, "expected a list of tensors, got %d", n);
    p->first_range = ctx_scratch(ctx, op, (size_t)(n + 1) * sizeof *p->first_range);
    if (p->first_range == NULL) return TT_ERR_NOMEM;
    p->first_range[0] = 0;
    for (int role = 0; role < ROLES; role++) {
        if (lists[role] == NULL) continue;
        p->tensors[role] = ctx_scratch(ctx, op, (size_t)n * sizeof(tt_tensor *));
        if (p->tensors[role] == NULL) return TT_ERR_NOMEM;
        for (int i = 0; i < n; i++) {
            tt_tensor *t = p->tensors[role][i] = handle_tensor(ctx, lists[role][i], op);
            if (t == NULL) return TT_ERR_STALE;
            const tt_tensor *like = p->tensors[PARAM][i];
            if (!dtype_is_float(t->dtype) || t->dtype != p->tensors[PARAM][0]->dtype)
                return tt_fail(TT_ERR_DTYPE, op,
                               "tensors must share one floating dtype, got %s and %s",
                               dtype_text(p->tensors[PARAM][0]->dtype), dtype_text(t->dtype));
            if (!tensor_same_shape(t, like))
                return tt_fail(TT_ERR_SHAPE, op, "shapes %s and %s must be equal", SHAPE_TEXT(like),
                               SHAPE_TEXT(t));
            if (!t->contiguous || (writes && role != GRAD && t->place != PLACE_POOL))
                return tt_fail(TT_ERR_STATE, op, "tensor %d must be a contiguous leaf", i);
        }
    }
    for (int i = 0; i < n; i++) {
        p->first_range[i + 1] =
            p->first_range[i] + (p->tensors[PARAM][i]->numel + RANGE - 1) / RANGE;
        for (int role = 0; role < ROLES && writes; role++) {
            if (p->tensors[role] != NULL && role != GRAD) p->tensors[role][i]->block->version += 1;
        }
    }
    p->dtype = n > 0 ? p->tensors[PARAM][0]->dtype : TT_FLOAT32;
    p->kernels = kernels_for(p->dtype);
    return TT_OK;
}

static void update_shard(void *arg, int64_t shard)
{
    const update_plan *p = arg;
    int low = 0, high = p->n; /* the tensor whose ranges hold this shard */
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (p->first_range[middle] <= shard) low = middle;
        else high = middle;
    }
    int64_t begin = (shard - p->first_range[low]) * RANGE, numel = p->tensors[PARAM][low]->numel;
    int64_t n = numel - begin < RANGE ? numel - begin : RANGE;
    char *data[ROLES] = {NULL};
    for (int role = 0; role < ROLES; role++) {
        if (p->tensors[role] != NULL)
            data[role] = (char *)p->tensors[role][low]->data + (size_t)begin * dtype_size(p->dtype);
    }
    if (p->adam != NULL)
        p->kernels->adam(data[PARAM], data[GRAD], data[FIRST], data[SECOND], n, p->adam);
    else if (p->sgd != NULL) p->kernels->sgd(data[PARAM], data[GRAD], data[FIRST], n, p->sgd);
    else if (p->partial != NULL)
        p->partial[shard] = p->kernels->power_sum(data[PARAM], n, p->power);
    else p->kernels->scale(data[PARAM], n, p->factor);
}

static tt_status finish(tt_ctx *ctx, update_plan *p)
{
    if (p->n > 0) parallel_for(p->first_range[p->n], update_shard, p);
    arena_reset(&ctx->scratch);
    return TT_OK;
}

tt_status tt_adam(tt_ctx *ctx, int n, const tt_handle *params, const tt_handle *grads,
                  const tt_handle *exp_avgs, const tt_handle *exp_avg_sqs, int64_t step, double lr,
                  double beta1, double beta2, double eps, double weight_decay, int decoupled,
                  int maximize)
{
    TT_TRY(ctx_enter(ctx, "adam"));
    if (step < 1)
        return tt_fail(TT_ERR_ARG, "adam", "step counts from 1, got %lld", (long long)step);
    const tt_handle *lists[ROLES] = {params, grads, exp_avgs, exp_avg_sqs};
    adam_step k = {
        .step_size = lr / (1 - pow(beta1, (double)step)),
        .beta1 = beta1,
        .beta2 = beta2,
        .eps = eps,
        .root_bias2 = sqrt(1 - pow(beta2, (double)step)),
        .shrink = decoupled ? 1 - lr * weight_decay : 1,
        .l2 = decoupled ? 0 : weight_decay,
        .sign = maximize ? -1 : 1,
    };
    update_plan p;
    TT_TRY(collect(ctx, "adam", n, lists, true, &p));
    p.adam = &k;
    return finish(ctx, &p);
}

tt_status tt_sgd(tt_ctx *ctx, int n, const tt_handle *params, const tt_handle *grads,
                 const tt_handle *momenta, double lr, double momentum, double dampening,
                 double weight_decay, int nesterov, int maximize, int first)
{
    TT_TRY(ctx_enter(ctx, "sgd"));
    const tt_handle *lists[ROLES] = {params, grads, momenta, NULL};
    sgd_step k = {.lr = lr,
                  .momentum = momentum,
                  .dampening = dampening,
                  .weight_decay = weight_decay,
                  .sign = maximize ? -1 : 1,
                  .nesterov = nesterov != 0,
                  .first = first != 0};
    update_plan p;
    TT_TRY(collect(ctx, "sgd", n, lists, true, &p));
    p.sgd = &k;
    return finish(ctx, &p);
}

tt_status tt_grad_norm(tt_ctx *ctx, int n, const tt_handle *grads, double norm_type, double *out)
{
    TT_TRY(ctx_enter(ctx, "clip_grad_norm_"));
    if (!(norm_type > 0))
        return tt_fail(TT_ERR_ARG, "clip_grad_norm_", "norm_type must be positive, got %g",
                       norm_type);
    const tt_handle *lists[ROLES] = {grads, NULL, NULL, NULL};
    update_plan p;
    TT_TRY(collect(ctx, "clip_grad_norm_", n, lists, false, &p));
    int64_t ranges = p.first_range[n];
    p.power = norm_type;
    p.partial = ctx_scratch(ctx, "clip_grad_norm_", (size_t)(ranges + 1) * sizeof *p.partial);
    if (p.partial == NULL) return TT_ERR_NOMEM;
    if (ranges > 0) parallel_for(ranges, update_shard, &p);
    double total = 0; /* in the order of the ranges, whoever summed them */
    for (int64_t i = 0; i < ranges; i++) {
        if (!isinf(norm_type)) total += p.partial[i];
        else if (p.partial[i] > total || isnan(p.partial[i])) total = p.partial[i];
    }
    *out = isinf(norm_type) ? total : norm_type == 2 ? sqrt(total) : pow(total, 1 / norm_type);
    arena_reset(&ctx->scratch);
    return TT_OK;
}

tt_status tt_scale(tt_ctx *ctx, int n, const tt_handle *tensors, double factor)
{
    TT_TRY(ctx_enter(ctx, "scale"));
    const tt_handle *lists[ROLES] = {tensors, NULL, NULL, NULL};
    update_plan p;
    TT_TRY(collect(ctx, "scale", n, lists, true, &p));
    p.factor = factor;
    return finish(ctx, &p);
}
