/* scaled_dot_product_attention: y = dropout(softmax(scale q k^T + mask)) v for each head (Vaswani
 * et al., 2017). q (B, H, L, D), k (B, H, S, D), v (B, H, S, E), with any strides but the last; the
 * mask, which may be absent, broadcasts to (B, H, L, S) and is read where it lies. A query whose
 * keys are all masked gives zeros. With `causal` query i sees the keys 0 to i.
 *
 * With dropout_p > 0 a weight is dropped with that probability: weight i of the whole (B, H, L, S)
 * is dropped where TT_OP_dropout with this seed, stream and offset drops its element i. */
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

/* The same for memory without gaps that has the shape of t. */
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
    const tt_tensor *q = c->in[ATTENTION_Q], *k = c->in[ATTENTION_K], *v = c->in[ATTENTION_V];
    const attention_attrs attrs = attention_read(c->attrs);
    attention_plan p = {.q = heads_of(q, q->data, false),
                        .k = heads_of(k, k->data, false),
                        .v = heads_of(v, v->data, false),
                        .y = dense_heads(c->out[Y], c->out[Y]->data, false),
                        .mask = c->in[ATTENTION_MASK],
                        .pairs = q->shape[0] * q->shape[1],
                        .heads = q->shape[1],
                        .queries = q->shape[2],
                        .keys = k->shape[2],
                        .dim = q->shape[3],
                        .out_dim = v->shape[3],
                        .first_sees = attrs.causal != 0,
                        .scale = (T)attrs.scale};
    attention_set_dropout(&p, attrs);
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
    p.dy = dense_heads(c->out[Y], as_writable(c->dy[Y]), false);
    p.dq = dense_heads(c->in[ATTENTION_Q], c->dx[ATTENTION_Q], c->acc[ATTENTION_Q]);
    p.dk = dense_heads(c->in[ATTENTION_K], c->dx[ATTENTION_K], c->acc[ATTENTION_K]);
    p.dv = dense_heads(c->in[ATTENTION_V], c->dx[ATTENTION_V], c->acc[ATTENTION_V]);
    p.dmask = c->dx[ATTENTION_MASK], p.acc_mask = c->acc[ATTENTION_MASK];
    if (p.keys > 0) return attention_backward(c, &p);
    if (p.dq.data != NULL && !p.dq.acc) memset(p.dq.data, 0, tensor_bytes(c->in[ATTENTION_Q]));
    return TT_OK;
}
TT_KERNELS_OF(scaled_dot_product_attention, scaled_dot_product_attention_forward,
              scaled_dot_product_attention_backward)

#else

static tt_status attention_check(const tt_call *c)
{
    const tt_tensor *q = c->in[ATTENTION_Q], *k = c->in[ATTENTION_K], *v = c->in[ATTENTION_V];
    bool fits = q->ndim == 4 && k->ndim == 4 && v->ndim == 4;
    for (int i = 0; i < 2 && fits; i++)
        fits = q->shape[i] == k->shape[i] && q->shape[i] == v->shape[i];
    fits = fits && q->shape[3] == k->shape[3] && k->shape[2] == v->shape[2];
    if (!fits)
        return tt_fail(
            TT_ERR_SHAPE, c->op->name,
            "expected q (B, H, L, D), k (B, H, S, D) and v (B, H, S, E), got %s, %s and %s",
            SHAPE_TEXT(q), SHAPE_TEXT(k), SHAPE_TEXT(v));
    return attention_check_dropout(c, attention_complete(c->attrs),
                                   attention_read(c->attrs).dropout_p);
}

static tt_status attention_prepare(tt_call *c)
{
    TT_TRY(attention_check(c));
    const tt_tensor *q = c->in[ATTENTION_Q], *k = c->in[ATTENTION_K];
    for (int i = ATTENTION_Q; i <= ATTENTION_V; i++) TT_TRY(attention_need_rows(c, i));
    if (c->in[ATTENTION_MASK] == NULL) return TT_OK;
    int64_t scores[4] = {q->shape[0], q->shape[1], q->shape[2], k->shape[2]};
    return rule_broadcast_input(c, 4, scores, ATTENTION_MASK);
}

static tt_status attention_infer(tt_call *c)
{
    const tt_tensor *q = c->in[ATTENTION_Q], *v = c->in[ATTENTION_V];
    c->spec[Y] = (tt_spec){.dtype = q->dtype,
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
    const attention_attrs a = attention_read(&node->attrs);
    if (a.dropout_p == 0) return weights;
    return v_call(
        ctx, TT_OP_dropout, &weights, 1,
        ATTRS(dropout, .seed = a.seed, .stream = a.stream, .offset = a.offset, .p = a.dropout_p));
}

/* -inf is intended here and no anomaly. Scores that are not finite show in the weights. */
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
    const attention_attrs a = attention_read(&node->attrs);
    tt_tensor *q = node->in[ATTENTION_Q], *k = node->in[ATTENTION_K], *v = node->in[ATTENTION_V],
              *mask = node->in[ATTENTION_MASK];
    tt_tensor *scores = v_scale(ctx, v_matmul(ctx, q, v_transpose(ctx, k)), a.scale);
    if (mask != NULL) scores = masked(ctx, scores, mask);
    if (a.causal)
        scores = masked(ctx, scores, causal_mask(ctx, q->dtype, q->shape[2], k->shape[2]));
    tt_tensor *weights =
        v_call(ctx, TT_OP_softmax, INPUTS(scores), ATTRS(softmax, .axis = 3, .masked = true));
    if (need[ATTENTION_V])
        dx[ATTENTION_V] =
            v_matmul(ctx, v_transpose(ctx, attention_dropout(ctx, node, weights)), dy[Y]);
    if (!need[ATTENTION_Q] && !need[ATTENTION_K] && !need[ATTENTION_MASK]) return;
    tt_tensor *dweights = attention_dropout(ctx, node, v_matmul(ctx, dy[Y], v_transpose(ctx, v)));
    tt_tensor *mean = v_sum_axis(ctx, v_mul(ctx, weights, dweights), 3);
    tt_tensor *dscores = v_mul(ctx, weights, v_sub(ctx, dweights, mean));
    if (need[ATTENTION_MASK]) dx[ATTENTION_MASK] = dscores;
    if (!need[ATTENTION_Q] && !need[ATTENTION_K]) return;
    dscores = v_scale(ctx, dscores, a.scale);
    if (need[ATTENTION_Q]) dx[ATTENTION_Q] = v_matmul(ctx, dscores, k);
    if (need[ATTENTION_K]) dx[ATTENTION_K] = v_matmul(ctx, v_transpose(ctx, dscores), q);
}

TT_OP(scaled_dot_product_attention, .inputs = 4, .attributes = attention_names,
      .layout = TT_STRIDED, .optional = BIT(ATTENTION_MASK),
      .keeps = BIT(ATTENTION_Q) | BIT(ATTENTION_K) | BIT(ATTENTION_V) | BIT(ATTENTION_MASK),
      .prepare = attention_prepare, .infer = attention_infer, .vjp = attention_vjp)

#endif
