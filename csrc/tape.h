/* tape: how recorded operations are released (release.c) or outlive their step (keep.c). What an
 * operation needs of the tape is in op.h. */
#ifndef TT_TAPE_H
#define TT_TAPE_H

#include "op.h"

/* A node keeps its inputs alive: pool tensors themselves, and the storage that a step view
 * shows. */
void tape_retain(tt_tensor *input);

/* Whether any of these has an element: without, no kernel is called, and none need think of sizes
 * such as (2^40, 0, 3). */
static inline bool tape_has_elements(tt_tensor *const *t, int n)
{
    for (int i = 0; i < n; i++) {
        if (t[i]->numel > 0) return true;
    }
    return false;
}

/* What a kernel saved has its size before it. */
enum { SAVED_HEAD = TT_ALIGN };

/* A failed call takes back what it recorded since. Nothing may hold the tensors in between. */
typedef struct {
    tt_node *newest;
    arena_mark step;
} tape_mark;
tape_mark tape_here(const tt_ctx *ctx);
void tape_rewind(tt_ctx *ctx, tape_mark mark);
bool tape_held_since(const tt_ctx *ctx, tape_mark mark); /* the outside holds something newer */

void tape_clear(tt_ctx *ctx);           /* forget every node and take their arenas back */
void tape_clear_if_unheld(tt_ctx *ctx); /* the same, where nothing outside holds a step tensor */

/* Giving up what a pass went through, in two steps, so that running out of memory changes nothing:
 * the plan makes the copies of what is held outside, the release puts them in its place and clears
 * the tape, unless another graph is held. `oldest` is the last node of the pass; NULL: none. */
tt_status tape_plan_release(tt_ctx *ctx, tt_node *oldest, uint64_t epoch);
void tape_cancel_release(tt_ctx *ctx, tt_node *oldest, uint64_t epoch);
void tape_release(tt_ctx *ctx);

void tape_sweep(tt_ctx *ctx); /* give back the memory of nodes that nothing held can reach */

/* Moves all nodes that are newer than `stop` and lie in `from`, with their tensors and what they
 * saved, to the arena `to`, in which they lie closely. All of them live. False: they are more than
 * `most` bytes, or memory was refused, and nothing was moved. */
bool keep_move(tt_ctx *ctx, arena *from, arena *to, const tt_node *stop, size_t most);

#endif
