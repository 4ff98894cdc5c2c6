/* hooks: the caller's code that a backward pass stops for: a hook of a tensor, or the rule of a
 * Function's node. The core knows the code by a number, and tells the caller when its tensor or
 * node is gone. */
#ifndef TT_HOOKS_H
#define TT_HOOKS_H

#include "context.h"

struct tt_callback {
    tt_block *self;
    tt_callback *next; /* in the list of the ended */
    int64_t id;
    int n_in;             /* a Function: its inputs, the first of what its node keeps */
    const tt_node *last;  /* a hook: the node that adds the last to a gradient in the pass `seen` */
    uint64_t seen, fired; /* passes: that found `last`, that came by here */
    char name[48];
};

tt_callback *hook_new(tt_ctx *ctx, const char *name, int64_t id); /* NULL: out of memory */

/* Its tensor or node ends; a NULL in it is fine. */
static inline void hook_end(tt_ctx *ctx, tt_callback **callback)
{
    tt_callback *ended = *callback;
    if (ended == NULL) return;
    ended->next = ctx->ended;
    ctx->ended = ended;
    ctx->callbacks -= 1;
    *callback = NULL;
}

#endif
