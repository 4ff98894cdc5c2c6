/* optim: the updates of the optimisers: one pass over all parameters, split into ranges that
 * threads share. */
#include <float.h>
#include <math.h>

#include "kernel_set.h"
#include "base/parallel.h"

enum { RANGE = 32768 };

/* Lists of leaves of one dtype, each role as long as the list of parameters. */
enum { PARAM, GRAD, FIRST, SECOND, ROLES };

/* An update allocates nothing, so it cannot be refused when others of the same step are done: the
 * plan is on the stack, for so many tensors at a time. */
enum { AT_ONCE = 128 };

typedef struct {
    const tt_kernel_set *kernels;
    tt_tensor *tensors[ROLES][AT_ONCE];
    int64_t first_range[AT_ONCE + 1]; /* of each tensor; one more at the end */
    bool has[ROLES];
    int n, dtype;
    const adam_step *adam;
    const sgd_step *sgd;
    double power, scale, factor, *partial;
} update_plan;

static int64_t ranges_of(const tt_tensor *t) { return (t->numel + RANGE - 1) / RANGE; }

/* Whether every tensor can be updated; `ranges` is how many there are of all parameters. */
static tt_status check_lists(tt_ctx *ctx, const char *op, int n, const tt_handle *const *lists,
                             bool writes, int64_t *ranges)
{
    int dtype = -1;
    *ranges = 0;
    if (n < 0) return tt_fail(TT_ERR_ARG, op, "expected a list of tensors, got %d", n);
    for (int role = 0; role < ROLES; role++) {
        for (int i = 0; i < n && lists[role] != NULL; i++) {
            const tt_tensor *t = handle_tensor(ctx, lists[role][i], op);
            const tt_tensor *like = handle_tensor(ctx, lists[PARAM][i], op);
            if (t == NULL || like == NULL) return TT_ERR_STALE;
            if (dtype < 0) dtype = like->dtype;
            if (!dtype_is_float(t->dtype) || t->dtype != dtype)
                return tt_fail(TT_ERR_DTYPE, op,
                               "tensors must share one floating dtype, got %s and %s",
                               dtype_text(dtype), dtype_text(t->dtype));
            if (!tensor_same_shape(t, like))
                return tt_fail(TT_ERR_SHAPE, op, "shapes %s and %s must be equal", SHAPE_TEXT(like),
                               SHAPE_TEXT(t));
            if (!t->contiguous || (writes && role != GRAD && t->place != PLACE_POOL))
                return tt_fail(TT_ERR_STATE, op, "tensor %d must be a contiguous leaf", i);
            if (role == PARAM) *ranges += ranges_of(t);
        }
    }
    return TT_OK;
}

/* The plan of as many tensors as go into one, from `first` on. */
static void take_lists(tt_ctx *ctx, const char *op, int first, int n, const tt_handle *const *lists,
                       update_plan *p)
{
    p->n = n - first < AT_ONCE ? n - first : AT_ONCE;
    p->first_range[0] = 0;
    for (int role = 0; role < ROLES; role++) {
        p->has[role] = lists[role] != NULL;
        for (int i = 0; i < p->n && p->has[role]; i++)
            p->tensors[role][i] = handle_tensor(ctx, lists[role][first + i], op);
    }
    for (int i = 0; i < p->n; i++)
        p->first_range[i + 1] = p->first_range[i] + ranges_of(p->tensors[PARAM][i]);
    p->dtype = p->tensors[PARAM][0]->dtype;
    p->kernels = kernel_set_for(p->dtype);
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
        if (p->has[role])
            data[role] = (char *)p->tensors[role][low]->data + (size_t)begin * dtype_size(p->dtype);
    }
    if (p->adam != NULL)
        p->kernels->adam(data[PARAM], data[GRAD], data[FIRST], data[SECOND], n, p->adam);
    else if (p->sgd != NULL) p->kernels->sgd(data[PARAM], data[GRAD], data[FIRST], n, p->sgd);
    else if (p->partial != NULL)
        p->partial[shard] = p->kernels->power_sum(data[PARAM], n, p->power, p->scale);
    else p->kernels->scale(data[PARAM], n, p->factor);
}

static tt_status update(tt_ctx *ctx, const char *op, int n, const tt_handle *const *lists,
                        update_plan *p)
{
    int64_t ranges = 0;
    TT_TRY(check_lists(ctx, op, n, lists, true, &ranges));
    ctx_lock_values(ctx);
    for (int first = 0; first < n; first += AT_ONCE) {
        take_lists(ctx, op, first, n, lists, p);
        for (int role = 0; role < ROLES; role++) {
            for (int i = 0; i < p->n && p->has[role] && role != GRAD; i++)
                p->tensors[role][i]->block->version += 1;
        }
        parallel_for(p->first_range[p->n], update_shard, p);
    }
    ctx_unlock_values(ctx);
    return TT_OK;
}

