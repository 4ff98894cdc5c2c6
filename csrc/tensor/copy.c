/* copy: copies elements of any type between strided places, without converting them.
 *
 * The copy goes row by row: axes that continue each other in all operands count as one axis, and
 * the last axis is the row. */
#include "copy.h"

#include <string.h>

#include "base/parallel.h"

enum { DST, SRC, MASK, OPERANDS, ROW_GRAIN = 32768 };

typedef struct {
    char *data[OPERANDS]; /* no mask: NULL */
    size_t size;          /* of an element, of a mask's 1 */
    int64_t shape[TT_MAX_DIMS], strides[OPERANDS][TT_MAX_DIMS];
    int ndim;
    /* Along one axis of the destination or the source the elements lie at offsets; -1: none. */
    int looked_up, through;
    const int64_t *offsets;
    int64_t rows, rows_per_shard;
} walk;

static walk walk_of(size_t size, void *dst, const void *src, const uint8_t *mask)
{
    walk w; /* the arrays are filled as far as they are used: clearing them would cost small tensors
               time */
    w.data[DST] = dst, w.data[SRC] = as_writable(src), w.data[MASK] = as_writable(mask);
    w.size = size;
    w.ndim = 0, w.looked_up = -1, w.through = DST, w.offsets = NULL;
    return w;
}

static void add_axis(walk *w, int64_t n, int64_t dst, int64_t src, int64_t mask)
{
    const int64_t strides[OPERANDS] = {dst, src, mask};
    const int last = w->ndim - 1;
    if (n == 1) return;
    bool joins = last >= 0 && last != w->looked_up;
    for (int k = 0; k < OPERANDS && joins; k++) joins = w->strides[k][last] == strides[k] * n;
    if (joins) w->shape[last] *= n;
    else w->shape[w->ndim++] = n;
    for (int k = 0; k < OPERANDS; k++) w->strides[k][w->ndim - 1] = strides[k];
}

static void add_axes(walk *w, int n, const int64_t *shape, const int64_t *dst, const int64_t *src)
{
    for (int i = 0; i < n; i++) add_axis(w, shape[i], dst[i], src[i], 0);
}

/* Element by element; with a constant size the compiler makes one move of each. */
#define EACH(bytes, to, from, when)                                            \
    for (int64_t i = 0; i < n; i++) {                                          \
        if (when) memcpy(dst + (to) * (bytes), src + (from) * (bytes), bytes); \
    }
#define BY_SIZE(to, from, when)            \
    switch (w->size) {                     \
    case 1: EACH(1, to, from, when) break; \
    case 2: EACH(2, to, from, when) break; \
    case 4: EACH(4, to, from, when) break; \
    default: EACH(8, to, from, when)       \
    }

static void copy_row(const walk *w, char *restrict dst, const char *restrict src, const char *mask)
{
    const int last = w->ndim - 1;
    const int64_t n = w->shape[last], to = w->strides[DST][last], from = w->strides[SRC][last];
    const int64_t *offsets = w->offsets, step = w->strides[MASK][last];
    if (mask != NULL) {
        BY_SIZE(i * to, i * from, mask[i * step])
    } else if (w->looked_up == last && w->through == SRC) {
        BY_SIZE(i * to, offsets[i], true)
    } else if (w->looked_up == last) {
        BY_SIZE(offsets[i], i * from, true)
    } else if (to == 1 && from == 1) {
        memcpy(dst, src, (size_t)n * w->size);
    } else {
        BY_SIZE(i * to, i * from, true)
    }
}

/* Where a row begins in each operand; an offset that is looked up is added. */
typedef struct {
    int64_t at[TT_MAX_DIMS], offset[OPERANDS];
} row_place;

static row_place place_of_row(const walk *w, int64_t row)
{
    row_place p = {.offset = {0}};
    for (int i = w->ndim - 2; i >= 0; i--) {
        p.at[i] = row % w->shape[i];
        row /= w->shape[i];
        for (int k = 0; k < OPERANDS; k++) p.offset[k] += p.at[i] * w->strides[k][i];
    }
    return p;
}

static inline void next_row(const walk *w, row_place *p)
{
    for (int i = w->ndim - 2; i >= 0; i--) {
        const bool over = ++p->at[i] == w->shape[i];
        const int64_t steps = over ? 1 - w->shape[i] : 1;
        for (int k = 0; k < OPERANDS; k++) p->offset[k] += steps * w->strides[k][i];
        if (!over) return;
        p->at[i] = 0;
    }
}

