/* tape: how recorded operations are released. What an operation needs of the tape is in op.h. */
#ifndef TT_TAPE_H
#define TT_TAPE_H

#include "op.h"

/* A node keeps its inputs alive: pool tensors themselves, and the storage that a step view shows.
 */
void tape_retain(tt_tensor *input);

/* A failed call takes back what it recorded since. Nothing may hold the tensors in between. */
typedef struct {
    tt_node *newest;
    arena_mark step;
} tape_mark;
tape_mark tape_here(const tt_ctx *ctx);
void tape_rewind(tt_ctx *ctx, tape_mark mark);

void tape_clear(tt_ctx *ctx);           /* forget every node and take the step arena back */
void tape_clear_if_unheld(tt_ctx *ctx); /* the same, where nothing outside holds a step tensor */
tt_status tape_release(tt_ctx *ctx);    /* after a pass: what is held moves out; then clear, unless
                                           another graph is held */
void tape_sweep(tt_ctx *ctx); /* give back the memory of nodes that nothing held can reach */

#endif
