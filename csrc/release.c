/* release: releasing what was recorded: at the end of a pass, or when nothing can reach it. */
#include "release.h"

#include "keep.h"
#include "tensor/copy.h"

enum { MIN_SWEEP = 8 << 20, MIN_COMPACT = 1 << 20 };

/* The arena of kept graphs keeps at most as much memory as a step takes. */
static void clear_kept(tt_ctx *ctx)
{
    if (ctx->kept.capacity <= ctx->step.high_water) {
        arena_reset(&ctx->kept);
    } else {
        arena_free(&ctx->kept);
        ctx->kept.high_water = 0;
    }
    ctx->tape.compacted_used = 0;
    ctx->tape.compacted_count = 0;
}

void release_all(tt_ctx *ctx)
{
    tt_tape *tape = &ctx->tape;
    for (tt_node *node = tape->newest; node != NULL; node = node->prev) tape_end_node(ctx, node);
    tape->oldest = tape->newest = tape->newest_kept = NULL;
    tape->nodes = 0;
    arena_reset(&ctx->step);
    clear_kept(ctx);
    tape->sweep_above = ctx->step.high_water > MIN_SWEEP ? ctx->step.high_water : MIN_SWEEP;
}

void release_if_unheld(tt_ctx *ctx)
{
    const tt_tape *tape = &ctx->tape;
    if (tape->held.count + tape->kept.count == 0 && tape->newest != NULL && tape->pass == NULL)
        release_all(ctx);
}

/* A tensor with handles keeps its value in storage of its own, without a graph behind it. */
static tt_status make_successor(tt_ctx *ctx, tt_tensor *t)
{
    tt_tensor *to = NULL;
    if (t->block != NULL) {
        to = tensor_new_view(ctx, t);
    } else {
        to = tensor_new_pool(ctx, "backward", TT_POOL_DATA, t->dtype, t->ndim, t->shape);
        if (to != NULL) copy_gather(to->data, t);
    }
    if (to == NULL) return (tt_status)tt_error_code();
    to->requires_grad = t->requires_grad;
    to->graph_freed = true;
    t->pass.successor = to;
    return TT_OK;
}

/* A tensor with handles may have been computed from a node that was released, now or earlier: no
 * pass can go through its node either. */
static void spread_release(tt_node *from, uint64_t epoch)
{
    for (tt_node *node = from; node != NULL; node = node->next) {
        for (int i = 0; i < node->n_in && node->released == 0; i++) {
            const tt_tensor *t = node->in[i];
            if (t == NULL || !t->requires_grad) continue;
            if (t->graph_freed || (t->node != NULL && t->node->released != 0))
                node->released = epoch;
        }
    }
}

static tt_status make_successors(tt_ctx *ctx, const tt_held *list)
{
    for (tt_tensor *t = list->first; t != NULL; t = t->held_next) {
        if (t->node->released != 0) TT_TRY(make_successor(ctx, t));
    }
    return TT_OK;
}

static void drop_successors(tt_ctx *ctx, const tt_held *list)
{
    for (tt_tensor *t = list->first; t != NULL; t = t->held_next) {
        tensor_unref(ctx, t->pass.successor);
        t->pass.successor = NULL;
    }
}

static void move_to_successors(tt_ctx *ctx, const tt_held *list)
{
    for (tt_tensor *t = list->first, *next = NULL; t != NULL; t = next) {
        next = t->held_next;
        if (t->pass.successor != NULL) handle_move(ctx, t, t->pass.successor);
    }
}

/* Whether a node outlived its step: these are older than all others. */
static bool is_kept(const tt_ctx *ctx, const tt_node *node)
{
    return ctx->tape.newest_kept != NULL && node->sequence <= ctx->tape.newest_kept->sequence;
}

tt_status release_plan(tt_ctx *ctx, tt_node *oldest, uint64_t epoch)
{
    for (tt_node *node = oldest; node != NULL; node = node->next) {
        if (node->visited == epoch) node->released = epoch;
    }
    ctx->tape.kept_planned = oldest != NULL && is_kept(ctx, oldest);
    tt_node *first = ctx->tape.newest_kept != NULL ? ctx->tape.newest_kept->next : ctx->tape.oldest;
    spread_release(ctx->tape.kept_planned ? oldest : first, epoch);
    TT_TRY(make_successors(ctx, &ctx->tape.held));
    return ctx->tape.kept_planned ? make_successors(ctx, &ctx->tape.kept) : TT_OK;
}

void release_cancel(tt_ctx *ctx, tt_node *oldest, uint64_t epoch)
{
    tt_node *first = ctx->tape.newest_kept != NULL ? ctx->tape.newest_kept->next : ctx->tape.oldest;
    for (tt_node *node = ctx->tape.kept_planned ? oldest : first; node != NULL; node = node->next) {
        if (node->released == epoch) node->released = 0;
    }
    drop_successors(ctx, &ctx->tape.held);
    if (ctx->tape.kept_planned) drop_successors(ctx, &ctx->tape.kept);
}

