/* parallel: one pool of POSIX threads that runs numbered shards.
 *
 * The thread that gets the lock `owner` describes a job, posts it to the workers that it wants, and
 * runs shards like each of them. It then takes the job back from workers that have not begun, and
 * waits for those that have. Each worker has its own state, on its own cache line: the owner
 * changes IDLE to POSTED, the worker changes POSTED to RUNNING and, at its end, to IDLE. The job is
 * written only while all workers are idle, and read only by those that run. */
#define _GNU_SOURCE
#include "parallel.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "cpu_count.h"

enum { IDLE, POSTED, RUNNING };
/* How long an idle thread watches for work before it sleeps. Long enough to bridge the gap between
 * two kernels of a step, short enough not to be felt by other processes. */
#define SPIN_NANOSECONDS 100000
/* Likewise within a job, before a thread lets others have its core. */
#define SPINS_BEFORE_YIELD 2000
/* Products need more stack than the default of some systems. */
#define STACK_BYTES (2 << 20)

static pthread_mutex_t owner = PTHREAD_MUTEX_INITIALIZER; /* held while a job runs */

static struct {
    parallel_fn fn;
    void *arg;
    int n_threads; /* the owner, and the workers below this */
    struct {
        _Alignas(64) _Atomic int64_t next;
        int64_t end;
    } ranges[PARALLEL_MAX_THREADS]; /* the shards that each thread begins with */
} current;                          /* the job */

static struct {
    _Alignas(64) atomic_int state;
    atomic_bool asleep; /* inside or about to enter pthread_cond_wait */
    pthread_cond_t work;
    pthread_t thread;
} workers[PARALLEL_MAX_THREADS]; /* by index: 0, the caller, is unused */

static int n_workers;                                    /* running; changed by the owner only */
static atomic_bool stopping;                             /* workers must return */
static atomic_bool owner_waiting;                        /* on idle */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the conditions, nothing else */
static pthread_cond_t idle = PTHREAD_COND_INITIALIZER;   /* a worker became IDLE */

static atomic_int n_threads; /* the knob; 0 until first asked */
static pthread_once_t setup_once = PTHREAD_ONCE_INIT;

static _Thread_local int worker_index;
static _Thread_local bool inside_shard;

