/* scaled_dot_product_attention_qkvpacked: attention of a sequence to itself, where one projection
 * gave queries, keys and values. qkv (B, T, 3C) has the queries of all heads side by side, then the
 * keys, then the values, each C = H D channels; y (B, T, C) has the heads side by side again.
 * Nothing is copied: heads are read and written where they lie. `heads` is H; the other attributes
 * and the rules are those of scaled_dot_product_attention. */
#include "../op.h"
#include "attention.h"

TT_ATTRS(packed_attention, heads, causal, seed, stream, offset, real scale, real dropout_p)

/* What the operation that takes queries, keys and values one by one has instead. */
static inline attention_attrs attention_of_packed(const tt_attrs *attrs)
{
    const packed_attention_attrs a = packed_attention_read(attrs);
    return (attention_attrs){.causal = a.causal,
                             .seed = a.seed,
                             .stream = a.stream,
                             .offset = a.offset,
                             .scale = a.scale,
                             .dropout_p = a.dropout_p};
}

#ifdef TT_KERNELS

/* Part ATTENTION_Q, ATTENTION_K or ATTENTION_V of qkv, or of its gradient. */
static attention_rows packed_part(const tt_call *c, int part, T *data, int64_t batch, int64_t row)
{
    int64_t channels = c->in[X]->shape[2] / 3;
    return (attention_rows){.data = data + part * channels,
                            .batch = batch,
                            .head = channels / packed_attention_read(c->attrs).heads,
                            .row = row};
}

static attention_plan packed_plan(const tt_call *c)
{
    const tt_tensor *qkv = c->in[X], *y = c->out[Y];
    const attention_attrs attrs = attention_of_packed(c->attrs);
    int64_t positions = y->shape[1], channels = y->shape[2];
    int64_t heads = packed_attention_read(c->attrs).heads;
    int64_t batch = qkv->strides[0], row = positions > 1 ? qkv->strides[1] : 3 * channels;
    attention_plan p = {.q = packed_part(c, ATTENTION_Q, qkv->data, batch, row),
                        .k = packed_part(c, ATTENTION_K, qkv->data, batch, row),
                        .v = packed_part(c, ATTENTION_V, qkv->data, batch, row),
                        .pairs = y->shape[0] * heads,
                        .heads = heads,
                        .queries = positions,
                        .keys = positions,
                        .dim = channels / heads,
                        .out_dim = channels / heads,
                        .first_sees = attrs.causal,
                        .scale = (T)attrs.scale};
    p.y = (attention_rows){y->data, positions * channels, p.dim, channels, false};
    attention_set_dropout(&p, attrs);
    return p;
}

static tt_status packed_forward(tt_call *c)
{
    attention_plan p = packed_plan(c);
    return attention_forward(c, &p);
}

static tt_status packed_backward(tt_call *c)
{
    attention_plan p = packed_plan(c);
    attention_rows *parts[3] = {&p.dq, &p.dk, &p.dv};
    int64_t row = c->in[X]->shape[2];
    for (int i = ATTENTION_Q; i <= ATTENTION_V; i++) {
        *parts[i] = packed_part(c, i, c->dx[X], p.queries * row, row);
        parts[i]->acc = c->acc[X];
    }
    p.dy = p.y;
    p.dy.data = as_writable(c->dy[Y]);
    return attention_backward(c, &p);
}
TT_KERNELS_OF(scaled_dot_product_attention_qkvpacked, packed_forward, packed_backward)

#else

static tt_status packed_prepare(tt_call *c)
{
    const tt_tensor *qkv = c->in[X];
    const packed_attention_attrs a = packed_attention_read(c->attrs);
    if (a.heads < 1 || a.causal < 0 || a.causal > 1)
        return tt_fail(TT_ERR_ARG, c->op->name, "expected at least one head, and causal 0 or 1");
    if (qkv->ndim != 3 || qkv->shape[2] % 3 != 0 || qkv->shape[2] / 3 % a.heads != 0)
        return tt_fail(TT_ERR_SHAPE, c->op->name,
                       "expected qkv (B, T, 3C) with heads that divide C, got %s and heads %lld",
                       SHAPE_TEXT(qkv), (long long)a.heads);
    TT_TRY(attention_check_dropout(c, packed_attention_complete(c->attrs), a.dropout_p));
    return attention_need_rows(c, X);
}

static tt_status packed_infer(tt_call *c)
{
    c->spec[Y] = rule_spec_like(c->in[X]);
    c->spec[Y].shape[2] /= 3;
    return TT_OK;
}

static tt_tensor *swap_middle(tt_ctx *ctx, tt_tensor *x)
{
    return v_call(ctx, TT_OP_permute, &x, 1,
                  ATTRS(permute, .n_order = 4, .order = (int64_t[]){0, 2, 1, 3}));
}

/* (B, n, C) as (B, H, n, D), and back. */
static tt_tensor *apart(tt_ctx *ctx, tt_tensor *x, int64_t heads)
{
    if (x == NULL) return NULL;
    int64_t shape[4] = {x->shape[0], x->shape[1], heads, x->shape[2] / heads};
    return swap_middle(ctx, v_reshape(ctx, x, 4, shape));
}

static tt_tensor *together(tt_ctx *ctx, tt_tensor *x)
{
    if (x == NULL) return NULL;
    int64_t shape[3] = {x->shape[0], x->shape[2], x->shape[1] * x->shape[3]};
    return v_reshape(ctx, swap_middle(ctx, x), 3, shape);
}

/* The rule is that of the operation that takes queries, keys and values one by one. */
static void packed_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                       tt_tensor **dx)
{
    tt_tensor *qkv = node->in[X], *in[ATTENTION_INPUTS] = {NULL}, *parts[TT_MAX_IN] = {NULL};
    int64_t heads = packed_attention_read(&node->attrs).heads, channels = qkv->shape[2] / 3;
    (void)need;
    for (int i = ATTENTION_Q; i <= ATTENTION_V; i++) {
        in[i] = apart(ctx, v_slice(ctx, qkv, 2, i * channels, channels), heads);
        if (in[i] == NULL) return;
    }
    tt_node alone = {.op = tt_ops[TT_OP_scaled_dot_product_attention],
                     .n_in = ATTENTION_INPUTS,
                     .in = in,
                     .attrs = attention_pack(attention_of_packed(&node->attrs))};
    const bool all[ATTENTION_INPUTS] = {true, true, true, false};
    tt_tensor *g = apart(ctx, dy[Y], heads);
    if (g == NULL) return;
    alone.op->vjp(ctx, &alone, &g, all, parts);
    for (int i = ATTENTION_Q; i <= ATTENTION_V; i++) {
        parts[i] = together(ctx, parts[i]);
        if (parts[i] == NULL) return;
    }
    dx[X] = v_call(ctx, TT_OP_cat, parts, TT_MAX_IN, ATTRS(cat, .axis = 2));
}

TT_OP(scaled_dot_product_attention_qkvpacked, .inputs = 1, .attributes = packed_attention_names,
      .layout = TT_STRIDED, .keeps = BIT(X), .prepare = packed_prepare, .infer = packed_infer,
      .vjp = packed_vjp)

#endif
