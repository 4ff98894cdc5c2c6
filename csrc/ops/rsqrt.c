/* rsqrt: y = x^(-1/2), dx = -dy y^3 / 2. */
#include "../op.h"

#ifdef TT_KERNELS

TT_UNARY(rsqrt, 1 / tt_sqrt(a), d *(T)-0.5 * b * b * b)

#else

static void rsqrt_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                      tt_tensor **dx)
{
    (void)need;
    tt_tensor *dx_y = v_scale(ctx, dy[Y], -0.5), *y = node->out[Y];
    for (int i = 0; i < 3; i++) dx_y = v_mul(ctx, dx_y, y); /* powers of y alone may overflow */
    dx[X] = dx_y;
}

TT_OP(rsqrt, .inputs = 1, .flags = TT_TO_FLOAT, .layout = TT_STRIDED, .infer = rule_same_shape,
      .vjp = rsqrt_vjp)

#endif
