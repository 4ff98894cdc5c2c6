/* pass: one backward pass, from its call to its end: roots and seeds, pauses, results, and taking
 * everything back. walk.c goes over the nodes. */
#ifndef TT_PASS_H
#define TT_PASS_H

#include "tape.h"
#include "tensor/hooks.h"

/* A cotangent is dead once its node was visited. Its memory, still in the cache, serves the next of
 * the same size. */
enum { SPARE_BUFFERS = 32 };
typedef struct {
    void *data;
    size_t size;
} spare_buffer;

/* A pool tensor that the outside gave and may have dropped since. */
typedef struct kept_tensor {
    struct kept_tensor *next;
    tt_tensor *tensor;
} kept_tensor;

/* It lies in the step arena, before everything that it makes: a pause may last as long as the
 * outside likes. */
typedef struct tt_pass {
    tt_ctx *ctx;
    uint64_t epoch;
    bool into_leaves;   /* gradients go to the leaves' grad; otherwise to the captured tensors */
    bool graph;         /* create_graph */
    bool release;       /* the graph ends with the pass */
    bool grad_enabled;  /* whether operations were recorded before the pass, and are after it */
    bool watched;       /* there are hooks or Functions on the way */
    bool interrupted;   /* it has paused: the outside may have changed what was recorded */
    int order;          /* the highest of the nodes on the way: 0 where none came from a vjp */
    bool delivered;     /* `at` has given its inputs their gradients */
    int64_t pending;    /* nodes that the survey has reached and not come to yet */
    tt_node *at;        /* where the walk is; NULL: at its end */
    tt_node *oldest;    /* the last node that the pass goes through; NULL: it goes through none */
    tt_tensor *waiting; /* paused for a hook of this; NULL: for the Function `at` */
    bool paused;
    int n_roots, n_inputs;
    tt_tensor **roots, **inputs;
    kept_tensor *kept;
    const void *borrowed; /* a cotangent that is the caller's own memory: read, never written */
    tape_mark mark;
    int n_spare;
    spare_buffer spare[SPARE_BUFFERS];
} tt_pass;

/* Whether a cotangent has reached t in this pass. */
static inline bool pass_has_cot(const tt_pass *p, const tt_tensor *t)
{
    return t->cot_epoch == p->epoch;
}
static inline bool pass_wants(const tt_pass *p, const tt_tensor *t)
{
    return t != NULL && t->requires_grad && (p->into_leaves || t->needed_epoch == p->epoch);
}
static inline bool pass_wants_input(const tt_pass *p, const tt_node *node, int i)
{
    return (node->wants >> i & 1) && pass_wants(p, node->in[i]);
}

void pass_give_up(tt_ctx *ctx); /* ends a pass that waits, as if it had failed */

#endif
