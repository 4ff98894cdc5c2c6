/* autograd_v2: the tape, which lists the recorded operations, and tape_add_op, which appends to it.
 * The name is that of the second design of autograd in this project. apply.c runs and records
 * operations; walk.c goes backwards over the tape. */
#include <string.h>

#include "tape.h"
#include "tensor/hooks.h"

/* A node keeps its inputs alive: pool tensors themselves, and the storage behind step views. */
static void retain_input(tt_tensor *input)
{
    if (input->place == PLACE_POOL) input->refs += 1;
    else if (input->block != NULL) input->block->refs += 1;
}

tt_status tape_add_op(tt_ctx *ctx, const tt_op *op, tt_tensor *const *inputs, int n_in,
                      tt_tensor *const *outputs, int n_out, const tt_attrs *attrs,
                      void *const *saved)
{
    tt_tape *tape = &ctx->tape;
    /* The caller's arrays may lie on its stack and be gone before backward: these copies live as
     * long as the node. */
    size_t n_tensors = (size_t)n_in + (size_t)n_out;
    size_t size =
        sizeof(tt_node) + n_tensors * sizeof(tt_tensor *) + (size_t)n_in * sizeof(uint32_t);
    tt_node *node = arena_alloc(&ctx->step, size);
    if (node == NULL) return mem_exhausted(op->name, "step", size);
    tt_tensor **copy = (tt_tensor **)(node + 1);
    memcpy(copy, inputs, (size_t)n_in * sizeof(tt_tensor *));
    const tt_node *source = ctx->anomaly.differentiating;
    *node = (tt_node){.prev = tape->newest,
                      .op = op,
                      .sequence = ++tape->sequence,
                      .n_in = n_in,
                      .n_out = n_out,
                      .in = copy,
                      .out = copy + n_in,
                      .versions = (uint32_t *)(copy + n_tensors),
                      .keeps = op->keeps,
                      .origin = source != NULL ? source->origin : ctx->anomaly.origin,
                      .order = source != NULL ? source->order + 1 : 0};
    node->attrs = *attrs;
    memcpy(node->saved, saved, sizeof node->saved);
    for (int i = 0; i < n_in; i++) {
        node->versions[i] = 0;
        if (copy[i] == NULL) continue;
        retain_input(copy[i]);
        if (copy[i]->requires_grad) node->wants |= (uint64_t)1 << i;
        if (copy[i]->block != NULL) node->versions[i] = copy[i]->block->version;
    }
    for (int k = 0; k < n_out; k++) {
        node->out[k] = outputs[k];
        outputs[k]->node = node;
        outputs[k]->requires_grad = dtype_is_float(outputs[k]->dtype);
    }
    if (tape->newest != NULL) tape->newest->next = node;
    else tape->oldest = node;
    tape->newest = node;
    tape->nodes += 1;
    return TT_OK;
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

void tape_end_node(tt_ctx *ctx, tt_node *node)
{
    release_inputs(ctx, node);
    if (ctx->callbacks == 0) return;
    hook_end(ctx, &node->function);
    for (int k = 0; k < node->n_out; k++) hook_end(ctx, &node->out[k]->hook);
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
        tape_end_node(ctx, node);
        tape->newest = node->prev;
        if (tape->newest != NULL) tape->newest->next = NULL;
        else tape->oldest = NULL;
        tape->nodes -= 1;
    }
    arena_rewind(&ctx->step, mark.step);
}
