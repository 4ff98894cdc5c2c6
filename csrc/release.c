/* release: how what was recorded is let go: taken back by a failed call, given up by a pass, swept
 * when nothing can reach it. */
#include "release.h"

#include "keep.h"
#include "tensor/copy.h"

enum { SWEEP_LEAST = 8 << 20, TIDY_LEAST = 1 << 20 };

/* As much as a step takes may stay for the next time. */
static void clear_kept(tt_ctx *ctx)
{
    if (ctx->kept.capacity <= ctx->step.high_water) {
        arena_reset(&ctx->kept);
    } else {
        arena_free(&ctx->kept);
        ctx->kept.high_water = 0;
    }
    ctx->tape.tidied_used = 0;
    ctx->tape.tidied_count = 0;
}

void release_all(tt_ctx *ctx)
{
    tt_tape *tape = &ctx->tape;
    for (tt_node *node = tape->newest; node != NULL; node = node->prev) tape_end_node(ctx, node);
    tape->oldest = tape->newest = tape->settled = NULL;
    tape->nodes = 0;
    arena_reset(&ctx->step);
    clear_kept(ctx);
    tape->sweep_above = ctx->step.high_water > SWEEP_LEAST ? ctx->step.high_water : SWEEP_LEAST;
}

void release_if_unheld(tt_ctx *ctx)
{
    const tt_tape *tape = &ctx->tape;
    if (tape->held.count + tape->kept.count == 0 && tape->newest != NULL && tape->pass == NULL)
        release_all(ctx);
}

/* What the outside holds keeps its value in storage of its own, and has no way back any more. */
static tt_status prepare_outside(tt_ctx *ctx, tt_tensor *t)
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
    t->outside = to;
    return TT_OK;
}

/* Something held may have been computed from what is given up, now or earlier: no pass can go
 * through it either. */
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

static tt_status plan_outside(tt_ctx *ctx, const tt_held *list)
{
    for (tt_tensor *t = list->first; t != NULL; t = t->held_next) {
        if (t->node->released != 0) TT_TRY(prepare_outside(ctx, t));
    }
    return TT_OK;
}

static void cancel_outside(tt_ctx *ctx, const tt_held *list)
{
    for (tt_tensor *t = list->first; t != NULL; t = t->held_next) {
        tensor_unref(ctx, t->outside);
        t->outside = NULL;
    }
}

static void move_outside(tt_ctx *ctx, const tt_held *list)
{
    for (tt_tensor *t = list->first, *next = NULL; t != NULL; t = next) {
        next = t->held_next;
        if (t->outside != NULL) handle_move(ctx, t, t->outside);
    }
}

/* Whether node is among those that outlived their step, all of which are older than the others. */
static bool is_settled(const tt_ctx *ctx, const tt_node *node)
{
    return ctx->tape.settled != NULL && node->sequence <= ctx->tape.settled->sequence;
}

tt_status release_plan(tt_ctx *ctx, tt_node *oldest, uint64_t epoch)
{
    for (tt_node *node = oldest; node != NULL; node = node->next) {
        if (node->visited == epoch) node->released = epoch;
    }
    ctx->tape.kept_planned = oldest != NULL && is_settled(ctx, oldest);
    tt_node *first = ctx->tape.settled != NULL ? ctx->tape.settled->next : ctx->tape.oldest;
    spread_release(ctx->tape.kept_planned ? oldest : first, epoch);
    TT_TRY(plan_outside(ctx, &ctx->tape.held));
    return ctx->tape.kept_planned ? plan_outside(ctx, &ctx->tape.kept) : TT_OK;
}

void release_cancel(tt_ctx *ctx, tt_node *oldest, uint64_t epoch)
{
    tt_node *first = ctx->tape.settled != NULL ? ctx->tape.settled->next : ctx->tape.oldest;
    for (tt_node *node = ctx->tape.kept_planned ? oldest : first; node != NULL; node = node->next) {
        if (node->released == epoch) node->released = 0;
    }
    cancel_outside(ctx, &ctx->tape.held);
    if (ctx->tape.kept_planned) cancel_outside(ctx, &ctx->tape.kept);
}

