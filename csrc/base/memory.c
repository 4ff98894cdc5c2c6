/* memory: the only calls of the system allocator, and reference-counted blocks with free lists. */
#include "memory.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Large blocks come from the kernel and go straight back to it: the allocator of libc would keep
 * what it can, and a merged arena would then be resident twice. */
enum { MIN_MAP = 1 << 20 };

/* Each system block begins with its own size, so that accounting is exact on free. */
typedef struct {
    size_t size;
} mem_header;

static atomic_int_least64_t allocations, bytes_live, bytes_peak, limit_bytes;
static atomic_int fail_how;

static void *system_alloc(size_t n)
{
    void *p = NULL;
    if (n < MIN_MAP) return posix_memalign(&p, TT_ALIGN, n) == 0 ? p : NULL;
    p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p != MAP_FAILED ? p : NULL;
}

static void system_free(void *p, size_t n)
{
    if (n < MIN_MAP) free(p);
    else munmap(p, n);
}

/* For tests (tt_fail_allocation): every allocation that counts takes one off. */
atomic_int_least64_t mem_fail_countdown;

static bool counted_down(void)
{
    if (atomic_load_explicit(&mem_fail_countdown, memory_order_relaxed) == 0 ||
        atomic_fetch_sub(&mem_fail_countdown, 1) != 1)
        return false;
    if (atomic_load(&fail_how) & TT_FAIL_FOR_EVER) atomic_store(&mem_fail_countdown, 1);
    return true;
}

bool mem_fails_inside(void)
{
    return (atomic_load(&fail_how) & TT_FAIL_INSIDE) != 0 && counted_down();
}

static bool refused(size_t n)
{
    if (counted_down()) return true;
    int64_t limit = atomic_load_explicit(&limit_bytes, memory_order_relaxed);
    return limit > 0 &&
           (int64_t)n > limit - atomic_load_explicit(&bytes_live, memory_order_relaxed);
}

void *mem_alloc(size_t n)
{
    if (n > PTRDIFF_MAX - 4 * (size_t)TT_ALIGN) return NULL;
    size_t total = align_up(n) + TT_ALIGN;
    mem_header *base = refused(total) ? NULL : system_alloc(total);
    if (base == NULL) return NULL;
    base->size = total;
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    int64_t live = atomic_fetch_add_explicit(&bytes_live, (int64_t)total, memory_order_relaxed) +
                   (int64_t)total;
    int64_t peak = atomic_load_explicit(&bytes_peak, memory_order_relaxed);
    while (live > peak && !atomic_compare_exchange_weak(&bytes_peak, &peak, live)) {}
    return (char *)base + TT_ALIGN;
}

void mem_free(void *p)
{
    if (p == NULL) return;
    mem_header *header = (mem_header *)(void *)((char *)p - TT_ALIGN);
    atomic_fetch_sub_explicit(&bytes_live, (int64_t)header->size, memory_order_relaxed);
    UNPOISON(header, header->size);
    system_free(header, header->size);
}

void mem_stats(tt_memory *out)
{
    out->system_allocations = atomic_load(&allocations);
    out->system_bytes = atomic_load(&bytes_live);
    out->system_peak_bytes = atomic_load(&bytes_peak);
}

tt_status mem_exhausted(const char *op, const char *pool, size_t asked)
{
    tt_memory m;
    mem_stats(&m);
    return tt_fail(TT_ERR_NOMEM, op,
                   "out of memory in the %s pool: asked for %zu bytes, %lld in use, peak %lld",
                   pool, asked, (long long)m.system_bytes, (long long)m.system_peak_bytes);
}

void tt_set_memory_limit(int64_t bytes) { atomic_store(&limit_bytes, bytes > 0 ? bytes : 0); }

int64_t tt_fail_allocation(int64_t k, int how)
{
    atomic_store(&fail_how, how);
    return atomic_exchange(&mem_fail_countdown, k > 0 ? k : 0);
}

/* Class c of doubling d has 64 * 2^d * (4 + c) / 4 bytes; at most a quarter of them are unused. */
static int class_of(size_t n, size_t *rounded)
{
    size_t base = TT_ALIGN;
    int doubling = 0;
    while (base * 2 <= n && doubling < BLOCK_CLASSES / 4 - 1) {
        base *= 2;
        doubling++;
    }
    for (int quarter = 0; quarter < 4; quarter++) {
        size_t size = base + base / 4 * (size_t)quarter;
        if (n <= size) {
            *rounded = align_up(size);
            return 4 * doubling + quarter;
        }
    }
    *rounded = base * 2;
    return doubling + 1 < BLOCK_CLASSES / 4 ? 4 * (doubling + 1) : -1;
}

tt_block *block_new(block_pool *pool, tt_pool kind, size_t n)
{
    size_t size = 0;
    int size_class = class_of(n < 1 ? 1 : n, &size);
    if (size_class < 0 || mem_refused_inside()) return NULL;
    tt_block *block = pool->free[size_class];
    if (block != NULL) {
        pool->free[size_class] = block->next_free;
        pool->cached_bytes -= (int64_t)block->size;
    } else {
        block = mem_alloc(size + TT_ALIGN);
        if (block == NULL && pool->cached_bytes > 0) { /* what waits for reuse may make the room */
            block_pool_empty(pool);
            block = mem_alloc(size + TT_ALIGN);
        }
        if (block == NULL) return NULL;
        block->size = size;
        block->size_class = (uint8_t)size_class;
    }
    UNPOISON(block_data(block), n);
    POISON((char *)block_data(block) + n, size - n);
    block->next_free = NULL;
    block->refs = 1;
    block->version = 0;
    block->pool = (uint8_t)kind;
    pool->bytes[kind] += (int64_t)size;
    pool->blocks[kind] += 1;
    pool->live_bytes += (int64_t)size;
    if (pool->live_bytes > pool->peak_bytes) pool->peak_bytes = pool->live_bytes;
    return block;
}

void block_unref(block_pool *pool, tt_block *block)
{
    if (block == NULL || --block->refs > 0) return;
    pool->bytes[block->pool] -= (int64_t)block->size;
    pool->blocks[block->pool] -= 1;
    pool->live_bytes -= (int64_t)block->size;
    if (pool->cached_bytes + (int64_t)block->size > CACHE_FACTOR * pool->peak_bytes) {
        mem_free(block);
        return;
    }
    POISON(block_data(block), block->size);
    pool->cached_bytes += (int64_t)block->size;
    block->next_free = pool->free[block->size_class];
    pool->free[block->size_class] = block;
}

void block_pool_empty(block_pool *pool)
{
    for (int i = 0; i < BLOCK_CLASSES; i++) {
        while (pool->free[i] != NULL) {
            tt_block *block = pool->free[i];
            pool->free[i] = block->next_free;
            mem_free(block);
        }
    }
    pool->cached_bytes = 0;
}
