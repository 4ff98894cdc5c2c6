/* context: what one thread owns, and the check that no other thread uses it. */
#include "context.h"

#include <string.h>

enum { STEP_CHUNK = 1 << 20, KEPT_CHUNK = 1 << 16, SCRATCH_CHUNK = 1 << 16 };

static pthread_mutex_t closing_lock = PTHREAD_MUTEX_INITIALIZER;
void ctx_lock_closing(void) { pthread_mutex_lock(&closing_lock); }
void ctx_unlock_closing(void) { pthread_mutex_unlock(&closing_lock); }

/* A fork copies a lock that is held, but not the thread that would let go of it: so the thread that
 * forks holds them all meanwhile, on both sides. */
static tt_ctx *newest_context; /* under closing_lock */
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static void before_fork(void)
{
    pthread_mutex_lock(&closing_lock);
    for (tt_ctx *ctx = newest_context; ctx != NULL; ctx = ctx->older) ctx_lock_values(ctx);
}
static void after_fork(void)
{
    for (tt_ctx *ctx = newest_context; ctx != NULL; ctx = ctx->older) ctx_unlock_values(ctx);
    pthread_mutex_unlock(&closing_lock);
}
static void guard_forks(void) { pthread_atfork(before_fork, after_fork, after_fork); }

static void enlist(tt_ctx *ctx)
{
    pthread_mutex_lock(&closing_lock);
    ctx->older = newest_context;
    if (newest_context != NULL) newest_context->newer = ctx;
    newest_context = ctx;
    pthread_mutex_unlock(&closing_lock);
}

static void delist(tt_ctx *ctx)
{
    pthread_mutex_lock(&closing_lock);
    if (ctx->newer != NULL) ctx->newer->older = ctx->older;
    else newest_context = ctx->older;
    if (ctx->older != NULL) ctx->older->newer = ctx->newer;
    pthread_mutex_unlock(&closing_lock);
}

void ctx_lock_values(tt_ctx *ctx) { pthread_mutex_lock(&ctx->values); }
void ctx_unlock_values(tt_ctx *ctx) { pthread_mutex_unlock(&ctx->values); }

tt_ctx *ctx_new(void)
{
    pthread_once(&fork_once, guard_forks);
    tt_ctx *ctx = mem_alloc(sizeof *ctx);
    if (ctx == NULL) {
        mem_exhausted("Context", "context", sizeof *ctx);
        return NULL;
    }
    memset(ctx, 0, sizeof *ctx);
    ctx->owner = pthread_self();
    ctx->grad_enabled = true;
    arena_init(&ctx->step, STEP_CHUNK);
    arena_init(&ctx->kept, KEPT_CHUNK);
    arena_init(&ctx->scratch, SCRATCH_CHUNK);
    ctx->step.spare = ctx->kept.spare = ctx->scratch.spare = &ctx->pool;
    pthread_mutex_init(&ctx->values, NULL);
    enlist(ctx);
    return ctx;
}

void ctx_delete(tt_ctx *ctx)
{
    delist(ctx);
    mem_free(ctx->handles.slots);
    arena_free(&ctx->step);
    arena_free(&ctx->kept);
    arena_free(&ctx->scratch);
    block_pool_empty(&ctx->pool);
    pthread_mutex_destroy(&ctx->values);
    mem_free(ctx);
}

tt_status ctx_refuse(const tt_ctx *ctx, const char *op)
{
    TT_NEED(op, ctx);
    return tt_fail(
        TT_ERR_THREAD, op,
        "this context belongs to another thread: make tensors in the thread that uses them");
}

void *ctx_scratch(tt_ctx *ctx, const char *op, size_t n)
{
    void *p = arena_alloc(&ctx->scratch, n);
    if (p == NULL) mem_exhausted(op, "scratch", n);
    return p;
}