void release_planned(tt_ctx *ctx)
{
    move_outside(ctx, &ctx->tape.held);
    if (ctx->tape.kept_planned) move_outside(ctx, &ctx->tape.kept);
    release_if_unheld(ctx);
    if (ctx->tape.newest != NULL) release_sweep(ctx); /* another graph is held: it, and no more */
}

/* What a tensor brought into the arena: itself, and its data unless it shows another's. */
static size_t arena_bytes(const tt_tensor *t)
{
    bool view =
        t->block != NULL || !t->contiguous || (t->node != NULL && t->node->op->flags & TT_VIEW);
    return sizeof *t + (view ? 0 : tensor_bytes(t));
}

static void keep_tensor(tt_ctx *ctx, tt_tensor *t, uint64_t settled, size_t *live)
{
    if (t == NULL || t->place == PLACE_POOL || t->marked) return;
    if (t->node != NULL && t->node->sequence <= settled) return; /* lives, and nobody looks there */
    *live += arena_bytes(t);
    t->marked = t->node != NULL; /* which takes the mark back; a copy of an input has none */
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
    if (tape->settled == node) tape->settled = node->prev;
    tape->nodes -= 1;
}

/* Takes out the nodes after `stop` that nothing held can reach; returns about how many bytes the
 * others take, and marks the chunks of the step arena in which something of theirs lies. */
static size_t find_live(tt_ctx *ctx, const tt_node *stop)
{
    arena_sweep_begin(&ctx->step);
    size_t live_bytes = 0;
    const uint64_t settled = stop != NULL ? stop->sequence : 0;
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
            keep_tensor(ctx, node->out[k], settled, &live_bytes);
            node->out[k]->marked = false;
        }
        for (int i = 0; i < node->n_in; i++) keep_tensor(ctx, node->in[i], settled, &live_bytes);
        for (int k = 0; k < TT_MAX_SAVED; k++) arena_keep(&ctx->step, node->saved[k]);
    }
    return live_bytes;
}

/* Where little of what lies in the step arena lives, that moves to where it pins nothing, and the
 * arena starts again. Where much does, it stays: the rest costs no more than twice as much. */
static bool leave_step(tt_ctx *ctx, size_t live_bytes)
{
    const size_t most = ctx->step.used / 8 * 3;
    if (live_bytes > most || !keep_move(ctx, &ctx->step, &ctx->kept, ctx->tape.settled, most))
        return false;
    ctx->tape.settled = ctx->tape.newest;
    arena_reset(&ctx->step);
    return true;
}

/* What moved there has been let go of since, or some of it: when there is twice as much as there
 * was, or half as much of it is held, what lives moves together. */
static void tidy_kept(tt_ctx *ctx)
{
    tt_tape *tape = &ctx->tape;
    const bool grown = ctx->kept.used > 2 * tape->tidied_used + TIDY_LEAST;
    if (!grown && 2 * tape->kept.count >= tape->tidied_count) return;
    find_live(ctx, NULL);
    arena to;
    arena_init(&to, ctx->kept.least_chunk);
    to.spare = ctx->kept.spare;
    if (keep_move(ctx, &ctx->kept, &to, NULL, ctx->kept.used / 2)) {
        arena_free(&ctx->kept);
        ctx->kept = to;
    } else {
        arena_free(&to);
    }
    tape->tidied_used = ctx->kept.used;
    tape->tidied_count = tape->kept.count;
}

void release_sweep(tt_ctx *ctx)
{
    const size_t live_bytes = find_live(ctx, ctx->tape.settled);
    if (!leave_step(ctx, live_bytes)) arena_sweep(&ctx->step);
    tidy_kept(ctx);
    /* The next sweep comes when as much as twice what lives was added, nodes and all, so that
     * sweeping costs no more than recording did, however small the tensors are. */
    size_t room = 2 * live_bytes > SWEEP_LEAST ? 2 * live_bytes : SWEEP_LEAST;
    if (ctx->step.used == 0 && room < ctx->step.high_water) room = ctx->step.high_water;
    ctx->tape.sweep_above = ctx->step.used + room;
    ctx->tape.untidy = false;
}
