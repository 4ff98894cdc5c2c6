/* scaled_dot_product_attention_qkvpacked: attention of a sequence to itself, from queries, keys and
 * values as one projection gives them. qkv (B, T, 3C) has the queries of all heads side by side,
 * then the keys, then the values, each C = H D channels; y (B, T, C) has the heads side by side
 * again. Nothing is moved: heads are read and written where they lie. ints: H; whether causal, so
 * that a position sees those up to itself. reals[0]: scale. With dropout ints[2..4] are seed,
 * stream, offset and reals[1] is p, as in scaled_dot_product_attention; so are the rules. */
#include "../op.h"
#include "attention.h"

TT_ATTRS(packed_attention, heads, causal, seed, stream, offset, real scale, real dropout_p)

#ifdef TT_KERNELS

/* Queries, keys or values (part 0, 1, 2) of qkv, or of its gradient. */
static attention_rows packed_part(const tt_call *c, int part, T *data, int64_t batch, int64_t row)
{
    int64_t channels = c->in[0]->shape[2] / 3;
    return (attention_rows){.data = data + part * channels,
                            .batch = batch,
                            .head = channels / c->attrs->ints[0],
                            .row = row};
}

static attention_plan packed_plan(const tt_call *c)
{
    const tt_tensor *qkv = c->in[0], *y = c->out[0];
    int64_t positions = y->shape[1], channels = y->shape[2], heads = c->attrs->ints[0];
    int64_t batch = qkv->strides[0], row = positions > 1 ? qkv->strides[1] : 3 * channels;
    attention_plan p = {.q = packed_part(c, 0, qkv->data, batch, row),
                        .k = packed_part(c, 1, qkv->data, batch, row),
                        .v = packed_part(c, 2, qkv->data, batch, row),
                        .pairs = y->shape[0] * heads,
                        .heads = heads,
                        .queries = positions,
                        .keys = positions,
                        .dim = channels / heads,
                        .out_dim = channels / heads,
                        .sees = c->attrs->ints[1]};
    p.y = (attention_rows){y->data, positions * channels, p.dim, channels, false};
    attention_drops(&p, c->attrs, 2);
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
    int64_t row = c->in[0]->shape[2];
    for (int i = 0; i < 3; i++) {
        *parts[i] = packed_part(c, i, c->dx[0], p.queries * row, row);
        parts[i]->acc = c->acc[0];
    }
    p.dy = p.y;
    p.dy.data = as_writable(c->dy[0]);
    return attention_backward(c, &p);
}
TT_KERNELS_OF(scaled_dot_product_attention_qkvpacked, packed_forward, packed_backward)

#else

static tt_status packed_prepare(tt_call *c)
{
    const tt_tensor *qkv = c->in[0];
    const tt_attrs *a = c->attrs;
    if (a->n_ints < 2 || a->ints[0] < 1 || a->ints[1] < 0 || a->ints[1] > 1)
        return tt_fail(TT_ERR_ARG, c->op->name, "expected at least one head, and causal 0 or 1");
    if (qkv->ndim != 3 || qkv->shape[2] % 3 != 0 || qkv->shape[2] / 3 % a->ints[0] != 0)
        return tt_fail(TT_ERR_SHAPE, c->op->name,
                       "expected qkv (B, T, 3C) with heads that divide C, got %s and heads %lld",
                       SHAPE_TEXT(qkv), (long long)a->ints[0]);
    TT_TRY(attention_check_drops(c, 2));
    return attention_need_rows(c, 0);
}

static tt_status packed_infer(tt_call *c)
{
    c->spec[0] = spec_like(c->in[0]);
    c->spec[0].shape[2] /= 3;
    return TT_OK;
}

static tt_tensor *swap_middle(tt_ctx *ctx, tt_tensor *x)
{
    tt_attrs attrs = {.n_ints = 4, .ints = {0, 2, 1, 3}};
    return v_call(ctx, TT_OP_permute, &x, 1, &attrs);
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

/* By the rule of the operation that takes queries, keys and values one by one. */
static void packed_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                       tt_tensor **dx)
{
    tt_tensor *qkv = node->in[0], *in[4] = {NULL}, *parts[TT_MAX_IN] = {NULL};
    const tt_attrs *a = &node->attrs;
    int64_t heads = a->ints[0], channels = qkv->shape[2] / 3;
    (void)need;
    for (int i = 0; i < 3; i++) {
        in[i] = apart(ctx, v_slice(ctx, qkv, 2, i * channels, channels), heads);
        if (in[i] == NULL) return;
    }
    tt_node alone = {.op = tt_ops[TT_OP_scaled_dot_product_attention],
                     .n_in = 4,
                     .in = in,
                     .attrs = {.n_ints = a->n_ints - 1,
                               .ints = {a->ints[1], a->ints[2], a->ints[3], a->ints[4]},
                               .n_reals = a->n_reals,
                               .reals = {a->reals[0], a->reals[1]}}};
    const bool all[4] = {true, true, true, false};
    tt_tensor *g = apart(ctx, dy[0], heads);
    if (g == NULL) return;
    alone.op->vjp(ctx, &alone, &g, all, parts);
    for (int i = 0; i < 3; i++) {
        parts[i] = together(ctx, parts[i]);
        if (parts[i] == NULL) return;
    }
    tt_attrs last_axis = {.n_ints = 1, .ints = {2}};
    dx[0] = v_call(ctx, TT_OP_cat, parts, TT_MAX_IN, &last_axis);
}

TT_OP(scaled_dot_product_attention_qkvpacked, .inputs = 1, .attributes = packed_attention_names,
      .layout = TT_STRIDED, .keeps = 1, .prepare = packed_prepare, .infer = packed_infer,
      .vjp = packed_vjp)

#endif
