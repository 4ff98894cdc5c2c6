/* tensor: shape, strides, dtype, storage; and the handles by which the outside names tensors. */
#include "tensor.h"

#include <string.h>

#include "attached.h"
#include "context.h"
#include "tape.h"

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
    out_of_memory(op, names[pool], tensor_bytes(&checked));
    return NULL;
}

tt_tensor *tensor_new_view(tt_ctx *ctx, const tt_tensor *like)
{
    tt_tensor *t = struct_new_pool(ctx);
    if (t == NULL) {
        out_of_memory("view", "meta", sizeof(tt_tensor));
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
    attached_end(ctx, &t->hook);
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
    out_of_memory(op, place == PLACE_STEP ? "step" : "scratch",
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

/* Handles: generation in the high half, slot + 1 in the low, so that 0 is never one. */
static tt_status table_grow(handle_table *table, const char *op)
{
    uint32_t capacity = table->capacity == 0 ? 256 : table->capacity * 2;
    tt_slot *slots = mem_alloc(capacity * sizeof *slots);
    if (slots == NULL) return out_of_memory(op, "handles", capacity * sizeof *slots);
    if (table->count > 0) memcpy(slots, table->slots, table->count * sizeof *slots);
    mem_free(table->slots);
    table->slots = slots;
    table->capacity = capacity;
    return TT_OK;
}

tt_status handle_reserve(tt_ctx *ctx, const char *op, uint32_t n)
{
    handle_table *table = &ctx->handles;
    uint32_t at_hand = table->capacity - table->count;
    for (uint32_t slot = table->first_free; slot != 0 && at_hand < n; at_hand++)
        slot = table->slots[slot - 1].next_free;
    return at_hand < n ? table_grow(table, op) : TT_OK;
}

static void hold_link(tt_ctx *ctx, tt_tensor *t)
{
    tt_tape *tape = &ctx->tape;
    t->held_prev = NULL;
    t->held_next = tape->held;
    if (tape->held != NULL) tape->held->held_prev = t;
    tape->held = t;
    tape->held_count += 1;
}

static void hold_unlink(tt_ctx *ctx, tt_tensor *t)
{
    tt_tape *tape = &ctx->tape;
    if (t->held_prev != NULL) t->held_prev->held_next = t->held_next;
    else tape->held = t->held_next;
    if (t->held_next != NULL) t->held_next->held_prev = t->held_prev;
    tape->held_count -= 1;
}

tt_handle handle_for(tt_ctx *ctx, tt_tensor *t)
{
    handle_table *table = &ctx->handles;
    if (t->handles == 0) {
        uint32_t slot = table->first_free;
        if (slot != 0) {
            table->first_free = table->slots[slot - 1].next_free;
        } else {
            if (table->count == table->capacity && table_grow(table, "handle") != TT_OK) return 0;
            slot = ++table->count;
            table->slots[slot - 1] = (tt_slot){.generation = 0};
        }
        table->slots[slot - 1].tensor = t;
        table->slots[slot - 1].generation = (table->slots[slot - 1].generation + 1) & 0x7fffffff;
        t->slot = slot;
        table->live += 1;
        if (t->place == PLACE_STEP) hold_link(ctx, t);
    }
    t->handles += 1;
    return (tt_handle)((uint64_t)table->slots[t->slot - 1].generation << 32 | t->slot);
}

tt_status handle_hold(tt_ctx *ctx, tt_tensor *t, tt_handle *out)
{
    bool fresh = t->handles == 0;
    *out = handle_for(ctx, t);
    if (*out == 0) return TT_ERR_NOMEM;
    if (fresh && t->place == PLACE_POOL) t->refs += 1; /* all handles together hold one */
    return TT_OK;
}

tt_tensor *handle_tensor(tt_ctx *ctx, tt_handle h, const char *op)
{
    const handle_table *table = &ctx->handles;
    uint32_t slot = (uint32_t)((uint64_t)h & 0xffffffff),
             generation = (uint32_t)((uint64_t)h >> 32);
    if (slot >= 1 && slot <= table->count) {
        const tt_slot *s = &table->slots[slot - 1];
        if (s->tensor != NULL && s->generation == generation) return s->tensor;
    }
    tt_fail(TT_ERR_STALE, op,
            "the tensor behind this handle is gone, or belongs to another context");
    return NULL;
}

void handle_move(tt_ctx *ctx, tt_tensor *from, tt_tensor *to)
{
    if (from->place == PLACE_STEP) hold_unlink(ctx, from);
    ctx->handles.slots[from->slot - 1].tensor = to;
    to->slot = from->slot;
    to->handles = from->handles;
    from->handles = 0;
}

/* The last hold goes: the slot is free, and what nothing else refers to ends. */
static void handle_drop(tt_ctx *ctx, tt_tensor *t)
{
    handle_table *table = &ctx->handles;
    tt_slot *s = &table->slots[t->slot - 1];
    s->tensor = NULL;
    s->next_free = table->first_free;
    table->first_free = t->slot;
    table->live -= 1;
    if (t->place == PLACE_STEP) {
        hold_unlink(ctx, t);
        tensor_unref(ctx, t->outside); /* a pass is under way and had planned for it */
        t->outside = NULL;
    } else {
        tensor_unref(ctx, t);
    }
}

tt_status handle_release(tt_ctx *ctx, tt_handle h)
{
    tt_tensor *t = handle_tensor(ctx, h, "release");
    if (t == NULL) return TT_ERR_STALE;
    if (--t->handles > 0) return TT_OK;
    handle_drop(ctx, t);
    tape_clear_if_unheld(ctx);
    return TT_OK;
}
