/* release: how what was recorded is let go of: given up by a pass, swept when nothing can reach it.
 */
#ifndef TT_RELEASE_H
#define TT_RELEASE_H

#include "tape.h"

void release_all(tt_ctx *ctx);       /* forget every node and take their arenas back */
void release_if_unheld(tt_ctx *ctx); /* the same, where nothing outside holds a step tensor */

/* Giving up what a pass went through, in two steps, so that running out of memory changes nothing:
 * the plan makes the copies of what is held outside, the release puts them in its place and clears
 * the tape, unless another graph is held. `oldest` is the last node of the pass; NULL: none. */
tt_status release_plan(tt_ctx *ctx, tt_node *oldest, uint64_t epoch);
void release_cancel(tt_ctx *ctx, tt_node *oldest, uint64_t epoch);
void release_planned(tt_ctx *ctx);

void release_sweep(tt_ctx *ctx); /* give back the memory of nodes that nothing held can reach */

#endif
