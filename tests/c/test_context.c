/* context.h: a fork at any moment leaves the child contexts that it can close; another thread may
 * read what the owner works with. */
#define _GNU_SOURCE
#include "tape.h"

#include <pthread.h>
#include <sched.h>
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

enum { N = 5000, ROUNDS = 60 };

typedef struct {
    tt_ctx *ctx;
    tt_handle written, result;
    int torn;
    atomic_int reads;
    tt_status status;
    atomic_bool ended;
} reader;

static void *read_elsewhere(void *arg)
{
    reader *r = arg;
    static double values[N];
    while (!atomic_load(&done) && r->status == TT_OK) {
        int64_t info[22];
        for (int k = 0; k < 2 && r->status == TT_OK; k++) {
            const tt_handle h = k ? r->result : r->written;
            r->status = tt_info(r->ctx, h, info);
            if (r->status == TT_OK) r->status = tt_read(r->ctx, h, values, sizeof values);
            for (int i = 1; i < N; i++) r->torn += values[i] != values[0];
            r->torn += k && values[0] != 9;
            r->torn += info[5] != N;
        }
        atomic_fetch_add(&r->reads, 1);
    }
    atomic_store(&r->ended, true);
    return NULL;
}

/* A busy machine may start a thread long after its creation. */
static void wait_for_the_first_read(reader *r)
{
    while (!atomic_load(&r->reads) && !atomic_load(&r->ended)) sched_yield();
}

/* The owner writes in place, makes the table of handles grow, and ends the step in whose memory a
 * result lies. Nothing is torn, and the thread sanitizer has nothing to say. */
static void test_another_thread_reads(void)
{
    static double values[N];
    const int64_t shape[1] = {N};
    static tt_handle many[ROUNDS * 20];
    tt_handle step = 0, gradient = 0, leaf = 0;
    tt_ctx *ctx = tt_ctx_new();
    reader r = {.ctx = ctx};
    for (int i = 0; i < N; i++) values[i] = 3;
    tt_new(ctx, TT_POOL_PARAM, TT_FLOAT64, 1, shape, values, &leaf);
    tt_new(ctx, TT_POOL_PARAM, TT_FLOAT64, 1, shape, values, &r.written);
    tt_new(ctx, TT_POOL_DATA, TT_FLOAT64, 1, shape, values, &gradient);
    tt_set_requires_grad(ctx, leaf, 1);
    const tt_handle squared[2] = {leaf, leaf};
    tt_apply(ctx, TT_OP_mul, 2, squared, 0, NULL, 0, NULL, &r.result);
    atomic_store(&done, false);
    pthread_t thread;
    pthread_create(&thread, NULL, read_elsewhere, &r);
    wait_for_the_first_read(&r);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < N; i++) values[i] = round;
        tt_write(ctx, r.written, values, sizeof values);
        tt_sgd(ctx, 1, &r.written, &gradient, NULL, 0.5, 0, 0, 0, 0, 0, 0);
        for (int i = 0; i < 20; i++)
            tt_new(ctx, TT_POOL_DATA, TT_FLOAT64, 0, NULL, NULL, &many[round * 20 + i]);
        if (round == ROUNDS / 2)
            CHECK(tt_backward(ctx, 1, &r.result, &gradient, 0, NULL, 0, 0, NULL) == TT_OK, "%s",
                  tt_error_message());
        tt_apply(ctx, TT_OP_mul, 2, squared, 0, NULL, 0, NULL, &step);
        CHECK(tt_backward(ctx, 1, &step, &gradient, 0, NULL, 0, 0, NULL) == TT_OK, "%s",
              tt_error_message());
        tt_release(ctx, step);
    }
    atomic_store(&done, true);
    pthread_join(thread, NULL);
    CHECK(r.status == TT_OK && r.torn == 0 && atomic_load(&r.reads) > 0, "status %d, %d torn of %d",
          r.status, r.torn, atomic_load(&r.reads));
    tt_ctx_free(ctx);
}

/* A fork while another thread reads leaves the child a lock that it can take. */
static void test_fork_while_another_thread_reads(void)
{
    static double values[N];
    const int64_t shape[1] = {N};
    tt_ctx *ctx = tt_ctx_new();
    reader r = {.ctx = ctx};
    tt_new(ctx, TT_POOL_PARAM, TT_FLOAT64, 1, shape, values, &r.written);
    for (int i = 0; i < N; i++) values[i] = 9;
    tt_new(ctx, TT_POOL_PARAM, TT_FLOAT64, 1, shape, values, &r.result);
    atomic_store(&done, false);
    pthread_t thread;
    pthread_create(&thread, NULL, read_elsewhere, &r);
    wait_for_the_first_read(&r);
    for (int i = 0; i < FORKS; i++) {
        pid_t child = fork();
        if (child == 0) {
            alarm(20);
            tt_write(ctx, r.written, values, sizeof values);
            _exit(0);
        }
        int status = -1;
        waitpid(child, &status, 0);
        CHECK(status == 0, "fork %d: the child ended with status %d", i, status);
        if (status != 0) break;
    }
    atomic_store(&done, true);
    pthread_join(thread, NULL);
    tt_ctx_free(ctx);
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
    test_another_thread_reads();
    test_fork_while_another_thread_reads();
    test_no_memory_for_a_context();
    return check_result();
}
