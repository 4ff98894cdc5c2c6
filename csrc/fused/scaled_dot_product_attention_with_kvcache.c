/* scaled_dot_product_attention_with_kvcache: one step of decoding. qkv (B, n, 3C) is the packed
 * projection of n new positions; in the cache (B, S, 2C) the first `held` rows of each batch
 * element are the keys and values of the positions before them. The new keys and values are written
 * behind those, in place. A new query sees all positions before it and itself; y is (B, n, C), H is
 * `heads`. There is no gradient: the steps that filled the cache were not recorded. */
#include "../op.h"
#include "attention.h"

enum { KVCACHE_QKV, KVCACHE_CACHE };
TT_ATTRS(cached_attention, heads, held, real scale)

#ifdef TT_KERNELS

static tt_status kvcache_forward(tt_call *c)
{
    const tt_tensor *qkv = c->in[KVCACHE_QKV], *cache = c->in[KVCACHE_CACHE], *y = c->out[Y];
    const cached_attention_attrs a = cached_attention_read(c->attrs);
    int64_t batch = y->shape[0], n = y->shape[1], channels = y->shape[2];
    int64_t capacity = cache->shape[1], dim = channels / a.heads, row = 2 * channels;
    T *kv = cache->data;
    for (int64_t i = 0; i < batch * n; i++)
        memcpy(kv + (i / n * capacity + a.held + i % n) * row,
               data_of(qkv) + i * 3 * channels + channels, (size_t)row * sizeof(T));
    cache->block->version += 1;
    attention_plan p = {.q = {qkv->data, n * 3 * channels, dim, 3 * channels, false},
                        .k = {kv, capacity * row, dim, row, false},
                        .v = {kv + channels, capacity * row, dim, row, false},
                        .y = {y->data, n * channels, dim, channels, false},
                        .pairs = batch * a.heads,
                        .heads = a.heads,
                        .queries = n,
                        .keys = a.held + n,
                        .dim = dim,
                        .out_dim = dim,
                        .first_sees = a.held + 1,
                        .scale = (T)a.scale};
    return attention_forward(c, &p);
}
TT_KERNELS_OF(scaled_dot_product_attention_with_kvcache, kvcache_forward, NULL)

#else

static tt_status kvcache_prepare(tt_call *c)
{
    const tt_tensor *qkv = c->in[KVCACHE_QKV], *cache = c->in[KVCACHE_CACHE];
    const cached_attention_attrs a = cached_attention_read(c->attrs);
    if (!cached_attention_complete(c->attrs) || a.heads < 1)
        return tt_fail(TT_ERR_ARG, c->op->name, "expected at least one head, a length and a scale");
    if (qkv->ndim != 3 || qkv->shape[2] % 3 != 0 || qkv->shape[2] / 3 % a.heads != 0 ||
        cache->ndim != 3 || cache->shape[0] != qkv->shape[0] ||
        cache->shape[2] != qkv->shape[2] / 3 * 2)
        return tt_fail(TT_ERR_SHAPE, c->op->name,
                       "expected qkv (B, n, 3C) and a cache (B, S, 2C) with heads that divide C, "
                       "got %s, %s and heads %lld",
                       SHAPE_TEXT(qkv), SHAPE_TEXT(cache), (long long)a.heads);
    if (a.held < 0 || a.held > cache->shape[1] - qkv->shape[1])
        return tt_fail(TT_ERR_ARG, c->op->name,
                       "%lld positions and %lld more do not fit a cache of %lld", (long long)a.held,
                       (long long)qkv->shape[1], (long long)cache->shape[1]);
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
    c->spec[Y] = rule_spec_like(c->in[KVCACHE_QKV]);
    c->spec[Y].shape[2] /= 3;
    return TT_OK;
}

TT_OP(scaled_dot_product_attention_with_kvcache, .inputs = 2, .attributes = cached_attention_names,
      .flags = TT_NOGRAD, .prepare = kvcache_prepare, .infer = kvcache_infer)

#endif
