/* dropout: y = x m / (1 - p), m one with probability 1 - p (Srivastava et al., 2014). The mask is
 * not kept: element i of it is a function of (seed, stream, offset + i), so backward draws it
 * again. */
#include "../op.h"

TT_ATTRS(dropout, seed, stream, offset, real p)

#ifdef TT_KERNELS

typedef struct {
    const T *x;
    T *y;
    int64_t n;
    uint64_t seed, stream, offset;
    T p, scale;
    bool acc;
} dropout_plan;

static void dropout_shard(void *arg, int64_t shard)
{
    enum { PIECE = 512 };
    const dropout_plan *p = arg;
    T u[PIECE], chance = p->p, scale = p->scale;
    int64_t end = at_most((shard + 1) * GRAIN, p->n);
    for (int64_t begin = shard * GRAIN; begin < end; begin += PIECE) {
        int64_t n = at_most(PIECE, end - begin);
        const T *x = p->x + begin;
        T *restrict y = p->y + begin;
        bool acc = p->acc;
        philox_uniform(p->seed, p->stream, p->offset + (uint64_t)begin, n, u);
        for (int64_t i = 0; i < n; i++) put(y + i, u[i] < chance ? 0 : x[i] * scale, acc);
    }
}

static tt_status dropout_run(const tt_call *c, const void *x, void *y, bool acc)
{
    const dropout_attrs a = dropout_read(c->attrs);
    dropout_plan plan = {.x = x,
                         .y = y,
                         .n = c->in[X]->numel,
                         .seed = (uint64_t)a.seed,
                         .stream = (uint64_t)a.stream,
                         .offset = (uint64_t)a.offset,
                         .p = (T)a.p,
                         .scale = (T)(a.p < 1 ? 1 / (1 - a.p) : 0),
                         .acc = acc};
    parallel_for(shards_of(plan.n, GRAIN), dropout_shard, &plan);
    return TT_OK;
}

static tt_status dropout_forward(tt_call *c)
{
    return dropout_run(c, c->in[X]->data, c->out[Y]->data, false);
}
static tt_status dropout_backward(tt_call *c)
{
    return dropout_run(c, c->dy[Y], c->dx[X], c->acc[X]);
}
TT_KERNELS_OF(dropout, dropout_forward, dropout_backward)

#else

static tt_status dropout_infer(tt_call *c)
{
    const double p = dropout_read(c->attrs).p;
    if (!dropout_complete(c->attrs) || !(p >= 0 && p <= 1))
        return tt_fail(TT_ERR_ARG, c->op->name, "the probability must be between 0 and 1, got %g",
                       p);
    return rule_same_shape(c);
}

static void dropout_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                        tt_tensor **dx)
{
    (void)need;
    dx[X] = v_call(ctx, TT_OP_dropout, INPUTS(dy[Y]), &node->attrs);
}

TT_OP(dropout, .inputs = 1, .attributes = dropout_names, .infer = dropout_infer, .vjp = dropout_vjp)

#endif
