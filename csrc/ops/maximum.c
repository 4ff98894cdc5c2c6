/* maximum and minimum of pairs, broadcast; NaN of NaN. dy goes to the larger (smaller) one, half of
 * it to each of two equals. */
#include "../op.h"

#ifdef TT_KERNELS

static inline T part(T dy, bool equal, bool loses) { return equal ? dy / 2 : loses ? 0 : dy; }

TT_BINARY(maximum, LARGER(a, b), part(d, a == b, a < b), part(d, a == b, a > b))
TT_BINARY(minimum, SMALLER(a, b), part(d, a == b, a > b), part(d, a == b, a < b))

#else

static void extreme_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *dy, const bool *need,
                        tt_tensor **dx, int a_loses, int b_loses)
{
    tt_tensor *a = node->in[A], *b = node->in[B], *zero = v_number(ctx, dy, 0.0);
    tt_tensor *dy_each = v_where(ctx, v_binary(ctx, TT_OP_eq, a, b), v_scale(ctx, dy, 0.5), dy);
    if (need[A]) dx[A] = v_where(ctx, v_binary(ctx, a_loses, a, b), zero, dy_each);
    if (need[B]) dx[B] = v_where(ctx, v_binary(ctx, b_loses, a, b), zero, dy_each);
}

static void maximum_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                        tt_tensor **dx)
{
    extreme_vjp(ctx, node, dy[Y], need, dx, TT_OP_lt, TT_OP_gt);
}

static void minimum_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                        tt_tensor **dx)
{
    extreme_vjp(ctx, node, dy[Y], need, dx, TT_OP_gt, TT_OP_lt);
}

TT_OP(maximum, .inputs = 2, .flags = TT_INTEGERS | TT_PROMOTES, .layout = TT_STRIDED,
      .keeps = BIT(A) | BIT(B), .prepare = rule_broadcast, .infer = rule_same_shape,
      .vjp = maximum_vjp)
TT_OP(minimum, .inputs = 2, .flags = TT_INTEGERS | TT_PROMOTES, .layout = TT_STRIDED,
      .keeps = BIT(A) | BIT(B), .prepare = rule_broadcast, .infer = rule_same_shape,
      .vjp = minimum_vjp)

#endif
