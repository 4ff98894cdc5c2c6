/* release: how what was recorded is let go: taken back by a failed call, given up by a pass, swept
 * when nothing can reach it. */
#include "attached.h"
#include "tape.h"

enum { SWEEP_LEAST = 8 << 20 };

void tape_retain(tt_tensor *input)
{
    if (input->place == PLACE_POOL) input->refs += 1;
    else if (input->block != NULL) input->block->refs += 1;
}

static void release_inputs(tt_ctx *ctx, const tt_node *node)
{
    for (int i = 0; i < node->n_in; i++) {
        tt_tensor *input = node->in[i];
        if (input == NULL) continue;
        if (input->place == PLACE_POOL) tensor_unref(ctx, input);
        else block_unref(&ctx->pool, input->block);
    }
}

/* A node goes, and with it what the outside attached to it. */
static void end_node(tt_ctx *ctx, tt_node *node)
{
    release_inputs(ctx, node);
    if (ctx->attached == 0) return;
    attached_end(ctx, &node->function);
    for (int k = 0; k < node->n_out; k++) attached_end(ctx, &node->out[k]->hook);
}

tape_mark tape_here(const tt_ctx *ctx)
{
    return (tape_mark){ctx->tape.newest, arena_here(&ctx->step)};
}

bool tape_held_since(const tt_ctx *ctx, tape_mark mark)
{
    for (const tt_node *node = ctx->tape.newest; node != mark.newest; node = node->prev) {
        for (int k = 0; k < node->n_out; k++) {
            if (node->out[k]->handles > 0) return true;
        }
    }
    return false;
}

void tape_rewind(tt_ctx *ctx, tape_mark mark)
{
    tt_tape *tape = &ctx->tape;
    while (tape->newest != mark.newest) {
        tt_node *node = tape->newest;
        end_node(ctx, node);
        tape->newest = node->prev;
        if (tape->newest != NULL) tape->newest->next = NULL;
        else tape->oldest = NULL;
        tape->nodes -= 1;
    }
    arena_rewind(&ctx->step, mark.step);
}

void tape_clear(tt_ctx *ctx)
{
    tt_tape *tape = &ctx->tape;
    for (tt_node *node = tape->newest; node != NULL; node = node->prev) end_node(ctx, node);
    tape->oldest = tape->newest = NULL;
    tape->nodes = 0;
    arena_reset(&ctx->step);
    tape->sweep_above = ctx->step.high_water > SWEEP_LEAST ? ctx->step.high_water : SWEEP_LEAST;
}

void tape_clear_if_unheld(tt_ctx *ctx)
{
    if (ctx->tape.held == NULL && ctx->tape.newest != NULL && ctx->tape.pass == NULL)
        tape_clear(ctx);
}

/* What the outside holds keeps its value in storage of its own, and has no way back any more. */
static tt_status prepare_outside(tt_ctx *ctx, tt_tensor *t)
{
    tt_tensor *to = NULL;
    if (t->block != NULL) {
        to = tensor_new_view(ctx, t);
    } else {
        to = tensor_new_pool(ctx, "backward", TT_POOL_DATA, t->dtype, t->ndim, t->shape);
        if (to != NULL) tensor_gather(to->data, t);
    }
    if (to == NULL) return (tt_status)tt_error_code();
    to->requires_grad = t->requires_grad;
    to->graph_freed = true;
    t->outside = to;
    return TT_OK;
}

/* Something held may have been computed from what is given up: no pass can go through it either. */
static void spread_release(tt_ctx *ctx, uint64_t epoch)
{
    for (tt_node *node = ctx->tape.oldest; node != NULL; node = node->next) {
        for (int i = 0; i < node->n_in && node->released == 0; i++) {
            const tt_tensor *t = node->in[i];
            if (t == NULL || !t->requires_grad) continue;
            if (t->graph_freed || (t->node != NULL && t->node->released != 0))
                node->released = epoch;
        }
    }
}

tt_status tape_plan_release(tt_ctx *ctx, uint64_t epoch)
{
    for (tt_node *node = ctx->tape.newest; node != NULL; node = node->prev) {
        if (node->visited == epoch) node->released = epoch;
    }
    spread_release(ctx, epoch);
    for (tt_tensor *t = ctx->tape.held; t != NULL; t = t->held_next) {
        if (t->node->released != 0) TT_TRY(prepare_outside(ctx, t));
    }
    return TT_OK;
}

void tape_cancel_release(tt_ctx *ctx, uint64_t epoch)
{
    for (tt_node *node = ctx->tape.newest; node != NULL; node = node->prev) {
        if (node->released == epoch) node->released = 0;
    }
    for (tt_tensor *t = ctx->tape.held; t != NULL; t = t->held_next) {
        tensor_unref(ctx, t->outside);
        t->outside = NULL;
    }
}

void tape_release(tt_ctx *ctx)
{
    for (tt_tensor *t = ctx->tape.held, *next = NULL; t != NULL; t = next) {
        next = t->held_next;
        if (t->outside != NULL) handle_move(ctx, t, t->outside);
    }
    tape_clear_if_unheld(ctx);
}

/* What a tensor brought into the arena: itself, and its data unless it shows another's. */
static size_t arena_bytes(const tt_tensor *t)
{
    bool view =
        t->block != NULL || !t->contiguous || (t->node != NULL && t->node->op->flags & TT_VIEW);
    return sizeof *t + (view ? 0 : tensor_bytes(t));
}

static void keep_tensor(tt_ctx *ctx, tt_tensor *t, size_t *live)
{
    if (t == NULL || t->place == PLACE_POOL || t->marked) return;
    *live += arena_bytes(t);
    t->marked = t->node != NULL; /* which takes the mark back; a copy of an input has none */
    arena_keep(&ctx->step, t);
    arena_keep(&ctx->step, t->data);
}

static void unlink_node(tt_ctx *ctx, tt_node *node)
{
    tt_tape *tape = &ctx->tape;
    end_node(ctx, node);
    if (node->prev != NULL) node->prev->next = node->next;
    else tape->oldest = node->next;
    if (node->next != NULL) node->next->prev = node->prev;
    else tape->newest = node->prev;
    tape->nodes -= 1;
}

void tape_sweep(tt_ctx *ctx)
{
    arena_sweep_begin(&ctx->step);
    size_t live_bytes = 0;
    /* Consumers are newer than what they consume: one walk from new to old sees every use before
     * its maker. */
    for (tt_node *node = ctx->tape.newest, *older = NULL; node != NULL; node = older) {
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
            keep_tensor(ctx, node->out[k], &live_bytes);
            node->out[k]->marked = false;
        }
        for (int i = 0; i < node->n_in; i++) keep_tensor(ctx, node->in[i], &live_bytes);
        for (int k = 0; k < TT_MAX_SAVED; k++) arena_keep(&ctx->step, node->saved[k]);
    }
    arena_sweep(&ctx->step);
    /* The next sweep comes when as much as twice what lives was added, nodes and all, so that
     * sweeping costs no more than recording did, however small the tensors are. */
    size_t room = 2 * live_bytes > SWEEP_LEAST ? 2 * live_bytes : SWEEP_LEAST;
    ctx->tape.sweep_above = ctx->step.used + room;
    ctx->tape.untidy = false;
}
