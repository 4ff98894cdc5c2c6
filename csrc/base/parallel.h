/* parallel: one pool of threads, and the setting of their number. The caller cuts its work into
 * shards by the size of the problem. The number of threads only decides who runs a shard, never
 * what a shard is. */
#ifndef TT_PARALLEL_H
#define TT_PARALLEL_H

#include <stdint.h>

#define PARALLEL_MAX_THREADS 64

typedef void (*parallel_fn)(void *arg, int64_t shard);

/* Runs fn(arg, s) once for each s in [0, n_shards) and returns when all have run; the caller takes
 * part. A call from inside a shard, with one shard, or while the pool serves another thread runs
 * inline on the caller. */
void parallel_for(int64_t n_shards, parallel_fn fn, void *arg);

/* The same on at most n_threads threads, so that parallel_worker() stays below n_threads: for
 * shards that each need scratch memory of their thread, whatever other threads do to the knob. */
void parallel_for_on(int n_threads, int64_t n_shards, parallel_fn fn, void *arg);

/* Runs fn(arg, step, part) for each of n_parts parts of each of n_steps steps, all parts of a step
 * before any of the next: for a recurrence that is too narrow to be shared by rows. Where a thread
 * is late or never comes, the others take its parts. At most PARALLEL_MAX_THREADS parts. */
typedef void (*parallel_step_fn)(void *arg, int64_t step, int64_t part);
void parallel_steps(int64_t n_steps, int64_t n_parts, parallel_step_fn fn, void *arg);

/* The default is TINYTAPE_NUM_THREADS if it is a whole number >= 1, else the CPUs that this process
 * may use (affinity mask, limited by the cgroup's CPU quota). At most PARALLEL_MAX_THREADS. */
int parallel_get_threads(void);
/* 0, or -1 if n < 1 or when called from inside a shard; values above the maximum are clamped. */
int parallel_set_threads(int n);

/* Which thread runs this shard: 0 for the caller, 1.. for workers, always < PARALLEL_MAX_THREADS.
 * Unique among the shards of one parallel_for that run at the same time; picks scratch memory. */
int parallel_worker(void);

#endif
