/* attached: what the outside ties to a tensor (hooks) or to a node (a Function). The core knows it
 * by a number, and tells the outside when the tensor or node is gone. */
#ifndef TT_ATTACHED_H
#define TT_ATTACHED_H

#include "context.h"

struct tt_attached {
    tt_block *self;
    tt_attached *next; /* in the list of the ended */
    int64_t id;
    int n_in;             /* a Function: its inputs, the first of what its node keeps */
    const tt_node *last;  /* a hook: the node that adds the last to a gradient in the pass `seen` */
    uint64_t seen, fired; /* passes: that found `last`, that came by here */
    char name[48];
};

tt_attached *attached_new(tt_ctx *ctx, const char *name, int64_t id); /* NULL: out of memory */
void attached_end(tt_ctx *ctx, tt_attached **a);                      /* a NULL in it is fine */

#endif
