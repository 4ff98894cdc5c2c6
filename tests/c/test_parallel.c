/* parallel.h: every shard runs exactly once, whoever asks and from wherever. Also built with the
 * thread sanitizer. */
#define _GNU_SOURCE
#include "base/parallel.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { MAX_SHARDS = 1000, N_ROUNDS = 2000 };

struct tally {
    atomic_int ran[MAX_SHARDS];
    int plain[MAX_SHARDS]; /* not atomic: the end of parallel_for must order these for the caller */
};

static void tally_clear(struct tally *t, int n)
{
    for (int i = 0; i < n; i++) atomic_store(&t->ran[i], 0), t->plain[i] = 0;
}

static void tally_shard(void *arg, int64_t shard)
{
    struct tally *t = arg;
    atomic_fetch_add(&t->ran[shard], 1);
    t->plain[shard] = (int)shard + 1;
}

static void tally_check(struct tally *t, int n)
{
    for (int i = 0; i < n; i++)
        CHECK(atomic_load(&t->ran[i]) == 1 && t->plain[i] == i + 1, "shard %d ran %d times", i,
              atomic_load(&t->ran[i]));
}

static void run_and_check(struct tally *t, int n)
{
    tally_clear(t, n);
    parallel_for(n, tally_shard, t);
    tally_check(t, n);
}

static void test_each_shard_once(void)
{
    static struct tally t;
    for (int threads = 1; threads <= 4; threads++) {
        CHECK(parallel_set_threads(threads) == 0, "%d threads", threads);
        CHECK(parallel_get_threads() == threads, "%d", parallel_get_threads());
        static const int sizes[] = {0, 1, 2, 3, 7, 64, MAX_SHARDS};
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) run_and_check(&t, sizes[i]);
        for (int round = 0; round < N_ROUNDS; round++) run_and_check(&t, 5);
    }
}

static void test_after_sleep(void)
{
    static struct tally t;
    parallel_set_threads(3);
    for (int round = 0; round < 20; round++) {
        usleep(1000); /* the workers have stopped spinning */
        run_and_check(&t, 8);
    }
}

static void slow_shard(void *arg, int64_t shard)
{
    usleep(shard == 0 ? 3000 : 1); /* whoever takes shard 0 leaves last; the others must wait */
    tally_shard(arg, shard);
}

static void test_uneven_shards(void)
{
    static struct tally t;
    for (int threads = 2; threads <= 4; threads++) {
        parallel_set_threads(threads);
        for (int round = 0; round < 10; round++) {
            tally_clear(&t, 40);
            parallel_for(40, slow_shard, &t);
            tally_check(&t, 40);
        }
    }
}

static struct tally nested[8];

static void nested_shard(void *arg, int64_t shard)
{
    int worker = parallel_worker();
    (void)arg;
    CHECK(parallel_set_threads(2) == -1, "the pool was changed from inside a shard");
    tally_clear(&nested[shard], 50);
    parallel_for(50, tally_shard, &nested[shard]);
    CHECK(parallel_worker() == worker, "the nested call left this thread");
}

static void test_nested(void)
{
    parallel_set_threads(4);
    for (int round = 0; round < 50; round++) {
        parallel_for(8, nested_shard, NULL);
        for (int i = 0; i < 8; i++) tally_check(&nested[i], 50);
    }
}

static void *second_caller(void *arg)
{
    for (int round = 0; round < N_ROUNDS; round++) run_and_check(arg, 9);
    return NULL;
}

static void test_two_callers(void)
{
    static struct tally mine, other;
    parallel_set_threads(3);
    pthread_t thread;
    pthread_create(&thread, NULL, second_caller, &other);
    for (int round = 0; round < N_ROUNDS; round++) run_and_check(&mine, 9);
    pthread_join(thread, NULL);
}

static void *change_threads(void *arg)
{
    (void)arg;
    for (int round = 0; round < 40; round++) parallel_set_threads(1 + round % 4);
    return NULL;
}

static void test_change_while_running(void)
{
    static struct tally t;
    pthread_t thread;
    pthread_create(&thread, NULL, change_threads, NULL);
    for (int round = 0; round < N_ROUNDS; round++) run_and_check(&t, 9);
    pthread_join(thread, NULL);
}

/* While it runs, no two shards may report the same worker. */
static atomic_int busy[PARALLEL_MAX_THREADS];

static void worker_shard(void *arg, int64_t shard)
{
    (void)arg;
    (void)shard;
    int worker = parallel_worker();
    CHECK(worker >= 0 && worker < parallel_get_threads(), "worker %d", worker);
    CHECK(atomic_fetch_add(&busy[worker], 1) == 0, "worker %d is two threads", worker);
    usleep(50); /* so that the others come in between */
    atomic_fetch_sub(&busy[worker], 1);
}

static void test_worker_index(void)
{
    parallel_set_threads(4);
    for (int round = 0; round < 50; round++) parallel_for(32, worker_shard, NULL);
    CHECK(parallel_worker() == 0, "the caller is worker %d", parallel_worker());
}

static atomic_int by_workers;

static void low_worker_shard(void *arg, int64_t shard)
{
    (void)arg;
    CHECK(parallel_worker() < 2, "shard %d ran on worker %d", (int)shard, parallel_worker());
}

/* Scratch memory that was made for two threads is safe when the knob says four. */
static void test_fewer_threads_than_the_knob(void)
{
    parallel_set_threads(4);
    for (int round = 0; round < 200; round++) parallel_for_on(2, 64, low_worker_shard, NULL);
}

static void count_workers(void *arg, int64_t shard)
{
    (void)arg;
    (void)shard;
    usleep(1000);
    if (parallel_worker() > 0) atomic_fetch_add(&by_workers, 1);
}

