/* tape: the recorded operations (autograd_v2.c). */
#ifndef TT_TAPE_H
#define TT_TAPE_H

#include "op_table.h"
#include "tensor/hooks.h"

/* A recorded operation. */
struct tt_node {
    tt_node *prev, *next;
    const tt_op *op;
    uint64_t sequence;
    int n_in, n_out;
    uint64_t reached;  /* the latest pass that comes here */
    uint64_t visited;  /* the latest pass that goes through here */
    uint64_t released; /* the pass that gave up what this saved; 0: none */
    tt_tensor **in;    /* the tape's own copy of the caller's array */
    tt_tensor **out;
    uint32_t *versions;    /* of the inputs' storage when this was recorded */
    uint64_t wants;        /* bit i: input i required a gradient then */
    uint64_t keeps;        /* bit i: input i is read by backward; the op's, but for a Function */
    tt_callback *function; /* of the caller's Function; NULL: an operation of ours */
    int32_t origin;        /* the outside's number for the line that led here; 0: unknown */
    int32_t order;         /* 0: forward; n: recorded by differentiating a node of order n - 1 */
    void *saved[TT_MAX_SAVED];
    tt_attrs attrs;
};

static inline const char *tape_node_name(const tt_node *node)
{
    return node->function != NULL ? node->function->name : node->op->name;
}

/* Appends a node. The array `inputs` may live on the caller's stack: the tape keeps its own copy.
 */
tt_status tape_add_op(tt_ctx *ctx, const tt_op *op, tt_tensor *const *inputs, int n_in,
                      tt_tensor *const *outputs, int n_out, const tt_attrs *attrs,
                      void *const *saved);

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

/* A node goes, and what the caller tied to it. */
void tape_end_node(tt_ctx *ctx, tt_node *node);

#endif
