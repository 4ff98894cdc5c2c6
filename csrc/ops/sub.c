/* sub: y = a - b, broadcast. */
#include "../op.h"

#ifdef TT_KERNELS

TT_BINARY(sub, a - b, d, -d)

#else

static void sub_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                    tt_tensor **dx)
{
    (void)node;
    if (need[1]) dx[1] = v_neg(ctx, dy[0]);
}

TT_OP(sub, .inputs = 2, .flags = TT_INTEGERS | TT_NO_BOOL | TT_PROMOTES, .layout = TT_STRIDED,
      .passes = 1, .prepare = prepare_broadcast, .infer = infer_same, .vjp = sub_vjp)

#endif
