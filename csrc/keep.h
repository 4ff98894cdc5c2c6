/* keep: graphs that are still held when their step ends move to an arena of their own. */
#ifndef TT_KEEP_H
#define TT_KEEP_H

#include "tape.h"

/* Moves all nodes that are newer than `stop` and lie in `from`, with their tensors and what they
 * saved, to the arena `to`, in which they lie closely. All of them live. False: they are more than
 * `max_bytes` bytes, or memory was refused, and nothing was moved. */
bool keep_move(tt_ctx *ctx, arena *from, arena *to, const tt_node *stop, size_t max_bytes);

#endif
