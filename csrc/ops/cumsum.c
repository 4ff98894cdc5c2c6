/* cumsum: y_i = x_0 + ... + x_i along one axis. Its gradient is the sum from the end, y_i = x_i +
 * ... + x_(n-1). Integers give int64. */
#include "../op.h"

TT_ATTRS(cumsum, axis, from_end)

#ifdef TT_KERNELS

enum { CUMSUM_WIDTH = 64 };

typedef struct {
    const T *x; /* (outer, n, inner) */
    T *y;
    tt_span s;
    int64_t blocks, blocks_per_shard; /* of lines side by side */
    bool backwards, acc;
} cumsum_plan;

static void cumsum_shard(void *arg, int64_t shard)
{
    const cumsum_plan *p = arg;
    tt_span s = p->s;
    int64_t end = at_most((shard + 1) * p->blocks_per_shard, s.outer * p->blocks);
    for (int64_t block = shard * p->blocks_per_shard; block < end; block++) {
        int64_t column = block % p->blocks * CUMSUM_WIDTH,
                width = at_most(CUMSUM_WIDTH, s.inner - column);
        int64_t at = block / p->blocks * s.n * s.inner + column, step = s.inner;
        SUM total[CUMSUM_WIDTH] = {0};
        if (p->backwards) {
            at += (s.n - 1) * s.inner;
            step = -step;
        }
        for (int64_t i = 0; i < s.n; i++, at += step) {
            for (int64_t j = 0; j < width; j++) {
                total[j] += (SUM)p->x[at + j];
                put(p->y + at + j, (T)total[j], p->acc);
            }
        }
    }
}

static tt_status cumsum_run(const tt_call *c, const void *x, void *y, bool backwards, bool acc)
{
    cumsum_plan p = {.x = x,
                     .y = y,
                     .s = rule_span_of_axis(c->in[X], cumsum_read(c->attrs).axis),
                     .backwards = backwards,
                     .acc = acc};
    p.blocks = shards_of(p.s.inner, CUMSUM_WIDTH);
    p.blocks_per_shard = rows_per_shard(p.s.n * at_most(p.s.inner, CUMSUM_WIDTH));
    parallel_for(shards_of(p.s.outer * p.blocks, p.blocks_per_shard), cumsum_shard, &p);
    return TT_OK;
}

static tt_status cumsum_forward(tt_call *c)
{
    return cumsum_run(c, c->in[X]->data, c->out[Y]->data, cumsum_read(c->attrs).from_end, false);
}
static tt_status cumsum_backward(tt_call *c)
{
    return cumsum_run(c, c->dy[Y], c->dx[X], !cumsum_read(c->attrs).from_end, c->acc[X]);
}
TT_KERNELS_OF(cumsum, cumsum_forward, cumsum_backward)

#else

static tt_status cumsum_infer(tt_call *c)
{
    TT_TRY(rule_check_axis(c, cumsum_complete(c->attrs), cumsum_read(c->attrs).axis));
    TT_TRY(rule_same_shape(c));
    if (!dtype_is_float(c->in[X]->dtype)) c->spec[Y].dtype = TT_INT64;
    return TT_OK;
}

static void cumsum_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                       tt_tensor **dx)
{
    (void)need;
    const cumsum_attrs a = cumsum_read(&node->attrs);
    dx[X] = v_call(ctx, TT_OP_cumsum, INPUTS(dy[Y]),
                   ATTRS(cumsum, .axis = a.axis, .from_end = !a.from_end));
}

TT_OP(cumsum, .inputs = 1, .attributes = cumsum_names, .flags = TT_INTEGERS, .infer = cumsum_infer,
      .vjp = cumsum_vjp)

#endif
