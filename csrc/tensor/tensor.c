/* tensor: shape, strides, dtype and storage. */
#include "tensor.h"

#include <string.h>

#include "hooks.h"
#include "context.h"

tt_status tensor_set_shape(tt_tensor *t, const char *op, int dtype, int ndim, const int64_t *shape)
{
    if (dtype < 0 || dtype >= TT_DTYPE_COUNT)
        return tt_fail(TT_ERR_DTYPE, op, "unknown dtype %d", dtype);
    if (ndim < 0 || ndim > TT_MAX_DIMS)
        return tt_fail(TT_ERR_SHAPE, op, "a tensor has 0 to %d dimensions, got %d", TT_MAX_DIMS,
                       ndim);
    int64_t numel = 1;
    int64_t span = 1; /* the product without zero sizes, so that strides stay in range */
    for (int i = ndim - 1; i >= 0; i--) {
        if (shape[i] < 0)
            return tt_fail(TT_ERR_SHAPE, op, "sizes must not be negative, got %s",
                           shape_text(ndim, shape));
        t->shape[i] = shape[i];
        t->strides[i] = span;
        numel *= shape[i] == 0 ? 0 : 1;
        if (__builtin_mul_overflow(span, shape[i] > 0 ? shape[i] : 1, &span) ||
            span > INT64_MAX / 16)
            return tt_fail(TT_ERR_NOMEM, op, "a tensor of shape %s has too many elements",
                           shape_text(ndim, shape));
    }
    t->numel = numel == 0 ? 0 : span;
    t->dtype = (uint8_t)dtype;
    t->ndim = (uint8_t)ndim;
    t->contiguous = true;
    return TT_OK;
}

void tensor_dense_strides(int ndim, const int64_t *shape, int64_t *strides)
{
    int64_t stride = 1;
    for (int i = ndim - 1; i >= 0; i--) {
        strides[i] = stride;
        stride *= shape[i] > 0 ? shape[i] : 1;
    }
}

bool tensor_strides_contiguous(const tt_tensor *t)
{
    if (t->numel <= 1) return true;
    int64_t expected = 1;
    for (int i = t->ndim - 1; i >= 0; i--) {
        if (t->shape[i] != 1 && t->strides[i] != expected) return false;
        expected *= t->shape[i];
    }
    return true;
}

bool tensor_same_shape(const tt_tensor *a, const tt_tensor *b)
{
    return a->ndim == b->ndim &&
           memcmp(a->shape, b->shape, (size_t)a->ndim * sizeof a->shape[0]) == 0;
}

tt_status tensor_check_bytes(const tt_tensor *t, int64_t nbytes, const char *op)
{
    if ((int64_t)tensor_bytes(t) == nbytes) return TT_OK;
    return tt_fail(TT_ERR_SHAPE, op, "a %s tensor of shape %s has %zu bytes, got %lld",
                   dtype_text(t->dtype), SHAPE_TEXT(t), tensor_bytes(t), (long long)nbytes);
}

static tt_tensor *struct_new_pool(tt_ctx *ctx)
{
    tt_block *self = block_new(&ctx->pool, TT_POOL_META, sizeof(tt_tensor));
    if (self == NULL) return NULL;
    tt_tensor *t = block_data(self);
    *t = (tt_tensor){.self = self, .place = PLACE_POOL, .refs = 1};
    return t;
}

tt_tensor *tensor_new_pool(tt_ctx *ctx, const char *op, tt_pool pool, int dtype, int ndim,
                           const int64_t *shape)
{
    static const char *const names[TT_POOL_COUNT] = {"parameters", "state", "data", "meta"};
    tt_tensor checked = {0};
    if (tensor_set_shape(&checked, op, dtype, ndim, shape) != TT_OK) return NULL;
    tt_tensor *t = struct_new_pool(ctx);
    if (t != NULL && tensor_set_shape(t, op, dtype, ndim, shape) == TT_OK) {
        t->block = block_new(&ctx->pool, pool, tensor_bytes(t));
        if (t->block != NULL) {
            t->data = block_data(t->block);
            return t;
        }
    }
    if (t != NULL) block_unref(&ctx->pool, t->self);
    mem_exhausted(op, names[pool], tensor_bytes(&checked));
    return NULL;
}

tt_tensor *tensor_new_view(tt_ctx *ctx, const tt_tensor *like)
{
    tt_tensor *t = struct_new_pool(ctx);
    if (t == NULL) {
        mem_exhausted("view", "meta", sizeof(tt_tensor));
        return NULL;
    }
    memcpy(t->shape, like->shape, sizeof t->shape);
    memcpy(t->strides, like->strides, sizeof t->strides);
    t->numel = like->numel;
    t->dtype = like->dtype;
    t->ndim = like->ndim;
    t->contiguous = like->contiguous;
    t->data = like->data;
    t->block = like->block;
    if (t->block != NULL) t->block->refs += 1;
    return t;
}

void tensor_unref(tt_ctx *ctx, tt_tensor *t)
{
    if (t == NULL || t->place != PLACE_POOL || --t->refs > 0) return;
    tensor_unref(ctx, t->grad);
    hook_end(ctx, &t->hook);
    block_unref(&ctx->pool, t->block);
    block_unref(&ctx->pool, t->self);
}

tt_tensor *tensor_new_arena(tt_ctx *ctx, const char *op, tt_place place, int dtype, int ndim,
                            const int64_t *shape, bool with_data)
{
    arena *a = place == PLACE_STEP ? &ctx->step : &ctx->scratch;
    tt_tensor *t = arena_alloc(a, sizeof *t);
    if (t != NULL) {
        *t = (tt_tensor){.place = (uint8_t)place};
        if (tensor_set_shape(t, op, dtype, ndim, shape) != TT_OK) return NULL;
        if (!with_data) return t;
        t->data = arena_alloc(a, tensor_bytes(t));
        if (t->data != NULL) return t;
    }
    mem_exhausted(op, place == PLACE_STEP ? "step" : "scratch",
                  t != NULL ? tensor_bytes(t) : sizeof *t);
    return NULL;
}

void tensor_fill(tt_tensor *t, double value)
{
    if (t->dtype == TT_FLOAT32) {
        for (int64_t i = 0; i < t->numel; i++) ((float *)t->data)[i] = (float)value;
    } else {
        for (int64_t i = 0; i < t->numel; i++) ((double *)t->data)[i] = value;
    }
}
