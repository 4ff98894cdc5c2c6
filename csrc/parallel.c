/* One pool of POSIX threads that runs numbered shards.
 *
 * The thread that wins `owner` publishes a job, opens the gate, takes shards like everyone else,
 * closes the gate and waits until the workers inside have left. The gate is one integer: its value
 * is the number of workers inside, and CLOSED is added to it while nobody may enter. A worker that
 * wakes too late finds it closed and touches nothing, so a job needs no acknowledgement from
 * workers that never came, and job fields are only written while nobody is inside.
 */
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

#define CLOSED (-(1 << 20))
/* How long an idle thread watches for work before it sleeps. Long enough to bridge the gap between
 * two kernels of a step, short enough not to be felt by other processes. */
#define SPIN_NANOSECONDS 100000
/* Likewise within a job, before a thread lets others have its core. */
#define SPINS_BEFORE_YIELD 2000
/* What products keep on the stack is more than some systems give a thread that does not ask. */
#define STACK_BYTES (2 << 20)

static pthread_mutex_t owner = PTHREAD_MUTEX_INITIALIZER; /* held while a job runs */

static struct {
    /* The job; written by the owner while the gate is closed and empty. */
    parallel_fn fn;
    void *arg;
    atomic_int n_threads; /* workers with a higher index leave the job alone */
    struct {
        _Alignas(64) _Atomic int64_t next; /* a cache line for each thread */
        int64_t end;
    } ranges[PARALLEL_MAX_THREADS]; /* the shards that each thread begins with */

    atomic_int gate;
    atomic_int epoch;     /* one more for each job, so that a worker sees a new one */
    atomic_bool stopping; /* workers must return */

    pthread_mutex_t lock; /* guards the conditions, nothing else */
    pthread_cond_t empty; /* the gate is closed and nobody is inside */

    int n_workers; /* running; changed by the owner only */
    struct {
        pthread_t thread;
        pthread_cond_t work;         /* epoch changed, or stopping */
        atomic_bool asleep;          /* inside or about to enter pthread_cond_wait */
    } workers[PARALLEL_MAX_THREADS]; /* by index: 0, the caller, is unused */
} pool = {.gate = CLOSED, .lock = PTHREAD_MUTEX_INITIALIZER, .empty = PTHREAD_COND_INITIALIZER};

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

/* Watches until `*word != seen` (or, with `equal`, until `*word == seen`) or the time is up. */
static bool spin(atomic_int *word, int seen, bool equal, int64_t end)
{
    do {
        for (int i = 0; i < 16; i++) {
            if ((atomic_load_explicit(word, memory_order_acquire) == seen) == equal) return true;
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
    int threads = atomic_load_explicit(&pool.n_threads, memory_order_relaxed);
    for (int i = 0, from = worker_index; i < threads;
         i++, from = from + 1 < threads ? from + 1 : 0) {
        int64_t shard, end = pool.ranges[from].end;
        while ((shard = atomic_fetch_add_explicit(&pool.ranges[from].next, 1,
                                                  memory_order_relaxed)) < end)
            pool.fn(pool.arg, shard);
    }
    inside_shard = outer;
}

static bool is_wanted(void)
{
    return worker_index < atomic_load_explicit(&pool.n_threads, memory_order_relaxed);
}

/* Whether there is a job for this worker, or was one that it came too late for. */
static bool try_to_help(void)
{
    if (!is_wanted()) return false;
    int inside = atomic_load_explicit(&pool.gate, memory_order_relaxed);
    do {
        if (inside < 0) return true;
    } while (!atomic_compare_exchange_weak_explicit(&pool.gate, &inside, inside + 1,
                                                    memory_order_acquire, memory_order_relaxed));
    bool wanted = is_wanted(); /* by the job that is known to run now */
    if (wanted) run_shards();
    if (atomic_fetch_sub_explicit(&pool.gate, 1, memory_order_acq_rel) == CLOSED + 1) {
        pthread_mutex_lock(&pool.lock);
        pthread_cond_signal(&pool.empty);
        pthread_mutex_unlock(&pool.lock);
    }
    return wanted;
}

static void wait_for_job(int seen, int64_t sleep_at)
{
    if (spin(&pool.epoch, seen, false, sleep_at)) return;
    /* asleep is set before the epoch is read again, and publish() raises the epoch before it reads
     * asleep: one of the two sees the other. */
    pthread_mutex_lock(&pool.lock);
    atomic_store(&pool.workers[worker_index].asleep, true);
    while (atomic_load(&pool.epoch) == seen)
        pthread_cond_wait(&pool.workers[worker_index].work, &pool.lock);
    atomic_store(&pool.workers[worker_index].asleep, false);
    pthread_mutex_unlock(&pool.lock);
}

/* Wakes the workers that a job is for, and lets the others sleep. */
static void publish(int threads)
{
    atomic_fetch_add(&pool.epoch, 1);
    for (int i = 1; i < threads; i++) {
        if (!atomic_load(&pool.workers[i].asleep)) continue;
        pthread_mutex_lock(&pool.lock);
        pthread_cond_signal(&pool.workers[i].work);
        pthread_mutex_unlock(&pool.lock);
    }
}

static void *worker_main(void *index)
{
    worker_index = (int)(intptr_t)index;
    int64_t sleep_at = 0; /* jobs for others do not keep this worker awake */
    for (;;) {
        int seen = atomic_load(&pool.epoch);
        if (atomic_load(&pool.stopping)) return NULL;
        if (try_to_help()) sleep_at = now_ns() + SPIN_NANOSECONDS;
        wait_for_job(seen, sleep_at);
    }
}

/* The next two are called by the owner. */

static void start_workers(int wanted)
{
    if (pool.n_workers >= wanted) return;
    /* Signals belong to the program's own threads. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    while (pool.n_workers < wanted) {
        int index = pool.n_workers + 1;
        pthread_cond_init(&pool.workers[index].work, NULL);
        atomic_store(&pool.workers[index].asleep, false);
        if (pthread_create(&pool.workers[index].thread, &attributes, worker_main,
                           (void *)(intptr_t)index) != 0)
            break;
        pool.n_workers++;
    }
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void stop_workers(void)
{
    if (pool.n_workers == 0) return;
    atomic_store(&pool.stopping, true);
    publish(pool.n_workers + 1);
    for (int i = 1; i <= pool.n_workers; i++) pthread_join(pool.workers[i].thread, NULL);
    pool.n_workers = 0;
    atomic_store(&pool.stopping, false);
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
    pool.fn = fn;
    pool.arg = arg;
    atomic_store_explicit(&pool.n_threads, threads, memory_order_relaxed);
    for (int i = 0; i < threads; i++) {
        atomic_store_explicit(&pool.ranges[i].next, n_shards * i / threads, memory_order_relaxed);
        pool.ranges[i].end = n_shards * (i + 1) / threads;
    }
    atomic_store_explicit(&pool.gate, 0, memory_order_release);
    publish(threads);
    run_shards();
    atomic_fetch_add_explicit(&pool.gate, CLOSED, memory_order_acq_rel);
    if (!spin(&pool.gate, CLOSED, true, now_ns() + SPIN_NANOSECONDS)) {
        pthread_mutex_lock(&pool.lock);
        while (atomic_load(&pool.gate) != CLOSED) pthread_cond_wait(&pool.empty, &pool.lock);
        pthread_mutex_unlock(&pool.lock);
    }
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
