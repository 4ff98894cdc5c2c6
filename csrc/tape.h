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
    uint64_t reached;  /* the latest pass that reached this node */
    uint64_t visited;  /* the latest pass that goes through this node */
    uint64_t released; /* the pass that released what this node saved; 0: none */
    tt_tensor **in;    /* the tape's own copy of the caller's array */
    tt_tensor **out;
    uint32_t *versions; /* of the inputs' storage when this was recorded */
    uint64_t wants;     /* bit i: input i required a gradient then */
    uint64_t keeps; /* bit i: backward reads input i (the operation's `keeps`, or what a Function
                       saved) */
    tt_callback *function; /* of the caller's Function; NULL: an operation of ours */
    int32_t origin;        /* the caller's number for the line that led here; 0: unknown */
    int32_t order;         /* 0: forward; n: recorded by differentiating a node of order n - 1 */
    void *saved[TT_MAX_SAVED];
    tt_attrs attrs;
};

static inline const char *tape_node_name(const tt_node *node)
{
    return node->function != NULL ? node->function->name : node->op->name;
}

/* Appends a node. `inputs` may lie on the caller's stack: the tape keeps its own copy of it. */
tt_status tape_add_op(tt_ctx *ctx, const tt_op *op, tt_tensor *const *inputs, int n_in,
                      tt_tensor *const *outputs, int n_out, const tt_attrs *attrs,
                      void *const *saved);

/* The size of what a kernel saved is stored before it, in so many bytes. */
enum { SAVED_HEAD = TT_ALIGN };

/* A mark to which a failed call rewinds the tape. Nothing may have a handle to the tensors recorded
 * since. */
typedef struct {
    tt_node *newest;
    arena_mark step;
} tape_mark;
tape_mark tape_here(const tt_ctx *ctx);
void tape_rewind(tt_ctx *ctx, tape_mark mark);
bool tape_held_since(const tt_ctx *ctx, tape_mark mark); /* a newer tensor has a handle */

/* Drops the references of a node, and ends its Function and the hooks of its outputs. */
void tape_end_node(tt_ctx *ctx, tt_node *node);

#endif
