/* binary_cross_entropy_with_logits: -t ln p - (1 - t) ln(1 - p) with p = 1 / (1 + e^-x), in nats,
 * for logits x and targets t in [0, 1]. As max(x, 0) - x t + ln(1 + e^-|x|) it neither overflows
 * nor loses a small loss; and what is certain and true costs nothing, at infinity too. dx = p - t,
 * which the parts of that sum would not give at 0. */
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
    tt_tensor *x = node->in[0], *t = node->in[1];
    if (need[0]) dx[0] = v_mul(ctx, dy[0], v_sub(ctx, v_unary(ctx, TT_OP_sigmoid, x), t));
    if (need[1]) dx[1] = v_neg(ctx, v_mul(ctx, dy[0], x));
}

TT_OP(binary_cross_entropy_with_logits, .inputs = 2, .flags = TT_PROMOTES, .layout = TT_STRIDED,
      .keeps = 3, .prepare = prepare_broadcast, .infer = infer_same,
      .vjp = binary_cross_entropy_with_logits_vjp)

#endif
