/* roll: the elements moved along the axes, each by a number of places of its own; what leaves at
 * one end comes in at the other. The gradient is rolled back. */
#include "../op.h"

TT_ATTRS(roll, shifts[])

static inline int64_t roll_places(int64_t shift, int64_t size)
{
    return size > 0 ? (shift % size + size) % size : 0;
}

#ifdef TT_KERNELS

/* The axes up to the last that moves; of that one and what lies behind it, a row is made. */
typedef struct {
    const char *src;
    char *dst;
    bool acc;
    size_t size;
    int outer;
    int64_t shape[TT_MAX_DIMS], places[TT_MAX_DIMS]; /* before the row */
    int64_t numel, row_length, row_places;
} roll_plan;

static int64_t roll_source_row(const roll_plan *p, int64_t row)
{
    int64_t source = 0, weight = 1;
    for (int i = p->outer - 1; i >= 0; i--) {
        int64_t n = p->shape[i], index = row % n - p->places[i];
        source += (index < 0 ? index + n : index) * weight;
        weight *= n;
        row /= n;
    }
    return source;
}

static void roll_shard(void *arg, int64_t shard)
{
    const roll_plan *p = arg;
    int64_t at = shard * GRAIN, end = at_most(at + GRAIN, p->numel);
    while (at < end) {
        int64_t column = at % p->row_length, from = column - p->row_places;
        if (from < 0) from += p->row_length;
        int64_t left = p->row_length - (column > from ? column : from);
        int64_t n = at_most(left, end - at);
        from += roll_source_row(p, at / p->row_length) * p->row_length;
        if (p->acc) {
            T *dst = (T *)(void *)p->dst + at;
            const T *src = (const T *)(const void *)p->src + from;
            for (int64_t i = 0; i < n; i++) dst[i] += src[i];
        } else {
            memcpy(p->dst + (size_t)at * p->size, p->src + (size_t)from * p->size,
                   (size_t)n * p->size);
        }
        at += n;
    }
}

/* sign 1: as the attributes say; -1: back. */
static tt_status roll_run(const tt_call *c, int sign, const void *src, void *dst, bool acc)
{
    const tt_tensor *x = c->in[X];
    const int64_t *shifts = roll_read(c->attrs).shifts;
    roll_plan p = {.src = src, .dst = dst, .acc = acc, .numel = x->numel};
    p.size = dtype_size(x->dtype);
    int last = x->ndim - 1;
    while (last > 0 && roll_places(shifts[last], x->shape[last]) == 0) last--;
    int64_t inner = inner_size(x, x->ndim - 1 - last);
    for (int i = 0; i <= last; i++) {
        p.shape[i] = x->shape[i];
        p.places[i] = roll_places(sign * roll_places(shifts[i], x->shape[i]), x->shape[i]);
    }
    p.outer = last > 0 ? last : 0;
    p.row_length = last >= 0 ? p.shape[last] * inner : 1;
    p.row_places = last >= 0 ? p.places[last] * inner : 0;
    parallel_for(shards_of(p.numel, GRAIN), roll_shard, &p);
    return TT_OK;
}

static tt_status roll_forward(tt_call *c)
{
    return roll_run(c, 1, c->in[X]->data, c->out[Y]->data, false);
}

static tt_status roll_backward(tt_call *c)
{
    return roll_run(c, -1, c->dy[Y], c->dx[X], c->acc[X]);
}
TT_KERNELS_OF(roll, roll_forward, roll_backward)

#else

static tt_status roll_infer(tt_call *c)
{
    if (roll_read(c->attrs).n_shifts != c->in[X]->ndim)
        return tt_fail(TT_ERR_ARG, c->op->name, "expected a shift for each of %d axes, got %d",
                       c->in[X]->ndim, roll_read(c->attrs).n_shifts);
    return rule_same_shape(c);
}

static void roll_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                     tt_tensor **dx)
{
    (void)need;
    const roll_attrs a = roll_read(&node->attrs);
    int64_t back[TT_MAX_DIMS];
    for (int i = 0; i < a.n_shifts; i++) back[i] = -roll_places(a.shifts[i], dy[Y]->shape[i]);
    dx[X] =
        v_call(ctx, TT_OP_roll, INPUTS(dy[Y]), ATTRS(roll, .n_shifts = a.n_shifts, .shifts = back));
}

TT_OP(roll, .inputs = 1, .attributes = roll_names, .flags = TT_ANY_DTYPE, .infer = roll_infer,
      .vjp = roll_vjp)

#endif
