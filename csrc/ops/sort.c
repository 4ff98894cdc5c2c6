/* sort: the elements along one axis in order, and the indices they had; argsort, the indices alone;
 * and topk, the first k of that order. Equals keep their order, and NaN counts as the largest, as
 * in PyTorch. Descending is from the largest down. The gradient goes back to the indices. */
#include "../op.h"

TT_ATTRS(sort, axis, descending)
TT_ATTRS(topk, axis, descending, k)

#ifdef TT_KERNELS

/* An element as a number whose order is the one that is wanted, and where it was. */
typedef struct {
    uint64_t key;
    int64_t index;
} sort_item;

enum { SORT_RUN = 16, SORT_LONG = 512 };
static const uint64_t SORT_SIGN = (uint64_t)1 << 63;

static inline uint64_t sort_key(T x, bool descending)
{
    uint64_t key;
#ifdef TT_I64
    key = (uint64_t)x ^ SORT_SIGN;
#else
    if (x != x) {
        key = UINT64_MAX;
    } else {
        double wide = (double)x + 0.0; /* one zero, not two */
        memcpy(&key, &wide, sizeof key);
        key = key & SORT_SIGN ? ~key : key | SORT_SIGN;
    }
#endif
    return descending ? ~key : key;
}

static inline bool sort_before(sort_item a, sort_item b)
{
    return a.key < b.key || (a.key == b.key && a.index < b.index);
}

/* Both sorts take n items and space for as many, and return where the items are then. */
static sort_item *merge_sort(sort_item *items, sort_item *spare, int64_t n)
{
    for (int64_t begin = 0; begin < n; begin += SORT_RUN) {
        int64_t end = at_most(begin + SORT_RUN, n);
        for (int64_t i = begin + 1; i < end; i++) {
            sort_item item = items[i];
            int64_t j = i;
            for (; j > begin && sort_before(item, items[j - 1]); j--) items[j] = items[j - 1];
            items[j] = item;
        }
    }
    for (int64_t run = SORT_RUN; run < n; run *= 2) {
        for (int64_t begin = 0; begin < n; begin += 2 * run) {
            int64_t middle = at_most(begin + run, n), end = at_most(middle + run, n);
            int64_t i = begin, j = middle;
            for (int64_t k = begin; k < end; k++) {
                bool left = j == end || (i < middle && sort_before(items[i], items[j]));
                spare[k] = items[left ? i++ : j++];
            }
        }
        sort_item *sorted = spare;
        spare = items;
        items = sorted;
    }
    return items;
}

/* Byte by byte from the last, for items in the order of their indices, which equal keys keep. Bytes
 * that all keys share, such as the end of every float32, are passed over. */
static sort_item *radix_sort(sort_item *items, sort_item *spare, int64_t n)
{
    int64_t count[8][256] = {{0}};
    for (int64_t i = 0; i < n; i++) {
        for (int b = 0; b < 8; b++) count[b][items[i].key >> 8 * b & 255]++;
    }
    for (int b = 0; b < 8; b++) {
        int64_t at[256], before = 0;
        if (count[b][items[0].key >> 8 * b & 255] == n) continue;
        for (int digit = 0; digit < 256; digit++) {
            at[digit] = before;
            before += count[b][digit];
        }
        for (int64_t i = 0; i < n; i++) spare[at[items[i].key >> 8 * b & 255]++] = items[i];
        sort_item *sorted = spare;
        spare = items;
        items = sorted;
    }
    return items;
}

