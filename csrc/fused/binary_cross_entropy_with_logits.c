/* binary_cross_entropy_with_logits: -t ln p - (1 - t) ln(1 - p) with p = 1 / (1 + e^-x), in nats,
 * for logits x (input A) and targets t in [0, 1] (input B). It is computed as
 * max(x, 0) - x t + ln(1 + e^-|x|), which does not overflow and keeps a small loss; a logit of
 * infinity that is right has loss 0. dx = p - t; the derivatives of the terms of that sum would not
 * give it at x = 0. */
#include "../op.h"

#ifdef TT_KERNELS

/* max(x, 0) - x t */
static inline T bce_linear(T x, T t)
{
    T wrong = x > 0 ? 1 - t : -t;
    return wrong == 0 ? 0 : x * wrong;
}

TT_BINARY(binary_cross_entropy_with_logits, bce_linear(a, b) + tt_log1p(tt_exp(a < 0 ? a : -a)),
          d *(tt_sigmoid(a) - b), -d *a)

#else

static void binary_cross_entropy_with_logits_vjp(tt_ctx *ctx, const tt_node *node,
                                                 tt_tensor *const *dy, const bool *need,
                                                 tt_tensor **dx)
{
    tt_tensor *x = node->in[A], *t = node->in[B];
    if (need[A]) dx[A] = v_mul(ctx, dy[Y], v_sub(ctx, v_unary(ctx, TT_OP_sigmoid, x), t));
    if (need[B]) dx[B] = v_neg(ctx, v_mul(ctx, dy[Y], x));
}

TT_OP(binary_cross_entropy_with_logits, .inputs = 2, .flags = TT_PROMOTES, .layout = TT_STRIDED,
      .keeps = BIT(A) | BIT(B), .prepare = rule_broadcast, .infer = rule_same_shape,
      .vjp = binary_cross_entropy_with_logits_vjp)

#endif
