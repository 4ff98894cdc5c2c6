/* arena: memory that is handed out by moving a mark and taken back all at once. */
#include "arena.h"

static char *chunk_data(arena_chunk *c) { return (char *)c + TT_ALIGN; }

void arena_init(arena *a, size_t min_chunk) { *a = (arena){.min_chunk = align_up(min_chunk)}; }

static void chunk_free(arena *a, arena_chunk *c)
{
    a->capacity -= c->size;
    a->chunks -= 1;
    mem_free(c);
}

void arena_free(arena *a)
{
    while (a->first != NULL) {
        arena_chunk *c = a->first;
        a->first = c->next;
        chunk_free(a, c);
    }
    a->current = NULL;
    a->used = 0;
}

/* A new chunk after the current one: as large as all before it, and from some size on an eighth of
 * that, so that their number grows slowly, but none is so large that it would never be free of
 * everything that lives. */
enum { MAX_DOUBLING = 16 << 20 };

static arena_chunk *chunk_add(arena *a, size_t n)
{
    size_t size = a->min_chunk;
    if (size < a->capacity) size = align_up(a->capacity);
    size_t largest = a->capacity / 8 > MAX_DOUBLING ? align_up(a->capacity / 8) : MAX_DOUBLING;
    if (size > largest) size = largest;
    if (a->first == NULL && size < a->high_water) size = a->high_water;
    if (size < n) size = n;
    arena_chunk *c = mem_alloc(size + TT_ALIGN);
    if (c == NULL && a->spare != NULL && a->spare->cached_bytes > 0) {
        block_pool_empty(a->spare);
        c = mem_alloc(size + TT_ALIGN);
    }
    if (c == NULL && size > n) { /* short of memory: exactly what was asked for may still fit */
        size = n;
        c = mem_alloc(size + TT_ALIGN);
    }
    if (c == NULL) return NULL;
    *c = (arena_chunk){.size = size};
    if (a->current != NULL) {
        c->next = a->current->next;
        a->current->next = c;
    } else {
        c->next = a->first;
        a->first = c;
    }
    a->capacity += size;
    a->chunks += 1;
    POISON(chunk_data(c), size);
    return c;
}

void *arena_alloc(arena *a, size_t n)
{
    if (n > PTRDIFF_MAX - 4 * (size_t)TT_ALIGN || mem_refused_inside()) return NULL;
    size_t asked = n;
    n = n == 0 ? TT_ALIGN : align_up(n);
    arena_chunk *c = a->current;
    while (c != NULL && c->size - c->used < n)
        c = c->next; /* chunks after the current one are empty after a rewind */
    if (c == NULL) c = chunk_add(a, n);
    if (c == NULL) return NULL;
    a->current = c;
    void *p = chunk_data(c) + c->used;
    c->used += n;
    a->used += n;
    if (a->used > a->high_water) a->high_water = a->used;
    UNPOISON(p, asked);
    return p;
}

arena_mark arena_here(const arena *a)
{
    return (arena_mark){
        .chunk = a->current, .chunk_used = a->current ? a->current->used : 0, .used = a->used};
}

void arena_rewind(arena *a, arena_mark mark)
{
    arena_chunk *from = mark.chunk != NULL ? mark.chunk->next : a->first;
    for (arena_chunk *c = from; c != NULL; c = c->next) {
        c->used = 0;
        POISON(chunk_data(c), c->size);
    }
    if (mark.chunk != NULL) {
        mark.chunk->used = mark.chunk_used;
        POISON(chunk_data(mark.chunk) + mark.chunk_used, mark.chunk->size - mark.chunk_used);
    }
    a->current = mark.chunk != NULL ? mark.chunk : a->first;
    a->used = mark.used;
}

void arena_reset(arena *a)
{
    if (a->chunks > 1) {
        arena_free(a);
        return;
    }
    arena_rewind(a, (arena_mark){.chunk = NULL});
}

void arena_sweep_begin(arena *a)
{
    for (arena_chunk *c = a->first; c != NULL; c = c->next) c->live = c == a->current;
}

static arena_chunk *chunk_of(const arena *a, const void *p)
{
    const uintptr_t at = (uintptr_t)p;
    for (arena_chunk *c = a->first; c != NULL; c = c->next) {
        const uintptr_t begin = (uintptr_t)chunk_data(c);
        if (at >= begin && at < begin + c->size) return c;
    }
    return NULL;
}

void arena_keep(arena *a, const void *p)
{
    arena_chunk *c = chunk_of(a, p);
    if (c != NULL) c->live = true;
}

bool arena_has(const arena *a, const void *p) { return chunk_of(a, p) != NULL; }

void arena_sweep(arena *a)
{
    for (arena_chunk **link = &a->first; *link != NULL;) {
        arena_chunk *c = *link;
        if (c->live) {
            link = &c->next;
            continue;
        }
        *link = c->next;
        a->used -= c->used;
        chunk_free(a, c);
    }
}