static inline void cpu_relax(void)
{
#if defined __x86_64__ || defined __i386__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("yield");
#endif
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Watches until the worker's state is `wanted` or the time is up. */
static bool spin(int worker, int wanted)
{
    int64_t end = now_ns() + SPIN_NANOSECONDS;
    do {
        for (int i = 0; i < 16; i++) {
            if (atomic_load_explicit(&workers[worker].state, memory_order_acquire) == wanted)
                return true;
            cpu_relax();
        }
    } while (now_ns() < end);
    return false;
}

/* A thread runs the shards of its own range, then what is left of the others'. So in the kernels of
 * one step, which cut their rows alike, a thread mostly meets the rows that are in its cache. */
static void run_shards(void)
{
    bool outer = inside_shard;
    inside_shard = true;
    int threads = current.n_threads;
    for (int i = 0, from = worker_index; i < threads;
         i++, from = from + 1 < threads ? from + 1 : 0) {
        int64_t shard, end = current.ranges[from].end;
        while ((shard = atomic_fetch_add_explicit(&current.ranges[from].next, 1,
                                                  memory_order_relaxed)) < end)
            current.fn(current.arg, shard);
    }
    inside_shard = outer;
}

static void run_if_posted(int worker)
{
    int posted = POSTED;
    if (!atomic_compare_exchange_strong(&workers[worker].state, &posted, RUNNING)) return;
    run_shards();
    /* The owner raises owner_waiting before it looks at the state again: one sees the other. */
    atomic_store(&workers[worker].state, IDLE);
    if (atomic_load(&owner_waiting)) {
        pthread_mutex_lock(&lock);
        pthread_cond_signal(&idle);
        pthread_mutex_unlock(&lock);
    }
}

static void *worker_main(void *index)
{
    int self = worker_index = (int)(intptr_t)index;
    while (!atomic_load(&stopping)) {
        if (spin(self, POSTED)) {
            run_if_posted(self);
            continue;
        }
        /* asleep is set before the state is read again, and post() changes the state before it
         * reads asleep: one of the two sees the other. A worker that wakes too late watches for the
         * next job before it sleeps again. */
        pthread_mutex_lock(&lock);
        atomic_store(&workers[self].asleep, true);
        if (atomic_load(&workers[self].state) != POSTED && !atomic_load(&stopping))
            pthread_cond_wait(&workers[self].work, &lock);
        atomic_store(&workers[self].asleep, false);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void wake(int worker)
{
    if (!atomic_load(&workers[worker].asleep)) return;
    pthread_mutex_lock(&lock);
    pthread_cond_signal(&workers[worker].work);
    pthread_mutex_unlock(&lock);
}

static void post(int worker)
{
    atomic_store(&workers[worker].state, POSTED);
    wake(worker);
}

/* Waits until a worker is idle, or finds that it had not begun. */
static void take_back(int worker)
{
    int posted = POSTED;
    if (atomic_compare_exchange_strong(&workers[worker].state, &posted, IDLE)) return;
    if (spin(worker, IDLE)) return;
    pthread_mutex_lock(&lock);
    atomic_store(&owner_waiting, true);
    while (atomic_load(&workers[worker].state) != IDLE) pthread_cond_wait(&idle, &lock);
    atomic_store(&owner_waiting, false);
    pthread_mutex_unlock(&lock);
}

/* The next two are called by the owner. */

static void start_workers(int wanted)
{
    if (n_workers >= wanted) return;
    /* Signals belong to the program's own threads. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    while (n_workers < wanted) {
        int index = n_workers + 1;
        atomic_store(&workers[index].state, IDLE);
        atomic_store(&workers[index].asleep, false);
        pthread_cond_init(&workers[index].work, NULL);
        if (pthread_create(&workers[index].thread, &attributes, worker_main,
                           (void *)(intptr_t)index) != 0)
            break;
        n_workers++;
    }
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void stop_workers(void)
{
    if (n_workers == 0) return;
    atomic_store(&stopping, true);
    for (int i = 1; i <= n_workers; i++) wake(i);
    for (int i = 1; i <= n_workers; i++) pthread_join(workers[i].thread, NULL);
    n_workers = 0;
    atomic_store(&stopping, false);
}

/* A fork copies only the calling thread. The pool is emptied before it, and both sides start their
 * workers again when they next need them. */

static void before_fork(void)
{
    if (inside_shard) return;
    pthread_mutex_lock(&owner);
    stop_workers();
}

static void after_fork(void)
{
    if (!inside_shard) pthread_mutex_unlock(&owner);
}

static void setup(void)
{
    const char *text = getenv("TINYTAPE_NUM_THREADS");
    char *end = NULL;
    long asked = text ? strtol(text, &end, 10) : 0;
    long n = asked >= 1 && *end == '\0' ? asked : cpu_count();
    atomic_store(&n_threads, (int)(n < PARALLEL_MAX_THREADS ? n : PARALLEL_MAX_THREADS));
    pthread_atfork(before_fork, after_fork, after_fork);
}

int parallel_get_threads(void)
{
    pthread_once(&setup_once, setup);
    return atomic_load_explicit(&n_threads, memory_order_relaxed);
}

int parallel_set_threads(int n)
{
    if (n < 1 || inside_shard) return -1;
    if (n > PARALLEL_MAX_THREADS) n = PARALLEL_MAX_THREADS;
    if (n == parallel_get_threads()) return 0;
    pthread_mutex_lock(&owner);
    stop_workers();
    atomic_store(&n_threads, n);
    pthread_mutex_unlock(&owner);
    return 0;
}

int parallel_worker(void) { return worker_index; }

void parallel_for_on(int threads, int64_t n_shards, parallel_fn fn, void *arg)
{
    /* Inside a shard `owner` is held, so a nested call runs inline too. */
    if (n_shards <= 1 || threads == 1 || pthread_mutex_trylock(&owner) != 0) {
        for (int64_t shard = 0; shard < n_shards; shard++) fn(arg, shard);
        return;
    }
    if (threads > n_shards) threads = (int)n_shards; /* the others may go on sleeping */
    start_workers(threads - 1);
    if (threads > n_workers + 1) threads = n_workers + 1; /* the system refused some */
    current.fn = fn;
    current.arg = arg;
    current.n_threads = threads;
    for (int i = 0; i < threads; i++) {
        atomic_store_explicit(&current.ranges[i].next, n_shards * i / threads,
                              memory_order_relaxed);
        current.ranges[i].end = n_shards * (i + 1) / threads;
    }
    for (int i = 1; i < threads; i++) post(i);
    run_shards();
    for (int i = 1; i < threads; i++) take_back(i);
    pthread_mutex_unlock(&owner);
}

void parallel_for(int64_t n_shards, parallel_fn fn, void *arg)
{
    parallel_for_on(parallel_get_threads(), n_shards, fn, arg);
}

/* A part is run by whoever claims it, by preference always the same thread, whose cache then holds
 * what the part needs. A thread waits only for parts that a running thread has claimed, so it does
 * not matter how many threads the pool sends. */
typedef struct {
    parallel_step_fn fn;
    void *arg;
    int64_t n_steps, n_parts;
    _Alignas(64) _Atomic int64_t done; /* parts, of all steps together */
    struct {
        _Alignas(64) _Atomic int64_t steps;
    } claimed[PARALLEL_MAX_THREADS]; /* of each part */
} step_job;

static void wait_for_step(step_job *job, int64_t end)
{
    for (int64_t tries = 0; atomic_load_explicit(&job->done, memory_order_acquire) < end; tries++) {
        if (tries < SPINS_BEFORE_YIELD) cpu_relax();
        else sched_yield();
    }
}

static void run_steps(void *arg, int64_t shard)
{
    step_job *job = arg;
    int64_t parts = job->n_parts;
    int64_t first = atomic_load_explicit(&job->done, memory_order_acquire) / parts;
    for (int64_t step = first; step < job->n_steps; step++) {
        for (int64_t i = 0; i < parts; i++) {
            int64_t part = shard + i < parts ? shard + i : shard + i - parts, claimed = step;
            if (!atomic_compare_exchange_strong_explicit(&job->claimed[part].steps, &claimed,
                                                         step + 1, memory_order_relaxed,
                                                         memory_order_relaxed))
                continue;
            job->fn(job->arg, step, part);
            atomic_fetch_add_explicit(&job->done, 1, memory_order_acq_rel);
        }
        wait_for_step(job, (step + 1) * parts);
    }
}

void parallel_steps(int64_t n_steps, int64_t n_parts, parallel_step_fn fn, void *arg)
{
    if (n_parts == 1 || n_parts > PARALLEL_MAX_THREADS) {
        for (int64_t step = 0; step < n_steps; step++)
            for (int64_t part = 0; part < n_parts; part++) fn(arg, step, part);
        return;
    }
    step_job job = {.fn = fn, .arg = arg, .n_steps = n_steps, .n_parts = n_parts};
    parallel_for(n_parts, run_steps, &job);
}
