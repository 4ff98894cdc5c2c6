/* context.h: a fork at any moment leaves the child contexts that it can close. */
#define _GNU_SOURCE
#include "context.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { FORKS = 100, HELD = 64 };

static atomic_bool done;

/* A context that was closed before its handles were let go, as the garbage collector may do it. */
static tt_ctx *closed_context(tt_handle *handles)
{
    tt_ctx *ctx = tt_ctx_new();
    for (int i = 0; i < HELD; i++)
        tt_new(ctx, TT_POOL_DATA, TT_FLOAT32, 0, NULL, NULL, &handles[i]);
    tt_ctx_close(ctx);
    return ctx;
}

static void *close_contexts(void *unused)
{
    tt_handle handles[HELD];
    (void)unused;
    while (!atomic_load(&done)) {
        tt_ctx *ctx = closed_context(handles);
        for (int i = 0; i < HELD; i++) tt_release(ctx, handles[i]);
    }
    return NULL;
}

/* The child asks for no memory: an allocator that a fork found at work is not what is tested. */
static void test_fork_while_contexts_are_closed(void)
{
    pthread_t thread;
    tt_handle handles[HELD];
    tt_ctx *ctx = closed_context(handles);
    pthread_create(&thread, NULL, close_contexts, NULL);
    for (int i = 0; i < FORKS; i++) {
        pid_t child = fork();
        if (child == 0) {
            alarm(20);
            CHECK(tt_release(ctx, handles[0]) == TT_OK, "%s", tt_error_message());
            _exit(check_result());
        }
        int status = -1;
        waitpid(child, &status, 0);
        CHECK(status == 0, "fork %d: the child ended with status %d", i, status);
        if (status != 0) break;
    }
    atomic_store(&done, true);
    pthread_join(thread, NULL);
    for (int i = 0; i < HELD; i++) tt_release(ctx, handles[i]);
}

static void test_no_memory_for_a_context(void)
{
    tt_memory m;
    mem_stats(&m);
    const int64_t before = m.system_bytes;
    tt_fail_allocation(1, 1);
    CHECK(tt_ctx_new() == NULL && tt_error_code() == TT_ERR_NOMEM, "%s", tt_error_message());
    tt_fail_allocation(0, 0);
    mem_stats(&m);
    CHECK(m.system_bytes == before, "%lld bytes", (long long)(m.system_bytes - before));
}

int main(void)
{
    test_fork_while_contexts_are_closed();
    test_no_memory_for_a_context();
    return check_result();
}
