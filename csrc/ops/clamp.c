/* clamp: y = min(max(x, low), high), broadcast; a bound may be absent; NaN of NaN. dy goes to x
 * where low <= x <= high, to a bound where that bound is what y is. */
#include "../op.h"

#ifdef TT_KERNELS

TT_ROW(clamp_row, SMALLER(LARGER(a, b), d))
TT_ROW(clamp_row_low, LARGER(a, b))
TT_ROW(clamp_row_high, SMALLER(a, b))

static tt_status clamp_forward(tt_call *c)
{
    const tt_tensor *x = c->in[0], *low = c->in[1], *high = c->in[2];
    const tt_tensor *operands[MAX_OPERANDS] = {x, low != NULL ? low : high, high};
    row_fn fn = high == NULL ? clamp_row_low : low == NULL ? clamp_row_high : clamp_row;
    elementwise(fn, x, operands, c->out[0]->data, false);
    return TT_OK;
}

TT_ROW(where_at_least, a >= b ? d : 0)
TT_ROW(where_at_most, a <= b ? d : 0)
TT_ROW(where_less, a < b ? d : 0)
TT_ROW(where_more, a > b ? d : 0)
TT_ROW(larger, a > b ? a : b)

static void choose(row_fn fn, const tt_tensor *a, const tt_tensor *b, const tt_tensor *d, void *out,
                   bool acc)
{
    const tt_tensor *operands[MAX_OPERANDS] = {a, b, d};
    elementwise(fn, a, operands, out, acc);
}

/* What depends on both bounds takes two steps, the first of them into scratch. */
static tt_status clamp_backward(tt_call *c)
{
    const tt_tensor *x = c->in[0], *low = c->in[1], *high = c->in[2];
    bool both = low != NULL && high != NULL;
    void *scratch = both ? call_scratch(c, (size_t)x->numel * sizeof(T)) : NULL;
    if (both && scratch == NULL) return TT_ERR_NOMEM;
    tt_tensor dy = dense_like(x, c->dy[0]), step = dense_like(x, scratch);
    void *const *dx = c->dx;
    const bool *acc = c->acc;
    if (dx[0] != NULL && both) {
        choose(where_at_least, x, low, &dy, scratch, false);
        choose(where_at_most, x, high, &step, dx[0], acc[0]);
    } else if (dx[0] != NULL) {
        choose(low != NULL ? where_at_least : where_at_most, x, low != NULL ? low : high, &dy,
               dx[0], acc[0]);
    }
    if (dx[1] != NULL && both) {
        choose(where_less, x, low, &dy, scratch, false);
        choose(where_less, low, high, &step, dx[1], acc[1]);
    } else if (dx[1] != NULL) {
        choose(where_less, x, low, &dy, dx[1], acc[1]);
    }
    if (dx[2] != NULL && both) choose(larger, x, low, x, scratch, false);
    if (dx[2] != NULL) choose(where_more, both ? &step : x, high, &dy, dx[2], acc[2]);
    return TT_OK;
}
TT_KERNELS_OF(clamp, clamp_forward, clamp_backward)

#else

static tt_status clamp_infer(tt_call *c)
{
    if (c->in[1] == NULL && c->in[2] == NULL)
        return tt_fail(TT_ERR_ARG, c->op->name, "expected a lower bound, an upper one or both");
    return infer_same(c);
}

static void clamp_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                      tt_tensor **dx)
{
    tt_tensor *x = node->in[0], *low = node->in[1], *high = node->in[2];
    tt_tensor *zero = v_number(ctx, dy[0], 0.0);
    if (need[0]) {
        dx[0] = dy[0];
        if (low != NULL) dx[0] = v_where(ctx, v_binary(ctx, TT_OP_ge, x, low), dx[0], zero);
        if (high != NULL) dx[0] = v_where(ctx, v_binary(ctx, TT_OP_le, x, high), dx[0], zero);
    }
    if (need[1]) {
        dx[1] = v_where(ctx, v_binary(ctx, TT_OP_lt, x, low), dy[0], zero);
        if (high != NULL) dx[1] = v_where(ctx, v_binary(ctx, TT_OP_lt, low, high), dx[1], zero);
    }
    if (need[2]) {
        tt_tensor *is_high = v_binary(ctx, TT_OP_gt, x, high);
        if (low != NULL)
            is_high = v_binary(ctx, TT_OP_logical_or, is_high, v_binary(ctx, TT_OP_gt, low, high));
        dx[2] = v_where(ctx, is_high, dy[0], zero);
    }
}

TT_OP(clamp, .inputs = 3, .flags = TT_INTEGERS | TT_PROMOTES | TT_NO_BOOL, .layout = TT_STRIDED,
      .optional = 6, .keeps = 7, .prepare = prepare_broadcast, .infer = clamp_infer,
      .vjp = clamp_vjp)

#endif
