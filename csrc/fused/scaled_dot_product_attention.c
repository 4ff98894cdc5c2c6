/* scaled_dot_product_attention: y = dropout(softmax(scale q k^T + mask)) v for each head (Vaswani
 * et al., 2017). q (B, H, L, D), k (B, H, S, D), v (B, H, S, E), with any strides but the last; the
 * mask, which may be absent, broadcasts to (B, H, L, S) and is read where it lies. A query whose
 * keys are all masked gives zeros. ints[0]: n > 0 for causal, so that query i sees the keys before
 * i
 * + n; reals[0]: scale. With dropout ints[1..3] are seed, stream, offset and reals[1] is p; weight
 * i of the whole (B, H, L, S) is kept or not as element i of TT_OP_dropout would be. */
#include "../op.h"
#include "attention.h"

TT_ATTRS(attention, causal, seed, stream, offset, real scale, real dropout_p)

#ifdef TT_KERNELS

static attention_rows heads_of(const tt_tensor *t, void *data, bool acc)
{
    return (attention_rows){.data = data,
                            .batch = t->strides[0],
                            .head = t->strides[1],
                            .row = t->shape[2] > 1 ? t->strides[2] : at_least_one(t->shape[3]),
                            .acc = acc};
}

/* The same of a tensor without gaps. */
static attention_rows dense_heads(const tt_tensor *t, void *data, bool acc)
{
    int64_t width = at_least_one(t->shape[3]);
    return (attention_rows){.data = data,
                            .batch = t->shape[1] * t->shape[2] * width,
                            .head = t->shape[2] * width,
                            .row = width,
                            .acc = acc};
}

static attention_plan attention_plan_of(const tt_call *c)
{
    const tt_tensor *q = c->in[0], *k = c->in[1], *v = c->in[2];
    attention_plan p = {.q = heads_of(q, q->data, false),
                        .k = heads_of(k, k->data, false),
                        .v = heads_of(v, v->data, false),
                        .y = dense_heads(c->out[0], c->out[0]->data, false),
                        .mask = c->in[3],
                        .pairs = q->shape[0] * q->shape[1],
                        .heads = q->shape[1],
                        .queries = q->shape[2],
                        .keys = k->shape[2],
                        .dim = q->shape[3],
                        .out_dim = v->shape[3],
                        .sees = c->attrs->ints[0] != 0};
    attention_drops(&p, c->attrs, 1);
    return p;
}

static tt_status scaled_dot_product_attention_forward(tt_call *c)
{
    attention_plan p = attention_plan_of(c);
    return attention_forward(c, &p);
}

static tt_status scaled_dot_product_attention_backward(tt_call *c)
{
    attention_plan p = attention_plan_of(c);
    p.dy = dense_heads(c->out[0], as_writable(c->dy[0]), false);
    p.dq = dense_heads(c->in[0], c->dx[0], c->acc[0]);
    p.dk = dense_heads(c->in[1], c->dx[1], c->acc[1]);
    p.dv = dense_heads(c->in[2], c->dx[2], c->acc[2]);
    p.dmask = c->dx[3], p.acc_mask = c->acc[3];
    if (p.keys > 0) return attention_backward(c, &p);
    if (p.dq.data != NULL && !p.dq.acc) memset(p.dq.data, 0, tensor_bytes(c->in[0]));
    return TT_OK;
}
TT_KERNELS_OF(scaled_dot_product_attention, scaled_dot_product_attention_forward,
              scaled_dot_product_attention_backward)

#else

static tt_status attention_check(const tt_call *c)
{
    const tt_tensor *q = c->in[0], *k = c->in[1], *v = c->in[2];
    bool fits = q->ndim == 4 && k->ndim == 4 && v->ndim == 4;
    for (int i = 0; i < 2 && fits; i++)
        fits = q->shape[i] == k->shape[i] && q->shape[i] == v->shape[i];
    fits = fits && q->shape[3] == k->shape[3] && k->shape[2] == v->shape[2];
    if (!fits)
        return tt_fail(
            TT_ERR_SHAPE, c->op->name,
            "expected q (B, H, L, D), k (B, H, S, D) and v (B, H, S, E), got %s, %s and %s",
            SHAPE_TEXT(q), SHAPE_TEXT(k), SHAPE_TEXT(v));
    return attention_check_drops(c, 1);
}