/* A busy machine may wake a worker only after the caller has done all parts itself: try again. */
static void check_workers_help(const char *who)
{
    atomic_store(&by_workers, 0);
    for (int attempt = 0; attempt < 500 && !atomic_load(&by_workers); attempt++)
        parallel_for(10, count_workers, NULL);
    CHECK(atomic_load(&by_workers) > 0, "%s has no workers", who);
}

static void test_fork(void)
{
    static struct tally t;
    parallel_set_threads(3);
    for (int round = 0; round < 10; round++) {
        run_and_check(&t, 20);
        pid_t child = fork();
        if (child == 0) {
            check_workers_help("the child");
            parallel_set_threads(2);
            run_and_check(&t, 20);
            _exit(check_result());
        }
        int status = -1;
        waitpid(child, &status, 0);
        CHECK(status == 0, "the child ended with status %d", status);
        check_workers_help("the parent");
    }
}

/* The system may have no thread to give. This stands before the true function, for the pool too. */
static atomic_int granted = 1 << 30;

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *),
                   void *arg)
{
    union {
        void *found;
        int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    } true_one = {.found = dlsym(RTLD_NEXT, "pthread_create")};
    if (atomic_fetch_sub(&granted, 1) <= 0) return EAGAIN;
    return true_one.create(thread, attributes, start, arg);
}

static void granted_worker_shard(void *arg, int64_t shard)
{
    CHECK(parallel_worker() <= *(const int *)arg, "shard %d on worker %d of %d", (int)shard,
          parallel_worker(), *(const int *)arg);
}

static void count_part(void *arg, int64_t step, int64_t part)
{
    (void)step, (void)part;
    atomic_fetch_add((atomic_int *)arg, 1);
}

static void test_threads_that_are_refused(void)
{
    static struct tally t;
    static atomic_int parts;
    for (int threads = 0; threads < 3; threads++) {
        parallel_set_threads(1); /* which ends the workers there are */
        atomic_store(&granted, threads);
        parallel_set_threads(4);
        for (int round = 0; round < 20; round++) {
            run_and_check(&t, 9);
            parallel_for(9, granted_worker_shard, &threads);
            atomic_store(&parts, 0);
            parallel_steps(50, 4, count_part, &parts);
            CHECK(atomic_load(&parts) == 200, "%d parts", atomic_load(&parts));
            atomic_store(&granted, 0);
        }
    }
    atomic_store(&granted, 1 << 30);
    check_workers_help("a pool that has its threads again");
}

static void test_bounds(void)
{
    CHECK(parallel_set_threads(0) == -1 && parallel_set_threads(-3) == -1, "accepted");
    CHECK(parallel_set_threads(100000) == 0, "refused");
    CHECK(parallel_get_threads() == PARALLEL_MAX_THREADS, "%d", parallel_get_threads());
    parallel_set_threads(1);
}

/* ---- steps ---- */

enum { N_STEPS = 200, N_PARTS = 7 };

struct walk {
    int64_t value[2][N_PARTS]; /* by turns: what a step writes, the next reads */
    atomic_int ran;
    int uneven;
};

/* Each part takes from all parts of the step before. */
static void walk_part(void *arg, int64_t step, int64_t part)
{
    struct walk *w = arg;
    if (w->uneven && (step + part) % 50 == 0) usleep(200);
    int64_t sum = part;
    for (int i = 0; i < N_PARTS; i++) sum += w->value[!(step & 1)][i] * (i + 1);
    w->value[step & 1][part] = sum % 1000003;
    atomic_fetch_add(&w->ran, 1);
}

static void walk_from_a_shard(void *arg, int64_t shard)
{
    struct walk *w = arg;
    parallel_steps(N_STEPS, N_PARTS, walk_part, w + shard);
}

static void test_steps_wait_for_each_other(void)
{
    static struct walk expected, w, inner[3];
    for (int step = 0; step < N_STEPS; step++)
        for (int part = 0; part < N_PARTS; part++) walk_part(&expected, step, part);
    for (int threads = 1; threads <= 4; threads++) {
        parallel_set_threads(threads);
        for (int round = 0; round < 6; round++) {
            memset(&w, 0, sizeof w);
            w.uneven = round % 2;
            parallel_steps(N_STEPS, N_PARTS, walk_part, &w);
            CHECK(atomic_load(&w.ran) == N_STEPS * N_PARTS, "%d parts", atomic_load(&w.ran));
            CHECK(memcmp(w.value, expected.value, sizeof w.value) == 0, "%d threads", threads);
        }
        memset(inner, 0, sizeof inner);
        parallel_for(3, walk_from_a_shard, inner); /* on the thread of the shard alone */
        for (int i = 0; i < 3; i++)
            CHECK(memcmp(inner[i].value, expected.value, sizeof w.value) == 0, "inside %d", i);
    }
    memset(&w, 0, sizeof w);
    parallel_steps(0, N_PARTS, walk_part, &w);
    parallel_steps(N_STEPS, 0, walk_part, &w);
    CHECK(atomic_load(&w.ran) == 0, "%d parts of nothing", atomic_load(&w.ran));
}

int main(void)
{
    CHECK(parallel_get_threads() >= 1, "%d", parallel_get_threads());
    test_each_shard_once();
    test_after_sleep();
    test_uneven_shards();
    test_nested();
    test_two_callers();
    test_change_while_running();
    test_worker_index();
    test_fewer_threads_than_the_knob();
    test_fork();
    test_threads_that_are_refused();
    test_bounds();
    test_steps_wait_for_each_other();
    return check_result();
}
