/* sub: y = a - b, broadcast. */
#include "../op.h"

#ifdef TT_KERNELS

TT_BINARY(sub, a - b, d, -d)

#else

static void sub_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                    tt_tensor **dx)
{
    (void)node;
    if (need[B]) dx[B] = v_neg(ctx, dy[Y]);
}

TT_OP(sub, .inputs = 2, .flags = TT_INTEGERS | TT_NO_BOOL | TT_PROMOTES, .layout = TT_STRIDED,
      .passes = BIT(A), .prepare = rule_broadcast, .infer = rule_same_shape, .vjp = sub_vjp)

#endif
