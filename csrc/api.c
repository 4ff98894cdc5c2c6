/* api: the public functions on contexts and single tensors. Those that run operations, go backward,
 * write in place or update parameters are in apply.c, pass.c, assign.c and optim.c. */
#include <string.h>

#include "pass.h"
#include "random.h"
#include "release.h"
#include "base/parallel.h"
#include "base/simd_level.h"
#include "tensor/assign.h"
#include "tensor/copy.h"

/* ---- contexts ---- */

tt_ctx *tt_ctx_new(void) { return ctx_new(); }

void tt_ctx_free(tt_ctx *ctx)
{
    if (ctx == NULL) return;
    pass_give_up(ctx);
    for (uint32_t i = 0; i < ctx->handles.count;
         i++) { /* step tensors end with the tape, others by their count */
        tt_tensor *t = ctx->handles.slots[i].tensor;
        if (t != NULL && t->place == PLACE_POOL) tensor_unref(ctx, t);
    }
    release_all(ctx);
    while (tt_ended(ctx) != 0) {}
    ctx_delete(ctx);
}

void tt_ctx_close(tt_ctx *ctx)
{
    if (ctx == NULL) return;
    ctx_lock_closing();
    ctx->closing = true;
    bool last = ctx->handles.live == 0;
    ctx_unlock_closing();
    if (last) tt_ctx_free(ctx);
}

/* Releases one handle; the tape is released with the last handle to a step tensor. */
static tt_status release_hold(tt_ctx *ctx, tt_handle h)
{
    TT_TRY(handle_release(ctx, h));
    release_if_unheld(ctx);
    return TT_OK;
}

tt_status tt_release(tt_ctx *ctx, tt_handle h)
{
    TT_NEED("release", ctx);
    if (!ctx->closing) {
        TT_TRY(ctx_enter(ctx, "release"));
        return release_hold(ctx, h);
    }
    ctx_lock_closing();
    tt_status status = release_hold(ctx, h);
    bool last = ctx->handles.live == 0;
    ctx_unlock_closing();
    if (last) tt_ctx_free(ctx);
    return status;
}

tt_status tt_memory_stats(tt_ctx *ctx, tt_memory *out)
{
    TT_TRY(ctx_enter(ctx, "memory_stats"));
    TT_NEED("memory_stats", out);
    *out = (tt_memory){
        .step_used = (int64_t)ctx->step.used,
        .step_high_water = (int64_t)ctx->step.high_water,
        .step_capacity = (int64_t)ctx->step.capacity,
        .step_chunks = (int64_t)ctx->step.chunks,
        .kept_used = (int64_t)ctx->kept.used,
        .kept_capacity = (int64_t)ctx->kept.capacity,
        .scratch_high_water = (int64_t)ctx->scratch.high_water,
        .scratch_capacity = (int64_t)ctx->scratch.capacity,
        .pool_cached_bytes = ctx->pool.cached_bytes,
        .tape_nodes = ctx->tape.nodes,
        .held_tensors = ctx->tape.held.count + ctx->tape.kept.count,
        .live_handles = ctx->handles.live,
    };
    memcpy(out->pool_bytes, ctx->pool.bytes, sizeof out->pool_bytes);
    memcpy(out->pool_blocks, ctx->pool.blocks, sizeof out->pool_blocks);
    mem_stats(out);
    return TT_OK;
}

tt_status tt_empty_cache(tt_ctx *ctx)
{
    TT_TRY(ctx_enter(ctx, "empty_cache"));
    block_pool_empty(&ctx->pool);
    if (ctx->tape.newest == NULL && ctx->tape.pass == NULL) {
        arena_free(&ctx->step);
        arena_free(&ctx->kept);
        ctx->step.high_water = ctx->kept.high_water = 0;
    }
    arena_free(&ctx->scratch);
    ctx->scratch.high_water = 0;
    return TT_OK;
}

/* ---- tensors ---- */

/* A handle to a new pool tensor, which takes over its one reference. */
static tt_status new_handle(tt_ctx *ctx, tt_tensor *t, tt_handle *out)
{
    if (t == NULL) return (tt_status)tt_error_code();
    *out = handle_for(ctx, t);
    if (*out != 0) return TT_OK;
    tensor_unref(ctx, t);
    return TT_ERR_NOMEM;
}

tt_status tt_new(tt_ctx *ctx, int pool, int dtype, int ndim, const int64_t *shape, const void *data,
                 tt_handle *out)
{
    TT_TRY(ctx_enter(ctx, "tensor"));
    TT_NEED("tensor", out);
    TT_NEED_LIST("tensor", ndim, shape);
    if (pool < 0 || pool >= TT_POOL_META)
        return tt_fail(TT_ERR_ARG, "tensor", "unknown pool %d", pool);
    tt_tensor *t = tensor_new_pool(ctx, "tensor", (tt_pool)pool, dtype, ndim, shape);
    if (t != NULL && data != NULL) memcpy(t->data, data, tensor_bytes(t));
    if (t != NULL && data == NULL) memset(t->data, 0, tensor_bytes(t));
    return new_handle(ctx, t, out);
}

