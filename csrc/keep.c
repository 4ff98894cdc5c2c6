/* keep: graphs that are still held when their step ends move to an arena of their own.
 *
 * A tensor of four bytes would otherwise keep all that its step recorded. What moves is copied
 * piece by piece (nodes, tensors, their data, what kernels saved), and every pointer to a piece is
 * updated: in nodes, tensors and handles. Data that several tensors share moves as one piece. */
#include "keep.h"

#include <stdlib.h>
#include <string.h>

/* A piece of memory, and where it goes. */
typedef struct {
    char *at, *to;
    size_t size;
} piece;

typedef struct {
    const arena *from;
    piece *pieces; /* sorted and disjoint, once they are merged */
    size_t n;
} moving;

static size_t node_bytes(const tt_node *node)
{
    return sizeof *node + (size_t)(node->n_in + node->n_out) * sizeof node->in[0] +
           (size_t)node->n_in * sizeof node->versions[0];
}

static void add(moving *m, void *at, size_t size)
{
    if (size > 0 && arena_has(m->from, at)) m->pieces[m->n++] = (piece){.at = at, .size = size};
}

/* The struct, and the data where it is not a block's. */
static void add_tensor(moving *m, tt_tensor *t)
{
    add(m, t, sizeof *t);
    if (t->block != NULL || t->numel == 0) return;
    int64_t low = 0, high = 1; /* the range of its elements */
    for (int i = 0; i < t->ndim; i++) {
        const int64_t reach = (t->shape[i] - 1) * t->strides[i];
        if (reach < 0) low += reach;
        else high += reach;
    }
    const int64_t size = (int64_t)dtype_size(t->dtype);
    add(m, (char *)t->data + low * size, (size_t)((high - low) * size));
}

/* A copy of an input, or a constant: no node of its own moves it. */
static bool is_loose(const tt_tensor *t)
{
    return t != NULL && t->place == PLACE_STEP && t->node == NULL;
}

static void add_node(moving *m, tt_node *node)
{
    add(m, node, node_bytes(node));
    for (int k = 0; k < node->n_out; k++) add_tensor(m, node->out[k]);
    for (int i = 0; i < node->n_in; i++) {
        if (is_loose(node->in[i])) add_tensor(m, node->in[i]);
    }
    for (int k = 0; k < TT_MAX_SAVED; k++) {
        if (node->saved[k] == NULL) continue;
        size_t *head = (size_t *)(void *)((char *)node->saved[k] - SAVED_HEAD);
        add(m, head, SAVED_HEAD + *head);
    }
}

static size_t most_pieces(const tt_ctx *ctx, const tt_node *stop)
{
    size_t n = 0;
    for (const tt_node *node = ctx->tape.newest; node != stop; node = node->prev)
        n += 1 + 2 * (size_t)(node->n_in + node->n_out) + TT_MAX_SAVED;
    return n;
}

static int by_place(const void *a, const void *b)
{
    const piece *x = a, *y = b;
    return ((uintptr_t)x->at > (uintptr_t)y->at) - ((uintptr_t)x->at < (uintptr_t)y->at);
}

/* Returns their total size. */
static size_t merge(moving *m)
{
    size_t n = 0, total = 0;
    qsort(m->pieces, m->n, sizeof *m->pieces, by_place);
    for (size_t i = 0; i < m->n; i++) {
        const piece next = m->pieces[i];
        piece *last = n > 0 ? &m->pieces[n - 1] : NULL;
        if (last == NULL || next.at >= last->at + last->size) {
            m->pieces[n++] = next;
            total += next.size;
        } else if (next.at + next.size > last->at + last->size) {
            const size_t size = (size_t)(next.at + next.size - last->at);
            total += size - last->size;
            last->size = size;
        }
    }
    m->n = n;
    return total;
}

