/* release: releasing what was recorded: at the end of a pass, or when nothing can reach it. */
#ifndef TT_RELEASE_H
#define TT_RELEASE_H

#include "tape.h"

void release_all(tt_ctx *ctx);       /* releases every node and takes their arenas back */
void release_if_unheld(tt_ctx *ctx); /* the same, if no step tensor has a handle */

/* Releasing what a pass went through, in two steps, so that running out of memory changes nothing.
 * The plan copies the tensors that have handles; release_planned puts the copies in their place and
 * clears the tape, unless it also holds another graph with handles. `oldest` is the last node of
 * the pass; NULL: none. */
tt_status release_plan(tt_ctx *ctx, tt_node *oldest, uint64_t epoch);
void release_cancel(tt_ctx *ctx, tt_node *oldest, uint64_t epoch);
void release_planned(tt_ctx *ctx);

void release_sweep(tt_ctx *ctx); /* frees the memory of nodes that no handle leads to */

#endif