static void copy_shard(void *arg, int64_t shard)
{
    const walk *w = arg;
    int64_t begin = shard * w->rows_per_shard, end = begin + w->rows_per_shard;
    if (end > w->rows) end = w->rows;
    const bool by_row = w->looked_up >= 0 && w->looked_up < w->ndim - 1;
    row_place p = place_of_row(w, begin);
    for (int64_t row = begin; row < end; row++) {
        int64_t found[OPERANDS] = {0};
        if (by_row) found[w->through] = w->offsets[p.at[w->looked_up]];
        copy_row(w, w->data[DST] + (p.offset[DST] + found[DST]) * (int64_t)w->size,
                 w->data[SRC] + (p.offset[SRC] + found[SRC]) * (int64_t)w->size,
                 w->data[MASK] != NULL ? w->data[MASK] + p.offset[MASK] : NULL);
        next_row(w, &p);
    }
}

/* For at least one element. */
static void run_walk(walk *w, bool in_order)
{
    if (w->ndim == 0) { /* one element */
        w->shape[w->ndim++] = 1;
        for (int k = 0; k < OPERANDS; k++) w->strides[k][0] = 1;
    }
    const int64_t row = w->shape[w->ndim - 1];
    w->rows = 1;
    for (int i = 0; i < w->ndim - 1; i++) w->rows *= w->shape[i];
    w->rows_per_shard = in_order ? w->rows : row >= ROW_GRAIN ? 1 : ROW_GRAIN / row;
    parallel_for((w->rows + w->rows_per_shard - 1) / w->rows_per_shard, copy_shard, w);
}

void copy_elements(int ndim, const int64_t *shape, size_t size, void *dst,
                   const int64_t *dst_strides, const void *src, const int64_t *src_strides,
                   const uint8_t *mask, const int64_t *mask_strides)
{
    walk w = walk_of(size, dst, src, mask);
    for (int i = 0; i < ndim; i++) {
        if (shape[i] == 0) return;
        add_axis(&w, shape[i], dst_strides[i], src_strides[i], mask != NULL ? mask_strides[i] : 0);
    }
    run_walk(&w, false);
}

tt_status copy_check_places(const char *op, int count, const int64_t *sizes, const tt_tensor *index)
{
    int64_t places = 1;
    for (int i = 0; i < count; i++) {
        if (__builtin_mul_overflow(places, sizes[i], &places)) places = INT64_MAX;
    }
    for (int64_t k = 0; k < index->numel; k++) {
        int64_t at = ((const int64_t *)index->data)[k];
        if (at < 0 || at >= places)
            return tt_fail(TT_ERR_INDEX, op,
                           "index %lld at position %lld is out of range for a table of %lld rows",
                           (long long)at, (long long)k, (long long)places);
    }
    return TT_OK;
}

tt_places copy_places_of(const tt_tensor *full, int axis, int count, const tt_tensor *index,
                         int64_t *offsets)
{
    const int64_t *at = index->data;
    for (int64_t k = 0; k < index->numel; k++) {
        int64_t rest = at[k], offset = 0;
        for (int i = axis + count - 1; i > axis; i--) {
            offset += rest % full->shape[i] * full->strides[i];
            rest /= full->shape[i];
        }
        offsets[k] = offset + rest * full->strides[axis];
    }
    return (tt_places){full, axis, count, index->numel, offsets};
}

static void copy_places(const tt_places *p, int through, void *part, const int64_t *part_strides)
{
    const tt_tensor *full = p->full;
    const bool put = through == DST;
    const int after = p->axis + p->count;
    const int64_t *inner = part_strides + p->axis + 1;
    if (p->n == 0 || full->numel == 0) return;
    walk w =
        walk_of(dtype_size(full->dtype), put ? full->data : part, put ? part : full->data, NULL);
    add_axes(&w, p->axis, full->shape, put ? full->strides : part_strides,
             put ? part_strides : full->strides);
    w.looked_up = w.ndim++;
    w.through = through;
    w.offsets = p->offsets;
    w.shape[w.looked_up] = p->n;
    for (int k = 0; k < OPERANDS; k++) w.strides[k][w.looked_up] = 0;
    w.strides[put ? SRC : DST][w.looked_up] = part_strides[p->axis];
    add_axes(&w, full->ndim - after, full->shape + after, put ? full->strides + after : inner,
             put ? inner : full->strides + after);
    run_walk(&w, put);
}

void copy_from_places(const tt_places *p, void *part, const int64_t *part_strides)
{
    copy_places(p, SRC, part, part_strides);
}

void copy_to_places(const tt_places *p, const void *part, const int64_t *part_strides)
{
    copy_places(p, DST, as_writable(part), part_strides);
}

void copy_gather(void *dst, const tt_tensor *src)
{
    int64_t dense[TT_MAX_DIMS];
    tensor_dense_strides(src->ndim, src->shape, dense);
    copy_elements(src->ndim, src->shape, dtype_size(src->dtype), dst, dense, src->data,
                  src->strides, NULL, NULL);
}

void copy_scatter(tt_tensor *dst, const void *src)
{
    int64_t dense[TT_MAX_DIMS];
    tensor_dense_strides(dst->ndim, dst->shape, dense);
    copy_elements(dst->ndim, dst->shape, dtype_size(dst->dtype), dst->data, dst->strides, src,
                  dense, NULL, NULL);
}