/* Elements keep their position in a cache line, on which kernels may rely. */
static bool find_places(const moving *m, arena *to)
{
    const arena_mark mark = arena_here(to);
    for (size_t i = 0; i < m->n; i++) {
        const size_t shift = (uintptr_t)m->pieces[i].at % TT_ALIGN;
        char *place = arena_alloc(to, shift + m->pieces[i].size);
        if (place == NULL) {
            arena_rewind(to, mark);
            return false;
        }
        m->pieces[i].to = place + shift;
    }
    return true;
}

/* The new address of p. */
static void *moved(const moving *m, const void *p)
{
    size_t low = 0, high = m->n; /* the last piece that begins at p or before */
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if ((uintptr_t)m->pieces[middle].at <= (uintptr_t)p) low = middle + 1;
        else high = middle;
    }
    const piece *found = low > 0 ? &m->pieces[low - 1] : NULL;
    if (found == NULL || (uintptr_t)p >= (uintptr_t)found->at + found->size) return as_writable(p);
    return found->to + ((uintptr_t)p - (uintptr_t)found->at);
}

static bool is_held_in(const moving *m, const tt_tensor *t)
{
    return t->handles > 0 && arena_has(m->from, t);
}

/* Tensors that move leave the lists of tensors with handles first: these would otherwise point from
 * new addresses to old ones. */
static void copy(tt_ctx *ctx, const moving *m, const tt_node *stop)
{
    for (const tt_node *node = ctx->tape.newest; node != stop; node = node->prev) {
        for (int k = 0; k < node->n_out; k++) {
            if (is_held_in(m, node->out[k])) handle_unlink(ctx, node->out[k]);
        }
    }
    for (size_t i = 0; i < m->n; i++) memcpy(m->pieces[i].to, m->pieces[i].at, m->pieces[i].size);
}

static void update_tensor(const moving *m, tt_tensor *t)
{
    if (t->block == NULL) t->data = moved(m, t->data);
    if (t->node != NULL) t->node = moved(m, t->node);
}

static void update_node(tt_ctx *ctx, const moving *m, tt_node *node)
{
    node->prev = moved(m, node->prev);
    node->next = moved(m, node->next);
    node->in = moved(m, node->in);
    node->out = moved(m, node->out);
    node->versions = moved(m, node->versions);
    for (int i = 0; i < node->n_in; i++) {
        node->in[i] = moved(m, node->in[i]);
        if (is_loose(node->in[i])) update_tensor(m, node->in[i]);
    }
    for (int k = 0; k < node->n_out; k++) {
        tt_tensor *before = node->out[k], *t = moved(m, before);
        node->out[k] = t;
        update_tensor(m, t);
        if (t == before) continue;
        t->kept = true;
        if (t->handles == 0) continue;
        ctx->handles.slots[t->slot - 1].tensor = t;
        handle_link(ctx, t);
    }
    for (int k = 0; k < TT_MAX_SAVED; k++) node->saved[k] = moved(m, node->saved[k]);
}

bool keep_move(tt_ctx *ctx, arena *from, arena *to, const tt_node *stop, size_t max_bytes)
{
    const arena_mark scratch = arena_here(&ctx->scratch);
    moving m = {.from = from};
    m.pieces = arena_alloc(&ctx->scratch, most_pieces(ctx, stop) * sizeof *m.pieces);
    if (m.pieces == NULL) return false;
    for (tt_node *node = ctx->tape.newest; node != stop; node = node->prev) add_node(&m, node);
    const bool done = merge(&m) <= max_bytes && find_places(&m, to);
    if (done) {
        tt_tape *tape = &ctx->tape;
        copy(ctx, &m, stop);
        tt_node *last = NULL;
        ctx_lock_values(ctx);
        tape->newest = moved(&m, tape->newest);
        tape->oldest = moved(&m, tape->oldest);
        tape->newest_kept = moved(&m, tape->newest_kept);
        for (tt_node *node = tape->newest; node != stop; node = node->prev) {
            update_node(ctx, &m, node);
            last = node;
        }
        if (last != NULL && last->prev != NULL) last->prev->next = last;
        ctx_unlock_values(ctx);
    }
    arena_rewind(&ctx->scratch, scratch);
    return done;
}
