/* pass: one backward pass, from its call to its end: roots and their gradients, pauses, results,
 * and undoing everything after a failure. walk.c goes over the nodes. */
#ifndef TT_PASS_H
#define TT_PASS_H

#include "tape.h"
#include "tensor/hooks.h"

/* The memory of a cotangent that is no longer needed, still in the cache: the next cotangent of its
 * size takes it. */
enum { SPARE_BUFFERS = 32 };
typedef struct {
    void *data;
    size_t size;
} spare_buffer;

/* A pool tensor that the caller gave and may have released since. */
typedef struct kept_tensor {
    struct kept_tensor *next;
    tt_tensor *tensor;
} kept_tensor;

/* It lies in the step arena, before everything that it makes: a pause may last as long as the
 * caller likes. */
typedef struct tt_pass {
    tt_ctx *ctx;
    uint64_t epoch;
    bool into_leaves;   /* gradients go to the leaves' grad; otherwise to the captured tensors */
    bool graph;         /* create_graph */
    bool release;       /* the graph is released at the end of the pass */
    bool grad_enabled;  /* the grad mode before the pass, which is put back after it */
    bool watched;       /* the pass meets hooks or Functions */
    bool interrupted;   /* it has paused: the caller may have changed what was recorded */
    int order;          /* the highest order of the nodes that it goes through */
    bool delivered;     /* `at` has given its inputs their gradients */
    int64_t pending;    /* nodes that the survey has reached and not yet visited */
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
    return t->pass.cot_epoch == p->epoch;
}
static inline bool pass_wants(const tt_pass *p, const tt_tensor *t)
{
    return t != NULL && t->requires_grad && (p->into_leaves || t->pass.needed_epoch == p->epoch);
}
static inline bool pass_wants_input(const tt_pass *p, const tt_node *node, int i)
{
    return (node->wants >> i & 1) && pass_wants(p, node->in[i]);
}

void pass_give_up(tt_ctx *ctx); /* ends a pass that waits, as if it had failed */

#endif