void release_planned(tt_ctx *ctx)
{
    move_to_successors(ctx, &ctx->tape.held);
    if (ctx->tape.kept_planned) move_to_successors(ctx, &ctx->tape.kept);
    release_if_unheld(ctx);
    if (ctx->tape.newest != NULL) release_sweep(ctx); /* another graph has handles: free the rest */
}

/* The bytes that a tensor takes in an arena: its struct, and its data unless it is a view. */
static size_t arena_bytes(const tt_tensor *t)
{
    bool view =
        t->block != NULL || !t->contiguous || (t->node != NULL && t->node->op->flags & TT_VIEW);
    return sizeof *t + (view ? 0 : tensor_bytes(t));
}

static void keep_tensor(tt_ctx *ctx, tt_tensor *t, uint64_t last_kept, size_t *live)
{
    if (t == NULL || t->place == PLACE_POOL || t->marked) return;
    if (t->node != NULL && t->node->sequence <= last_kept)
        return; /* in the kept arena, which is not swept here */
    *live += arena_bytes(t);
    t->marked = t->node != NULL; /* its node takes the mark back; a copy of an input has no node */
    arena_keep(&ctx->step, t);
    arena_keep(&ctx->step, t->data);
}

static void unlink_node(tt_ctx *ctx, tt_node *node)
{
    tt_tape *tape = &ctx->tape;
    tape_end_node(ctx, node);
    if (node->prev != NULL) node->prev->next = node->next;
    else tape->oldest = node->next;
    if (node->next != NULL) node->next->prev = node->prev;
    else tape->newest = node->prev;
    if (tape->newest_kept == node) tape->newest_kept = node->prev;
    tape->nodes -= 1;
}

/* Unlinks the nodes after `stop` that no handle leads to. Returns about how many bytes the others
 * take, and marks the chunks of the step arena that they use. */
static size_t find_live(tt_ctx *ctx, const tt_node *stop)
{
    arena_sweep_begin(&ctx->step);
    size_t live_bytes = 0;
    const uint64_t last_kept = stop != NULL ? stop->sequence : 0;
    /* Consumers are newer than what they consume: one walk from new to old sees every use before
     * its maker. */
    for (tt_node *node = ctx->tape.newest, *older = NULL; node != stop; node = older) {
        older = node->prev;
        bool live = false;
        for (int k = 0; k < node->n_out; k++)
            live = live || node->out[k]->handles > 0 || node->out[k]->marked;
        if (!live) {
            unlink_node(ctx, node);
            continue;
        }
        live_bytes += sizeof *node;
        arena_keep(&ctx->step, node);
        arena_keep(&ctx->step, node->in);
        for (int k = 0; k < node->n_out; k++) {
            keep_tensor(ctx, node->out[k], last_kept, &live_bytes);
            node->out[k]->marked = false;
        }
        for (int i = 0; i < node->n_in; i++) keep_tensor(ctx, node->in[i], last_kept, &live_bytes);
        for (int k = 0; k < TT_MAX_SAVED; k++) arena_keep(&ctx->step, node->saved[k]);
    }
    return live_bytes;
}

/* If little of the step arena is still used, that moves to the kept arena, and the step arena
 * starts again. If much is used, it stays: the unused rest is less than twice as much. */
static bool leave_step(tt_ctx *ctx, size_t live_bytes)
{
    const size_t max_bytes = ctx->step.used / 8 * 3;
    if (live_bytes > max_bytes ||
        !keep_move(ctx, &ctx->step, &ctx->kept, ctx->tape.newest_kept, max_bytes))
        return false;
    ctx->tape.newest_kept = ctx->tape.newest;
    arena_reset(&ctx->step);
    return true;
}

/* Graphs in the kept arena may have been released since they moved there. When it has doubled, or
 * half of its tensors with handles are gone, what is left moves to a new arena. */
static void compact_kept(tt_ctx *ctx)
{
    tt_tape *tape = &ctx->tape;
    const bool grown = ctx->kept.used > 2 * tape->compacted_used + MIN_COMPACT;
    if (!grown && 2 * tape->kept.count >= tape->compacted_count) return;
    find_live(ctx, NULL);
    arena to;
    arena_init(&to, ctx->kept.min_chunk);
    to.spare = ctx->kept.spare;
    if (keep_move(ctx, &ctx->kept, &to, NULL, ctx->kept.used / 2)) {
        arena_free(&ctx->kept);
        ctx->kept = to;
    } else {
        arena_free(&to);
    }
    tape->compacted_used = ctx->kept.used;
    tape->compacted_count = tape->kept.count;
}

void release_sweep(tt_ctx *ctx)
{
    const size_t live_bytes = find_live(ctx, ctx->tape.newest_kept);
    if (!leave_step(ctx, live_bytes)) arena_sweep(&ctx->step);
    compact_kept(ctx);
    /* The next sweep comes when twice as many bytes as are now used have been added, nodes
     * included: so sweeping costs no more than recording, however small the tensors are. */
    size_t room = 2 * live_bytes > MIN_SWEEP ? 2 * live_bytes : MIN_SWEEP;
    if (ctx->step.used == 0 && room < ctx->step.high_water) room = ctx->step.high_water;
    ctx->tape.sweep_above = ctx->step.used + room;
    ctx->tape.sweep_wanted = false;
}