tt_status tt_number(tt_ctx *ctx, int dtype, const void *value, tt_handle *out)
{
    TT_TRY(ctx_enter(ctx, "number"));
    TT_NEED("number", out);
    tt_tensor *t = tensor_new_pool(ctx, "number", TT_POOL_DATA, dtype, 0, NULL);
    if (t != NULL) {
        t->number = true;
        if (value != NULL) memcpy(t->data, value, tensor_bytes(t));
        else memset(t->data, 0, tensor_bytes(t));
    }
    return new_handle(ctx, t, out);
}

tt_status tt_hold(tt_ctx *ctx, tt_handle h, tt_handle *out)
{
    TT_TRY(ctx_enter(ctx, "hold"));
    TT_NEED("hold", out);
    tt_tensor *t = handle_tensor(ctx, h, "hold");
    return t != NULL ? handle_hold(ctx, t, out) : TT_ERR_STALE;
}

int tt_used_by_tape(tt_ctx *ctx, tt_handle h)
{
    const tt_tensor *t = ctx != NULL ? handle_tensor(ctx, h, "release") : NULL;
    return t != NULL && t->place == PLACE_POOL && t->refs > 1;
}

/* Another thread than the owner may read, under the lock. */
static bool is_elsewhere(const tt_ctx *ctx)
{
    return ctx != NULL && !pthread_equal(ctx->owner, pthread_self());
}

static tt_status begin_reading(tt_ctx *ctx, const char *op)
{
    if (!is_elsewhere(ctx)) return ctx_enter(ctx, op);
    ctx_lock_values(ctx);
    return TT_OK;
}

static void end_reading(tt_ctx *ctx)
{
    if (is_elsewhere(ctx)) ctx_unlock_values(ctx);
}

static tt_status info(tt_ctx *ctx, tt_handle h, int64_t *out)
{
    const tt_tensor *t = handle_tensor(ctx, h, "info");
    if (t == NULL) return TT_ERR_STALE;
    const int64_t head[6] = {t->dtype,         t->ndim,
                             t->requires_grad, t->node == NULL && !t->graph_freed,
                             t->contiguous,    t->numel};
    memcpy(out, head, sizeof head);
    memcpy(out + 6, t->shape, t->ndim * sizeof out[0]);
    memcpy(out + 6 + t->ndim, t->strides, t->ndim * sizeof out[0]);
    return TT_OK;
}

tt_status tt_info(tt_ctx *ctx, tt_handle h, int64_t *out)
{
    TT_NEED("info", out);
    TT_TRY(begin_reading(ctx, "info"));
    tt_status status = info(ctx, h, out);
    end_reading(ctx);
    return status;
}

static tt_status read_values(tt_ctx *ctx, tt_handle h, void *dst, int64_t nbytes)
{
    const tt_tensor *t = handle_tensor(ctx, h, "read");
    if (t == NULL) return TT_ERR_STALE;
    TT_TRY(tensor_check_bytes(t, nbytes, "read"));
    TT_NEED_LIST("read", nbytes, dst);
    copy_gather(dst, t);
    return TT_OK;
}

tt_status tt_read(tt_ctx *ctx, tt_handle h, void *dst, int64_t nbytes)
{
    TT_TRY(begin_reading(ctx, "read"));
    tt_status status = read_values(ctx, h, dst, nbytes);
    end_reading(ctx);
    return status;
}

tt_status tt_copy_to_pool(tt_ctx *ctx, tt_handle h, int pool, tt_handle *out)
{
    TT_TRY(ctx_enter(ctx, "clone"));
    TT_NEED("clone", out);
    const tt_tensor *t = handle_tensor(ctx, h, "clone");
    if (t == NULL) return TT_ERR_STALE;
    if (pool < 0 || pool >= TT_POOL_META)
        return tt_fail(TT_ERR_ARG, "clone", "unknown pool %d", pool);
    tt_tensor *copy = tensor_new_pool(ctx, "clone", (tt_pool)pool, t->dtype, t->ndim, t->shape);
    if (copy != NULL) copy_gather(copy->data, t);
    return new_handle(ctx, copy, out);
}

tt_status tt_detach(tt_ctx *ctx, tt_handle h, tt_handle *out)
{
    TT_TRY(ctx_enter(ctx, "detach"));
    TT_NEED("detach", out);
    const tt_tensor *t = handle_tensor(ctx, h, "detach");
    if (t == NULL) return TT_ERR_STALE;
    /* Storage in the arena ends with the step, so it is copied; other storage is shared. */
    if (t->block == NULL) return tt_copy_to_pool(ctx, h, TT_POOL_DATA, out);
    return new_handle(ctx, tensor_new_view(ctx, t), out);
}