tt_status tt_adam(tt_ctx *ctx, int n, const tt_handle *params, const tt_handle *grads,
                  const tt_handle *exp_avgs, const tt_handle *exp_avg_sqs, int64_t step, double lr,
                  double beta1, double beta2, double eps, double weight_decay, int decoupled,
                  int maximize)
{
    TT_TRY(ctx_enter(ctx, "adam"));
    TT_NEED_LIST("adam", n, params);
    TT_NEED_LIST("adam", n, grads);
    TT_NEED_LIST("adam", n, exp_avgs);
    TT_NEED_LIST("adam", n, exp_avg_sqs);
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
    update_plan p = {.adam = &k};
    return update(ctx, "adam", n, lists, &p);
}

tt_status tt_sgd(tt_ctx *ctx, int n, const tt_handle *params, const tt_handle *grads,
                 const tt_handle *momenta, double lr, double momentum, double dampening,
                 double weight_decay, int nesterov, int maximize, int first)
{
    TT_TRY(ctx_enter(ctx, "sgd"));
    TT_NEED_LIST("sgd", n, params);
    TT_NEED_LIST("sgd", n, grads);
    const tt_handle *lists[ROLES] = {params, grads, momenta, NULL};
    sgd_step k = {.lr = lr,
                  .momentum = momentum,
                  .dampening = dampening,
                  .weight_decay = weight_decay,
                  .sign = maximize ? -1 : 1,
                  .nesterov = nesterov != 0,
                  .first = first != 0};
    update_plan p = {.sgd = &k};
    return update(ctx, "sgd", n, lists, &p);
}

/* sum |scale x|^power over all tensors; for power infinity the largest |scale x|. `partial` has
 * room for one number of each range. */
static double sum_powers(tt_ctx *ctx, int n, const tt_handle *const *lists, double power,
                         double scale, double *partial)
{
    update_plan p = {.power = power, .scale = scale, .partial = partial};
    double total = 0; /* in the order of the ranges, whoever summed them */
    for (int first = 0; first < n; first += AT_ONCE) {
        take_lists(ctx, "clip_grad_norm_", first, n, lists, &p);
        parallel_for(p.first_range[p.n], update_shard, &p);
        for (int64_t i = 0; i < p.first_range[p.n]; i++) {
            if (!isinf(power)) total += partial[i];
            else if (partial[i] > total || isnan(partial[i])) total = partial[i];
        }
    }
    return total;
}

tt_status tt_grad_norm(tt_ctx *ctx, int n, const tt_handle *grads, double norm_type, double *out)
{
    TT_TRY(ctx_enter(ctx, "clip_grad_norm_"));
    TT_NEED("clip_grad_norm_", out);
    TT_NEED_LIST("clip_grad_norm_", n, grads);
    if (!(norm_type > 0))
        return tt_fail(TT_ERR_ARG, "clip_grad_norm_", "norm_type must be positive, got %g",
                       norm_type);
    const tt_handle *lists[ROLES] = {grads, NULL, NULL, NULL};
    int64_t ranges = 0;
    TT_TRY(check_lists(ctx, "clip_grad_norm_", n, lists, false, &ranges));
    arena_reset(&ctx->scratch); /* what a refused call left */
    const size_t size = (size_t)(ranges + 1) * sizeof(double);
    double *partial = ctx_scratch(ctx, "clip_grad_norm_", size);
    if (partial == NULL) return TT_ERR_NOMEM;
    double total = sum_powers(ctx, n, lists, norm_type, 1, partial), largest = 1;
    if (!isinf(norm_type) && !(total >= DBL_MIN / DBL_EPSILON && total <= DBL_MAX)) {
        /* Powers that leave the range of a double: they are taken of numbers up to 1. */
        largest = sum_powers(ctx, n, lists, INFINITY, 1, partial);
        if (largest > DBL_MIN && largest <= DBL_MAX)
            total = sum_powers(ctx, n, lists, norm_type, 1 / largest, partial);
        else largest = 1;
    }
    *out = isinf(norm_type) ? total
                            : largest * (norm_type == 2 ? sqrt(total) : pow(total, 1 / norm_type));
    arena_reset(&ctx->scratch);
    return TT_OK;
}

tt_status tt_scale(tt_ctx *ctx, int n, const tt_handle *tensors, double factor)
{
    TT_TRY(ctx_enter(ctx, "scale"));
    TT_NEED_LIST("scale", n, tensors);
    const tt_handle *lists[ROLES] = {tensors, NULL, NULL, NULL};
    update_plan p = {.factor = factor};
    return update(ctx, "scale", n, lists, &p);
}
