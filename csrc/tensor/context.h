/* context: what one thread's work owns, and the check that no other thread uses it. */
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
    tt_held held;         /* in the step arena */
    tt_held kept;         /* in the arena of graphs that outlive their step (keep.c) */
    tt_node *settled;     /* from the oldest to this one all nodes lie there; NULL: none */
    size_t tidied_used;   /* bytes there when it was tidied up last, */
    int64_t tidied_count; /* and how many were held then */
    bool kept_planned;    /* the release under way gives up some of them */
    size_t sweep_above;   /* step bytes above which growth is answered by a sweep */
    uint64_t sequence;    /* of the newest node */
    uint64_t epoch;       /* of the newest backward pass */
    struct tt_pass *pass; /* a backward pass that is under way */
    bool untidy;          /* a pass left nodes behind that the outside may have let go since */
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
    tt_callback *ended; /* those that do not, for the caller to forget (hooks.c) */
    bool grad_enabled;
    bool closing;                 /* nobody uses it any more but to release handles */
    pthread_mutex_t values;       /* see ctx_lock_values */
    struct tt_ctx *older, *newer; /* all contexts, for a fork to find their locks */
};

tt_ctx *ctx_new(void);        /* NULL: out of memory */
void ctx_delete(tt_ctx *ctx); /* when nothing is in it any more */

/* The error of a context that is NULL or another thread's. */
tt_status ctx_refuse(const tt_ctx *ctx, const char *op);

/* Every public entry begins with this: TT_ERR_THREAD from a thread that does not own the context.
 */
static inline tt_status ctx_enter(tt_ctx *ctx, const char *op)
{
    const bool owned = ctx != NULL && pthread_equal(ctx->owner, pthread_self());
    return owned ? TT_OK : ctx_refuse(ctx, op);
}

/* Another thread may read a value, for a pickle. The owner reads and computes without a lock; it
 * holds this one while it changes values in place or moves them, and while the table of handles
 * grows. Whoever reads from another thread holds it all the while. Python's lock does not do: the
 * owner lets go of it while the core works. */
void ctx_lock_values(tt_ctx *ctx);
void ctx_unlock_values(tt_ctx *ctx);

/* Handles of a closing context are let go by whichever thread collects the garbage: under this. */
void ctx_lock_closing(void);
void ctx_unlock_closing(void);

/* Scratch memory that ends with the call. */
void *ctx_scratch(tt_ctx *ctx, const char *op, size_t n);

#endif