tt_status tt_set_requires_grad(tt_ctx *ctx, tt_handle h, int requires_grad)
{
    TT_TRY(ctx_enter(ctx, "requires_grad_"));
    tt_tensor *t = handle_tensor(ctx, h, "requires_grad_");
    if (t == NULL) return TT_ERR_STALE;
    if (t->node != NULL || t->graph_freed)
        return tt_fail(TT_ERR_STATE, "requires_grad_",
                       "only leaf tensors can change requires_grad: use detach() first");
    if (requires_grad && !dtype_is_float(t->dtype))
        return tt_fail(TT_ERR_DTYPE, "requires_grad_",
                       "only floating tensors can require gradients, this one is %s",
                       dtype_text(t->dtype));
    t->requires_grad = requires_grad != 0;
    return TT_OK;
}

tt_status tt_retire(tt_ctx *ctx, tt_handle h)
{
    TT_TRY(ctx_enter(ctx, "retire"));
    tt_tensor *t = handle_tensor(ctx, h, "retire");
    if (t == NULL) return TT_ERR_STALE;
    t->retired = true;
    return TT_OK;
}

tt_status tt_get_grad(tt_ctx *ctx, tt_handle h, tt_handle *out)
{
    TT_TRY(ctx_enter(ctx, "grad"));
    TT_NEED("grad", out);
    tt_tensor *t = handle_tensor(ctx, h, "grad");
    if (t == NULL) return TT_ERR_STALE;
    *out = 0;
    return t->grad != NULL ? handle_hold(ctx, t->grad, out) : TT_OK;
}

tt_status tt_set_grad(tt_ctx *ctx, tt_handle h, tt_handle grad)
{
    TT_TRY(ctx_enter(ctx, "grad"));
    tt_tensor *t = handle_tensor(ctx, h, "grad");
    if (t == NULL) return TT_ERR_STALE;
    if (ctx->tape.pass != NULL)
        return tt_fail(TT_ERR_STATE, "grad", "cannot be set while a backward pass is under way");
    tt_tensor *g = NULL;
    if (grad != 0) {
        g = handle_tensor(ctx, grad, "grad");
        if (g == NULL) return TT_ERR_STALE;
        if (g->dtype != t->dtype)
            return tt_fail(TT_ERR_DTYPE, "grad", "the gradient of a %s tensor cannot be %s",
                           dtype_text(t->dtype), dtype_text(g->dtype));
        if (!tensor_same_shape(g, t))
            return tt_fail(TT_ERR_SHAPE, "grad",
                           "the gradient of a tensor of shape %s cannot have shape %s",
                           SHAPE_TEXT(t), SHAPE_TEXT(g));
        if (t->node != NULL || t->graph_freed)
            return tt_fail(TT_ERR_STATE, "grad", "only leaf tensors have a grad");
        if (g->place != PLACE_POOL || g->node != NULL || !g->contiguous || g == t)
            return tt_fail(
                TT_ERR_STATE, "grad",
                "a gradient must be a contiguous leaf: use detach() or contiguous() first");
        g->refs += 1;
    }
    tensor_unref(ctx, t->grad);
    t->grad = g;
    return TT_OK;
}

tt_status tt_random_fill(tt_ctx *ctx, tt_handle h, int kind, uint64_t seed, uint64_t stream,
                         uint64_t offset, double a, double b)
{
    tt_tensor *t = NULL;
    TT_TRY(ctx_enter(ctx, "random"));
    TT_TRY(assign_writable(ctx, h, "random", &t));
    if (!dtype_is_float(t->dtype) || !t->contiguous)
        return tt_fail(TT_ERR_DTYPE, "random",
                       "only contiguous floating tensors are filled at random");
    double scale = kind == 0 ? b - a : b;
    ctx_lock_values(ctx);
    if (t->dtype == TT_FLOAT32) {
        float *x = t->data;
        (kind == 0 ? philox_uniform_f32 : philox_normal_f32)(seed, stream, offset, t->numel, x);
        for (int64_t i = 0; i < t->numel; i++) x[i] = (float)a + (float)scale * x[i];
    } else {
        double *x = t->data;
        (kind == 0 ? philox_uniform_f64 : philox_normal_f64)(seed, stream, offset, t->numel, x);
        for (int64_t i = 0; i < t->numel; i++) x[i] = a + scale * x[i];
    }
    ctx_unlock_values(ctx);
    t->block->version += 1;
    return TT_OK;
}

void tt_philox_u64(uint64_t seed, uint64_t stream, uint64_t offset, int64_t n, uint64_t *out)
{
    if (n > 0 && out != NULL) philox_fill_u64(seed, stream, offset, n, out);
}

tt_status tt_set_grad_enabled(tt_ctx *ctx, int enabled, int *before)
{
    TT_TRY(ctx_enter(ctx, "set_grad_enabled"));
    if (before != NULL) *before = ctx->grad_enabled;
    ctx->grad_enabled = enabled != 0;
    return TT_OK;
}

int tt_is_grad_enabled(const tt_ctx *ctx) { return ctx != NULL && ctx->grad_enabled; }

int tt_set_num_threads(int n) { return parallel_set_threads(n); }
int tt_get_num_threads(void) { return parallel_get_threads(); }
int tt_simd_requested_ok(void) { return simd_level_requested_ok(); }
