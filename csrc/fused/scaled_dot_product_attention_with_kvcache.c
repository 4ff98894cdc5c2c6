/* scaled_dot_product_attention_with_kvcache: one step of decoding. qkv (B, n, 3C), the packed
 * projection of n new positions, and a cache (B, S, 2C) whose first ints[1] rows of each text are
 * the keys and values of the positions before them. The new keys and values are written behind
 * those, in place, and y (B, n, C) is what the new queries see: all that came before, and each
 * other up to themselves. ints[0]: H; reals[0]: scale. There is no gradient: what is in the cache
 * came from steps that nobody remembers. */
#include "../op.h"
#include "attention.h"

TT_ATTRS(cached_attention, heads, held, real scale)

#ifdef TT_KERNELS

static tt_status kvcache_forward(tt_call *c)
{
    const tt_tensor *qkv = c->in[0], *cache = c->in[1], *y = c->out[0];
    int64_t batch = y->shape[0], n = y->shape[1], channels = y->shape[2];
    int64_t heads = c->attrs->ints[0], held = c->attrs->ints[1], room = cache->shape[1];
    int64_t dim = channels / heads, row = 2 * channels;
    T *kv = cache->data;
    for (int64_t i = 0; i < batch * n; i++)
        memcpy(kv + (i / n * room + held + i % n) * row, data_of(qkv) + i * 3 * channels + channels,
               (size_t)row * sizeof(T));
    cache->block->version += 1;
    attention_plan p = {.q = {qkv->data, n * 3 * channels, dim, 3 * channels, false},
                        .k = {kv, room * row, dim, row, false},
                        .v = {kv + channels, room * row, dim, row, false},
                        .y = {y->data, n * channels, dim, channels, false},
                        .pairs = batch * heads,
                        .heads = heads,
                        .queries = n,
                        .keys = held + n,
                        .dim = dim,
                        .out_dim = dim,
                        .sees = held + 1};
    attention_drops(&p, c->attrs, 2);
    return attention_forward(c, &p);
}
TT_KERNELS_OF(scaled_dot_product_attention_with_kvcache, kvcache_forward, NULL)

#else

static tt_status kvcache_prepare(tt_call *c)
{
    const tt_tensor *qkv = c->in[0], *cache = c->in[1];
    const tt_attrs *a = c->attrs;
    if (a->n_ints != 2 || a->n_reals != 1 || a->ints[0] < 1)
        return tt_fail(TT_ERR_ARG, c->op->name, "expected at least one head, a length and a scale");
    if (qkv->ndim != 3 || qkv->shape[2] % 3 != 0 || qkv->shape[2] / 3 % a->ints[0] != 0 ||
        cache->ndim != 3 || cache->shape[0] != qkv->shape[0] ||
        cache->shape[2] != qkv->shape[2] / 3 * 2)
        return tt_fail(TT_ERR_SHAPE, c->op->name,
                       "expected qkv (B, n, 3C) and a cache (B, S, 2C) with heads that divide C, "
                       "got %s, %s and heads %lld",
                       SHAPE_TEXT(qkv), SHAPE_TEXT(cache), (long long)a->ints[0]);
    if (a->ints[1] < 0 || a->ints[1] > cache->shape[1] - qkv->shape[1])
        return tt_fail(TT_ERR_ARG, c->op->name,
                       "%lld positions and %lld more do not fit a cache of %lld",
                       (long long)a->ints[1], (long long)qkv->shape[1], (long long)cache->shape[1]);
    if (cache->place != PLACE_POOL || cache->node != NULL || cache->graph_freed ||
        !cache->contiguous)
        return tt_fail(TT_ERR_STATE, c->op->name,
                       "the cache is written in place: it must be contiguous, and not the result "
                       "of a recorded operation");
    if (qkv->block == cache->block)
        return tt_fail(TT_ERR_STATE, c->op->name, "qkv must not share its memory with the cache");
    return TT_OK;
}

static tt_status kvcache_infer(tt_call *c)
{
    c->spec[0] = spec_like(c->in[0]);
    c->spec[0].shape[2] /= 3;
    return TT_OK;
}

TT_OP(scaled_dot_product_attention_with_kvcache, .inputs = 2, .attributes = cached_attention_names,
      .flags = TT_NOGRAD, .prepare = kvcache_prepare, .infer = kvcache_infer)

#endif
