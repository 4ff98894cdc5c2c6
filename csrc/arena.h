/* arena: memory that is handed out by moving a mark and taken back all at once. */
#ifndef TT_ARENA_H
#define TT_ARENA_H

#include "base/memory.h"

typedef struct arena_chunk {
    struct arena_chunk *next;
    size_t size, used; /* bytes after the header */
    bool live;         /* scratch mark of arena_sweep */
} arena_chunk;

typedef struct {
    arena_chunk *first, *current;
    size_t used, high_water; /* bytes handed out; unused ends of chunks do not count */
    size_t capacity, chunks;
    size_t min_chunk;
    block_pool *spare; /* emptied when the system refuses a chunk; may be NULL */
} arena;

typedef struct {
    arena_chunk *chunk;
    size_t chunk_used, used;
} arena_mark;

void arena_init(arena *a, size_t min_chunk);
void arena_free(arena *a);
void *arena_alloc(arena *a, size_t n); /* 64-byte aligned, not zeroed; NULL when refused */
arena_mark arena_here(const arena *a);
void arena_rewind(arena *a, arena_mark mark); /* valid across chunks that were added since */

/* Takes everything back. An arena of several chunks is merged: they go, and the next allocation
 * brings one chunk of the high-water size, so that a loop of fixed shapes makes no system
 * allocation from its third round on. */
void arena_reset(arena *a);

/* For memory whose last owner is known to be gone while later allocations live on: mark what lives,
 * then give the chunks back in which nothing does. */
void arena_sweep_begin(arena *a);
void arena_keep(arena *a, const void *p); /* p may lie outside the arena */
bool arena_has(const arena *a, const void *p);
void arena_sweep(arena *a);

#endif
