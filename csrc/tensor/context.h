/* context: what one thread owns, and the check that no other thread uses it. */
#ifndef TT_CONTEXT_H
#define TT_CONTEXT_H

#include <pthread.h>

#include "handles.h"

/* Tensors on the tape with handles, a doubly linked list. */
typedef struct {
    tt_tensor *first;
    int64_t count;
} tt_held;

typedef struct {
    tt_node *oldest, *newest;
    int64_t nodes;
    tt_held held; /* in the step arena */
    tt_held kept; /* in the arena of graphs that outlive their step (keep.c) */
    tt_node
        *newest_kept; /* the newest node in that arena: all older ones are there too; NULL: none */
    size_t compacted_used;   /* bytes there when it was compacted last, */
    int64_t compacted_count; /* and how many were held then */
    bool kept_planned;       /* the release under way gives up some of them */
    size_t sweep_above;   /* the size of the step arena above which an operation sweeps it first */
    uint64_t sequence;    /* of the newest node */
    uint64_t epoch;       /* of the newest backward pass */
    struct tt_pass *pass; /* the backward pass that is running or paused; NULL: none */
    bool sweep_wanted;    /* a pass left nodes behind that the caller may have released since */
} tt_tape;

/* Looking for the first value that is not finite (anomaly.c). */
typedef struct {
    bool on, checks; /* record where operations come from; look at what they compute */
    int32_t origin;  /* of the operation that is being applied */
    const tt_node *differentiating; /* the node whose vjp is running */
} tt_anomaly;

struct tt_ctx {
    pthread_t owner;
    arena step, kept, scratch;
    block_pool pool;
    handle_table handles;
    tt_tape tape;
    tt_anomaly anomaly;
    int64_t callbacks;  /* hooks and Functions that live */
    tt_callback *ended; /* those that ended, until tt_ended reports them (hooks.c) */
    bool grad_enabled;
    bool closing;                 /* closed: it only waits for its handles to be released */
    pthread_mutex_t values;       /* see ctx_lock_values */
    struct tt_ctx *older, *newer; /* the list of all contexts: a fork locks them */
};

tt_ctx *ctx_new(void);        /* NULL: out of memory */
void ctx_delete(tt_ctx *ctx); /* when nothing is in it any more */

/* The error of a context that is NULL or another thread's. */
tt_status ctx_refuse(const tt_ctx *ctx, const char *op);

/* Public functions begin with this: TT_ERR_THREAD in a thread that does not own the context. */
static inline tt_status ctx_enter(tt_ctx *ctx, const char *op)
{
    const bool owned = ctx != NULL && pthread_equal(ctx->owner, pthread_self());
    return owned ? TT_OK : ctx_refuse(ctx, op);
}

/* Another thread may read a value, for a pickle, and holds this lock while it does. The owner
 * computes without the lock; it takes it while it changes values in place, moves them, or grows the
 * table of handles. Python's lock is not enough: the owner releases it while the core works. */
void ctx_lock_values(tt_ctx *ctx);
void ctx_unlock_values(tt_ctx *ctx);

/* Any thread may release the handles of a closing context, whichever collects the garbage: under
 * this lock. */
void ctx_lock_closing(void);
void ctx_unlock_closing(void);

/* Scratch memory that ends with the call. */
void *ctx_scratch(tt_ctx *ctx, const char *op, size_t n);

#endif
