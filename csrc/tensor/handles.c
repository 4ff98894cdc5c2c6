/* handles: the numbers by which the caller names tensors: a slot and the generation of its use.
 *
 * The generation is in the high half, slot + 1 in the low, so that 0 is never a handle. */
#include "handles.h"

#include <string.h>

#include "context.h"

static tt_status table_grow(tt_ctx *ctx, const char *op)
{
    handle_table *table = &ctx->handles;
    uint32_t capacity = table->capacity == 0 ? 256 : table->capacity * 2;
    tt_slot *slots = mem_alloc(capacity * sizeof *slots);
    if (slots == NULL) return mem_exhausted(op, "handles", capacity * sizeof *slots);
    if (table->count > 0) memcpy(slots, table->slots, table->count * sizeof *slots);
    memset(slots + table->count, 0, (capacity - table->count) * sizeof *slots);
    ctx_lock_values(ctx);
    mem_free(table->slots);
    table->slots = slots;
    table->capacity = capacity;
    ctx_unlock_values(ctx);
    return TT_OK;
}

tt_status handle_reserve(tt_ctx *ctx, const char *op, uint32_t n)
{
    handle_table *table = &ctx->handles;
    uint32_t at_hand = table->capacity - table->count;
    for (uint32_t slot = table->first_free; slot != 0 && at_hand < n; at_hand++)
        slot = table->slots[slot - 1].next_free;
    return at_hand < n ? table_grow(ctx, op) : TT_OK;
}

void handle_link(tt_ctx *ctx, tt_tensor *t)
{
    tt_held *list = t->kept ? &ctx->tape.kept : &ctx->tape.held;
    t->held_prev = NULL;
    t->held_next = list->first;
    if (list->first != NULL) list->first->held_prev = t;
    list->first = t;
    list->count += 1;
}

void handle_unlink(tt_ctx *ctx, tt_tensor *t)
{
    tt_held *list = t->kept ? &ctx->tape.kept : &ctx->tape.held;
    if (t->held_prev != NULL) t->held_prev->held_next = t->held_next;
    else list->first = t->held_next;
    if (t->held_next != NULL) t->held_next->held_prev = t->held_prev;
    list->count -= 1;
}

tt_handle handle_for(tt_ctx *ctx, tt_tensor *t)
{
    handle_table *table = &ctx->handles;
    if (t->handles == 0) {
        uint32_t slot = table->first_free;
        if (slot != 0) {
            table->first_free = table->slots[slot - 1].next_free;
        } else {
            if (table->count == table->capacity && table_grow(ctx, "handle") != TT_OK) return 0;
            slot = ++table->count;
            table->slots[slot - 1] = (tt_slot){.generation = 0};
        }
        table->slots[slot - 1].tensor = t;
        table->slots[slot - 1].generation = (table->slots[slot - 1].generation + 1) & 0x7fffffff;
        t->slot = slot;
        table->live += 1;
        if (t->place == PLACE_STEP) handle_link(ctx, t);
    }
    t->handles += 1;
    return (tt_handle)((uint64_t)table->slots[t->slot - 1].generation << 32 | t->slot);
}

tt_status handle_hold(tt_ctx *ctx, tt_tensor *t, tt_handle *out)
{
    bool fresh = t->handles == 0;
    *out = handle_for(ctx, t);
    if (*out == 0) return TT_ERR_NOMEM;
    if (fresh && t->place == PLACE_POOL) t->refs += 1; /* all handles together have one reference */
    return TT_OK;
}

tt_tensor *handle_tensor(tt_ctx *ctx, tt_handle h, const char *op)
{
    const handle_table *table = &ctx->handles;
    uint32_t slot = (uint32_t)((uint64_t)h & 0xffffffff),
             generation = (uint32_t)((uint64_t)h >> 32);
    if (slot >= 1 && slot <= table->capacity) { /* not count, which the owner changes freely */
        const tt_slot *s = &table->slots[slot - 1];
        if (s->tensor != NULL && s->generation == generation) return s->tensor;
    }
    tt_fail(TT_ERR_STALE, op,
            "the tensor behind this handle is gone, or belongs to another context");
    return NULL;
}

void handle_move(tt_ctx *ctx, tt_tensor *from, tt_tensor *to)
{
    if (from->place == PLACE_STEP) handle_unlink(ctx, from);
    ctx_lock_values(ctx);
    ctx->handles.slots[from->slot - 1].tensor = to;
    ctx_unlock_values(ctx);
    to->slot = from->slot;
    to->handles = from->handles;
    from->handles = 0;
}

/* The last handle was released: its slot is free, and so is the tensor if nothing else refers to
 * it. */
static void handle_drop(tt_ctx *ctx, tt_tensor *t)
{
    handle_table *table = &ctx->handles;
    tt_slot *s = &table->slots[t->slot - 1];
    s->tensor = NULL;
    s->next_free = table->first_free;
    table->first_free = t->slot;
    table->live -= 1;
    if (t->place == PLACE_STEP) {
        handle_unlink(ctx, t);
        tensor_unref(ctx, t->pass.successor); /* a running pass had made it */
        t->pass.successor = NULL;
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
    return TT_OK;
}