/* A heap of the k first items so far, the last of them on top. */
static void heap_sink(sort_item *heap, int64_t k, int64_t at)
{
    sort_item item = heap[at];
    for (int64_t child = 2 * at + 1; child < k; child = 2 * at + 1) {
        if (child + 1 < k && sort_before(heap[child], heap[child + 1])) child++;
        if (!sort_before(item, heap[child])) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = item;
}

typedef struct {
    const T *x; /* (outer, n, inner) */
    T *value;   /* (outer, k, inner) */
    int64_t *index;
    sort_item *scratch; /* 2 n for each thread */
    tt_span s;
    int64_t k, lines_per_shard;
    bool descending;
} sort_plan;

static void sort_line(const sort_plan *p, int64_t line)
{
    tt_span s = p->s;
    const T *x = p->x + line / s.inner * s.n * s.inner + line % s.inner;
    int64_t first = line / s.inner * p->k * s.inner + line % s.inner;
    sort_item *items = p->scratch + parallel_worker() * 2 * s.n;
    bool few = p->k < s.n / 4;
    int64_t kept = few ? p->k : s.n;
    for (int64_t i = 0; i < kept; i++)
        items[i] = (sort_item){sort_key(x[i * s.inner], p->descending), i};
    for (int64_t i = kept / 2 - 1; i >= 0 && few; i--) heap_sink(items, kept, i);
    for (int64_t i = kept; i < s.n && kept > 0; i++) {
        sort_item item = {sort_key(x[i * s.inner], p->descending), i};
        if (!sort_before(item, items[0])) continue;
        items[0] = item;
        heap_sink(items, kept, 0);
    }
    items = (few || kept < SORT_LONG ? merge_sort : radix_sort)(items, items + s.n, kept);
    for (int64_t i = 0; i < p->k; i++) {
        int64_t at = first + i * s.inner, index = items[i].index;
        if (p->value != NULL) p->value[at] = x[index * s.inner];
        p->index[at] = index;
    }
}

static void sort_shard(void *arg, int64_t shard)
{
    const sort_plan *p = arg;
    int64_t end = at_most((shard + 1) * p->lines_per_shard, p->s.outer * p->s.inner);
    for (int64_t line = shard * p->lines_per_shard; line < end; line++) sort_line(p, line);
}

static tt_status sort_run(tt_call *c, T *value, int64_t *index)
{
    const sort_attrs a = sort_read(c->attrs); /* with which those of topk begin */
    sort_plan p = {.x = c->in[X]->data,
                   .value = value,
                   .index = index,
                   .s = rule_span_of_axis(c->in[X], a.axis),
                   .k = c->out[Y]->ndim > 0 ? c->out[Y]->shape[a.axis] : 1,
                   .descending = a.descending};
    if (c->out[Y]->numel == 0) return TT_OK;
    p.lines_per_shard = rows_per_shard(4 * p.s.n); /* an element is more work than elsewhere */
    int64_t shards = shards_of(p.s.outer * p.s.inner, p.lines_per_shard);
    int threads = (int)at_most(parallel_get_threads(), shards);
    p.scratch = call_scratch(c, (size_t)(threads * 2 * p.s.n) * sizeof *p.scratch);
    if (p.scratch == NULL) return TT_ERR_NOMEM;
    parallel_for_on(threads, shards, sort_shard, &p);
    return TT_OK;
}

static tt_status sort_forward(tt_call *c)
{
    return sort_run(c, c->out[VALUES]->data, c->out[INDICES]->data);
}
static tt_status argsort_forward(tt_call *c) { return sort_run(c, NULL, c->out[Y]->data); }

static tt_status sort_backward(tt_call *c)
{
    tt_span s = rule_span_of_axis(c->in[X], sort_read(c->attrs).axis);
    span_scatter(c, s, c->out[Y]->numel / at_least_one(s.outer * s.inner));
    return TT_OK;
}

TT_KERNELS_OF(sort, sort_forward, sort_backward)
TT_KERNELS_OF(topk, sort_forward, sort_backward)
TT_KERNELS_OF(argsort, argsort_forward, NULL)

#else

static tt_status sort_infer(tt_call *c)
{
    TT_TRY(rule_check_axis(c, sort_complete(c->attrs), sort_read(c->attrs).axis));
    TT_TRY(rule_same_shape(c));
    c->spec[INDICES] = c->spec[VALUES];
    c->spec[INDICES].dtype = TT_INT64;
    return TT_OK;
}

static tt_status argsort_infer(tt_call *c)
{
    TT_TRY(sort_infer(c));
    c->spec[Y].dtype = TT_INT64;
    return TT_OK;
}

static tt_status topk_infer(tt_call *c)
{
    const topk_attrs a = topk_read(c->attrs);
    TT_TRY(rule_check_axis(c, topk_complete(c->attrs), a.axis));
    const tt_tensor *x = c->in[X];
    int64_t n = x->ndim > 0 ? x->shape[a.axis] : 1;
    if (a.k < 0 || a.k > n)
        return tt_fail(TT_ERR_INDEX, c->op->name,
                       "k must be from 0 to %lld, the size of axis %lld, got %lld", (long long)n,
                       (long long)a.axis, (long long)a.k);
    TT_TRY(rule_same_shape(c));
    if (x->ndim > 0) c->spec[VALUES].shape[a.axis] = a.k;
    c->spec[INDICES] = c->spec[VALUES];
    c->spec[INDICES].dtype = TT_INT64;
    return TT_OK;
}

static void sort_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                     tt_tensor **dx)
{
    (void)need;
    const tt_tensor *x = node->in[X];
    if (x->ndim == 0) {
        dx[X] = dy[VALUES];
        return;
    }
    tt_tensor *zeros = v_constant(ctx, x->dtype, x->ndim, x->shape, 0.0);
    dx[X] = v_call(ctx, TT_OP_scatter_add, INPUTS(zeros, node->out[INDICES], dy[VALUES]),
                   ATTRS(gather, .axis = sort_read(&node->attrs).axis));
}

TT_OP(sort, .inputs = 1, .attributes = sort_names, .outputs = 2, .flags = TT_INTEGERS,
      .own_dtype = BIT(INDICES), .infer = sort_infer, .vjp = sort_vjp)
TT_OP(topk, .inputs = 1, .attributes = topk_names, .outputs = 2, .flags = TT_INTEGERS,
      .own_dtype = BIT(INDICES), .infer = topk_infer, .vjp = sort_vjp)
TT_OP(argsort, .inputs = 1, .attributes = sort_names, .flags = TT_INTEGERS | TT_NOGRAD,
      .own_dtype = BIT(Y), .infer = argsort_infer)

#endif
