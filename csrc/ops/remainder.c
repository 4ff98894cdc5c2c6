/* remainder: y = a - b floor(a / b), of the sign of b; floor_divide: floor(a / b). Broadcast.
 * remainder's gradients: dy for a, -dy floor(a / b) for b. div_floor and div_trunc are what div
 * makes of rounding_mode: the quotient rounded down or towards zero, with a slope of zero. */
#include "../op.h"

#include <string.h>

#ifdef TT_KERNELS

#ifdef TT_I64

/* -1 apart: the processor traps where the quotient of the least integer is no integer. */
static inline T modulo(T a, T b)
{
    if (b == 0 || b == -1) return 0;
    T r = a % b;
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

static inline T floor_quotient(T a, T b)
{
    if (b == 0 || b == -1) return 0 - a;
    T q = a / b;
    return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}

static inline T trunc_quotient(T a, T b) { return b == 0 || b == -1 ? 0 - a : a / b; }

TT_PREDICATE_ROW(is_zero, a == 0)

static tt_status refuse_zero(tt_call *c)
{
    const tt_tensor *b = c->in[B], *operands[MAX_OPERANDS] = {b};
    uint8_t *zeros = call_scratch(c, (size_t)b->numel);
    if (zeros == NULL) return TT_ERR_NOMEM;
    elementwise_to(is_zero, b, operands, zeros, TT_BOOL, false);
    if (b->numel > 0 && memchr(zeros, 1, (size_t)b->numel) != NULL)
        return tt_fail(TT_ERR_ARG, c->op->name, "an integer cannot be divided by zero");
    return TT_OK;
}

#else

static inline tt_status refuse_zero(tt_call *c)
{
    (void)c;
    return TT_OK;
}

static inline T modulo(T a, T b)
{
    T r = tt_fmod(a, b);
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

/* By way of the remainder, as Python has it: a / b may round up to the next whole number. */
static inline T floor_quotient(T a, T b)
{
    if (b == 0) return a / b;
    T r = tt_fmod(a, b), q = (a - r) / b;
    if (r != 0 && (r < 0) != (b < 0)) q -= 1;
    if (q == 0) return (T)copysign(0, a / b);
    T whole = tt_floor(q);
    return q - whole > (T)0.5 ? whole + 1 : whole;
}

static inline T trunc_quotient(T a, T b) { return tt_trunc(a / b); }

#endif

TT_ROW(remainder_row, modulo(a, b))
TT_ROW(remainder_row_db, -d *floor_quotient(a, b))
TT_ROW(floor_divide_row, floor_quotient(a, b))
TT_ROW(div_trunc_row, trunc_quotient(a, b))

static tt_status divide(tt_call *c, row_fn fn)
{
    const tt_tensor *operands[MAX_OPERANDS] = {c->in[A], c->in[B]};
    TT_TRY(refuse_zero(c));
    elementwise(fn, c->in[A], operands, c->out[Y]->data, false);
    return TT_OK;
}

static tt_status remainder_forward(tt_call *c) { return divide(c, remainder_row); }
static tt_status remainder_backward(tt_call *c)
{
    tt_tensor dy = dense_like(c->in[A], c->dy[Y]);
    const tt_tensor *operands[MAX_OPERANDS] = {c->in[A], c->in[B], &dy};
    elementwise(remainder_row_db, c->in[A], operands, c->dx[B], c->acc[B]);
    return TT_OK;
}
TT_KERNELS_OF(remainder, remainder_forward, remainder_backward)

static tt_status floor_divide_forward(tt_call *c) { return divide(c, floor_divide_row); }
TT_KERNELS_OF(floor_divide, floor_divide_forward, NULL)

static tt_status no_slope(tt_call *c)
{
    for (int i = 0; i < c->n_in; i++) {
        if (c->dx[i] != NULL && !c->acc[i])
            memset(c->dx[i], 0, (size_t)c->in[i]->numel * sizeof(T));
    }
    return TT_OK;
}
TT_KERNELS_OF(div_floor, floor_divide_forward, no_slope)

static tt_status div_trunc_forward(tt_call *c) { return divide(c, div_trunc_row); }
TT_KERNELS_OF(div_trunc, div_trunc_forward, no_slope)

#else

static void remainder_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                          tt_tensor **dx)
{
    (void)need;
    tt_tensor *quotient = v_binary(ctx, TT_OP_floor_divide, node->in[A], node->in[B]);
    dx[B] = v_neg(ctx, v_mul(ctx, dy[Y], quotient));
}

static void no_slope_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                         tt_tensor **dx)
{
    (void)dy;
    for (int i = 0; i < node->n_in; i++) {
        const tt_tensor *x = node->in[i];
        if (need[i]) dx[i] = v_constant(ctx, x->dtype, x->ndim, x->shape, 0.0);
    }
}

TT_OP(div_floor, .inputs = 2, .flags = TT_INTEGERS | TT_PROMOTES | TT_NO_BOOL, .layout = TT_STRIDED,
      .prepare = rule_broadcast, .infer = rule_same_shape, .vjp = no_slope_vjp)
TT_OP(div_trunc, .inputs = 2, .flags = TT_INTEGERS | TT_PROMOTES | TT_NO_BOOL, .layout = TT_STRIDED,
      .prepare = rule_broadcast, .infer = rule_same_shape, .vjp = no_slope_vjp)
TT_OP(remainder, .inputs = 2, .flags = TT_INTEGERS | TT_PROMOTES | TT_NO_BOOL, .layout = TT_STRIDED,
      .keeps = BIT(A) | BIT(B), .passes = BIT(A), .prepare = rule_broadcast,
      .infer = rule_same_shape, .vjp = remainder_vjp)
TT_OP(floor_divide, .inputs = 2, .flags = TT_INTEGERS | TT_PROMOTES | TT_NO_BOOL | TT_NOGRAD,
      .layout = TT_STRIDED, .prepare = rule_broadcast, .infer = rule_same_shape)

#endif
