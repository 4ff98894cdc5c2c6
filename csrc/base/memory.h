/* memory: the only calls of the system allocator, and reference-counted blocks with free lists. */
#ifndef TT_MEMORY_H
#define TT_MEMORY_H

#include <stdatomic.h>
#include <stdbool.h>

#include "error.h"

#define TT_ALIGN 64 /* of every allocation: a cache line, and the widest vector */

/* Under AddressSanitizer memory that waits for its next use is poisoned, and so is what a size was
 * rounded up by: whoever reads or writes there is reported, not given a wrong number. */
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

static inline size_t align_up(size_t n) { return (n + TT_ALIGN - 1) & ~(size_t)(TT_ALIGN - 1); }

/* Nothing else in the core calls malloc or free. NULL when refused. */
void *mem_alloc(size_t n);
void mem_free(void *p);
void mem_stats(tt_memory *out);

/* The error of a refused allocation, with the pool, the bytes asked and what is in use. */
tt_status mem_exhausted(const char *op, const char *pool, size_t asked);

/* Whether tt_fail_allocation, for tests, refuses what arenas and free lists give. */
extern atomic_int_least64_t mem_fail_countdown; /* 0: off */
bool mem_fails_inside(void);
static inline bool mem_refused_inside(void)
{
    return atomic_load_explicit(&mem_fail_countdown, memory_order_relaxed) > 0 &&
           mem_fails_inside();
}

/* The storage of tensors that outlive a step. Blocks that are freed wait in the pool for the next
 * of their size class, so that a loop of fixed shapes soon asks the system for nothing; together
 * they hold at most CACHE_FACTOR times what ever lived at once, so that changing shapes do not pile
 * up. */
enum { CACHE_FACTOR = 3 };

typedef struct tt_block {
    struct tt_block *next_free;
    size_t size; /* of the size class, header excluded */
    int64_t refs;
    uint32_t version; /* counts in-place writes: backward notices a saved value that changed */
    uint8_t pool;
    uint8_t size_class;
} tt_block;

enum { BLOCK_CLASSES = 4 * 48 }; /* four to a doubling, from 64 bytes */

typedef struct {
    tt_block *free[BLOCK_CLASSES];
    int64_t bytes[TT_POOL_COUNT], blocks[TT_POOL_COUNT];
    int64_t live_bytes, peak_bytes, cached_bytes;
} block_pool;

/* With one reference; NULL when refused. */
tt_block *block_new(block_pool *pool, tt_pool kind, size_t n);
void block_unref(block_pool *pool, tt_block *block); /* NULL is fine */
void block_pool_empty(block_pool *pool); /* gives the cached blocks back to the system */
static inline void *block_data(tt_block *block) { return (char *)block + TT_ALIGN; }

#endif