static tt_status attention_prepare(tt_call *c)
{
    TT_TRY(attention_check(c));
    const tt_tensor *q = c->in[0], *k = c->in[1];
    for (int i = 0; i < 3; i++) TT_TRY(attention_need_rows(c, i));
    if (c->in[3] == NULL) return TT_OK;
    int64_t scores[4] = {q->shape[0], q->shape[1], q->shape[2], k->shape[2]};
    return call_broadcast(c, 4, scores, 3);
}

static tt_status attention_infer(tt_call *c)
{
    const tt_tensor *q = c->in[0], *v = c->in[2];
    c->spec[0] = (tt_spec){.dtype = q->dtype,
                           .ndim = 4,
                           .shape = {q->shape[0], q->shape[1], q->shape[2], v->shape[3]}};
    return TT_OK;
}

/* What a causal mask adds to the scores: 0 where query i may see key j, else -inf. */
static tt_tensor *causal_mask(tt_ctx *ctx, int dtype, int64_t queries, int64_t keys)
{
    int64_t shape[2] = {queries, keys};
    tt_tensor *mask = v_constant(ctx, dtype, 2, shape, 0.0);
    for (int64_t i = 0; mask != NULL && i < queries; i++) {
        for (int64_t j = i + 1; j < keys; j++) {
            if (dtype == TT_FLOAT32) ((float *)mask->data)[i * keys + j] = -INFINITY;
            else ((double *)mask->data)[i * keys + j] = -INFINITY;
        }
    }
    return mask;
}

static tt_tensor *attention_dropout(tt_ctx *ctx, const tt_node *node, tt_tensor *weights)
{
    const tt_attrs *a = &node->attrs;
    if (a->n_ints == 1) return weights;
    tt_attrs attrs = {.n_ints = 3,
                      .n_reals = 1,
                      .ints = {a->ints[1], a->ints[2], a->ints[3]},
                      .reals = {a->reals[1]}};
    return v_call(ctx, TT_OP_dropout, &weights, 1, &attrs);
}

/* Minus infinity is meant: no anomaly. What is not finite in the scores shows in the weights. */
static tt_tensor *masked(tt_ctx *ctx, tt_tensor *scores, tt_tensor *mask)
{
    const bool checks = ctx->anomaly.checks;
    ctx->anomaly.checks = false;
    tt_tensor *sum = v_add(ctx, scores, mask);
    ctx->anomaly.checks = checks;
    return sum;
}

static void attention_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                          tt_tensor **dx)
{
    tt_tensor *q = node->in[0], *k = node->in[1], *v = node->in[2], *mask = node->in[3];
    double scale = node->attrs.reals[0];
    tt_tensor *scores = v_scale(ctx, v_matmul(ctx, q, v_transpose(ctx, k)), scale);
    if (mask != NULL) scores = masked(ctx, scores, mask);
    if (node->attrs.ints[0])
        scores = masked(ctx, scores, causal_mask(ctx, q->dtype, q->shape[2], k->shape[2]));
    tt_attrs last_axis_masked = {.n_ints = 2, .ints = {3, 1}};
    tt_tensor *weights = v_call(ctx, TT_OP_softmax, &scores, 1, &last_axis_masked);
    if (need[2])
        dx[2] = v_matmul(ctx, v_transpose(ctx, attention_dropout(ctx, node, weights)), dy[0]);
    if (!need[0] && !need[1] && !need[3]) return;
    tt_tensor *dweights = attention_dropout(ctx, node, v_matmul(ctx, dy[0], v_transpose(ctx, v)));
    tt_tensor *mean = v_sum_axis(ctx, v_mul(ctx, weights, dweights), 3);
    tt_tensor *dscores = v_mul(ctx, weights, v_sub(ctx, dweights, mean));
    if (need[3]) dx[3] = dscores;
    if (!need[0] && !need[1]) return;
    dscores = v_scale(ctx, dscores, scale);
    if (need[0]) dx[0] = v_matmul(ctx, dscores, k);
    if (need[1]) dx[1] = v_matmul(ctx, v_transpose(ctx, dscores), q);
}

TT_OP(scaled_dot_product_attention, .inputs = 4, .attributes = attention_names,
      .layout = TT_STRIDED, .optional = 1 << 3, .keeps = 15, .prepare = attention_prepare,
      .infer = attention_infer, .vjp = attention_vjp)

#endif
