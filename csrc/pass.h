/* pass: one backward pass, from its call to its end. autograd_v2.c walks the nodes; backward.c has
 * what lies around the walk: roots and seeds, pauses, results, and taking everything back. */
#ifndef TT_PASS_H
#define TT_PASS_H

#include "attached.h"
#include "tape.h"

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

static inline bool has_cot(const tt_pass *p, const tt_tensor *t)
{
    return t->cot_epoch == p->epoch;
}
static inline const char *node_name(const tt_node *node)
{
    return node->function != NULL ? node->function->name : node->op->name;
}

/* The walk (autograd_v2.c). */
bool pass_wants(const tt_pass *p, const tt_tensor *t);
bool pass_wants_input(const tt_pass *p, const tt_node *node, int i);
void pass_reach(tt_pass *p, const tt_tensor *t); /* the survey is to come by its node */
void pass_mark_needed(const tt_pass *p);
tt_status pass_survey(tt_pass *p); /* from `at` on; finds what forbids the pass */
tt_status pass_walk(tt_pass *p);   /* from `at` on; TT_PAUSED */
tt_status refuse_freed(const tt_tensor *t, const char *op);
/* Adds to the gradient of t, in a pass without and with a graph. */
tt_status pass_receive(tt_pass *p, tt_tensor *t, const char *op, void **dx, bool *acc);
tt_status pass_add(tt_pass *p, tt_tensor *t, tt_tensor *dx, const char *op);
void pass_spare(tt_pass *p, tt_tensor *t); /* nobody reads the cotangent of t any more */

/* A hook of t that has not been called yet. */
static inline bool hook_due(const tt_pass *p, const tt_tensor *t)
{
    return t->hook != NULL && t->hook->fired != p->epoch && has_cot(p, t);
}
tt_status pass_pause(tt_pass *p, tt_tensor *hooked);

void backward_give_up(tt_ctx *ctx); /* ends a pass that waits, as if it had failed */

#endif
