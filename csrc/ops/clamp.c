/* clamp: y = min(max(x, low), high), broadcast; a bound may be absent; NaN of NaN. dy goes to x
 * where low <= x <= high, to a bound where that bound is what y is. */
#include "../op.h"

enum { CLAMP_X, CLAMP_LOW, CLAMP_HIGH };

#ifdef TT_KERNELS

TT_ROW(clamp_row, SMALLER(LARGER(a, b), d))
TT_ROW(clamp_row_low, LARGER(a, b))
TT_ROW(clamp_row_high, SMALLER(a, b))

static tt_status clamp_forward(tt_call *c)
{
    const tt_tensor *x = c->in[CLAMP_X], *low = c->in[CLAMP_LOW], *high = c->in[CLAMP_HIGH];
    const tt_tensor *operands[MAX_OPERANDS] = {x, low != NULL ? low : high, high};
    row_fn fn = high == NULL ? clamp_row_low : low == NULL ? clamp_row_high : clamp_row;
    elementwise(fn, x, operands, c->out[Y]->data, false);
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
    const tt_tensor *x = c->in[CLAMP_X], *low = c->in[CLAMP_LOW], *high = c->in[CLAMP_HIGH];
    bool both = low != NULL && high != NULL;
    void *scratch = both ? call_scratch(c, (size_t)x->numel * sizeof(T)) : NULL;
    if (both && scratch == NULL) return TT_ERR_NOMEM;
    tt_tensor dy = dense_like(x, c->dy[Y]), step = dense_like(x, scratch);
    void *const *dx = c->dx;
    const bool *acc = c->acc;
    if (dx[CLAMP_X] != NULL && both) {
        choose(where_at_least, x, low, &dy, scratch, false);
        choose(where_at_most, x, high, &step, dx[CLAMP_X], acc[CLAMP_X]);
    } else if (dx[CLAMP_X] != NULL) {
        choose(low != NULL ? where_at_least : where_at_most, x, low != NULL ? low : high, &dy,
               dx[CLAMP_X], acc[CLAMP_X]);
    }
    if (dx[CLAMP_LOW] != NULL && both) {
        choose(where_less, x, low, &dy, scratch, false);
        choose(where_less, low, high, &step, dx[CLAMP_LOW], acc[CLAMP_LOW]);
    } else if (dx[CLAMP_LOW] != NULL) {
        choose(where_less, x, low, &dy, dx[CLAMP_LOW], acc[CLAMP_LOW]);
    }
    if (dx[CLAMP_HIGH] != NULL && both) choose(larger, x, low, x, scratch, false);
    if (dx[CLAMP_HIGH] != NULL)
        choose(where_more, both ? &step : x, high, &dy, dx[CLAMP_HIGH], acc[CLAMP_HIGH]);
    return TT_OK;
}
TT_KERNELS_OF(clamp, clamp_forward, clamp_backward)

#else

static tt_status clamp_infer(tt_call *c)
{
    if (c->in[CLAMP_LOW] == NULL && c->in[CLAMP_HIGH] == NULL)
        return tt_fail(TT_ERR_ARG, c->op->name, "expected a lower bound, an upper one or both");
    return rule_same_shape(c);
}

static void clamp_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                      tt_tensor **dx)
{
    tt_tensor *x = node->in[CLAMP_X], *low = node->in[CLAMP_LOW], *high = node->in[CLAMP_HIGH];
    tt_tensor *zero = v_number(ctx, dy[Y], 0.0);
    if (need[CLAMP_X]) {
        dx[CLAMP_X] = dy[Y];
        if (low != NULL)
            dx[CLAMP_X] = v_where(ctx, v_binary(ctx, TT_OP_ge, x, low), dx[CLAMP_X], zero);
        if (high != NULL)
            dx[CLAMP_X] = v_where(ctx, v_binary(ctx, TT_OP_le, x, high), dx[CLAMP_X], zero);
    }
    if (need[CLAMP_LOW]) {
        dx[CLAMP_LOW] = v_where(ctx, v_binary(ctx, TT_OP_lt, x, low), dy[Y], zero);
        if (high != NULL)
            dx[CLAMP_LOW] = v_where(ctx, v_binary(ctx, TT_OP_lt, low, high), dx[CLAMP_LOW], zero);
    }
    if (need[CLAMP_HIGH]) {
        tt_tensor *is_high = v_binary(ctx, TT_OP_gt, x, high);
        if (low != NULL)
            is_high = v_binary(ctx, TT_OP_logical_or, is_high, v_binary(ctx, TT_OP_gt, low, high));
        dx[CLAMP_HIGH] = v_where(ctx, is_high, dy[Y], zero);
    }
}

TT_OP(clamp, .inputs = 3, .flags = TT_INTEGERS | TT_PROMOTES | TT_NO_BOOL, .layout = TT_STRIDED,
      .optional = BIT(CLAMP_LOW) | BIT(CLAMP_HIGH),
      .keeps = BIT(CLAMP_X) | BIT(CLAMP_LOW) | BIT(CLAMP_HIGH), .prepare = rule_broadcast,
      .infer = clamp_infer, .vjp = clamp_vjp)

#endif
