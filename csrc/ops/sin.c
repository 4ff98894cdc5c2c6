/* sin and cos. */
#include "../op.h"

#ifdef TT_KERNELS

static bool all_near(int64_t n, const T *x, int64_t stride)
{
    bool near = true;
    for (int64_t i = 0; i < n; i++) near &= tt_trig_near(x[i * stride]);
    return near;
}

/* One look over the row, then a loop without branches where that is possible. */
#define TRIG_ROW(name, near_expression, expression)                                            \
    TT_ROW(name##_near, near_expression)                                                       \
    TT_ROW(name##_any, expression)                                                             \
    static void name(int64_t n, const T *p0, int64_t s0, const T *p1, int64_t s1, const T *p2, \
                     int64_t s2, T *restrict out, bool acc)                                    \
    {                                                                                          \
        row_fn fn = all_near(n, p0, s0) ? name##_near : name##_any;                            \
        fn(n, p0, s0, p1, s1, p2, s2, out, acc);                                               \
    }

TRIG_ROW(sin_row, tt_sin_near(a), tt_sin(a))
TRIG_ROW(sin_row_backward, d *tt_cos_near(a), d *tt_cos(a))
TRIG_ROW(cos_row, tt_cos_near(a), tt_cos(a))
TRIG_ROW(cos_row_backward, -d *tt_sin_near(a), -d *tt_sin(a))
TT_UNARY_OF_ROWS(sin)
TT_UNARY_OF_ROWS(cos)

#else

static void sin_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                    tt_tensor **dx)
{
    (void)need;
    dx[X] = v_mul(ctx, dy[Y], v_unary(ctx, TT_OP_cos, node->in[X]));
}

static void cos_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                    tt_tensor **dx)
{
    (void)need;
    dx[X] = v_neg(ctx, v_mul(ctx, dy[Y], v_unary(ctx, TT_OP_sin, node->in[X])));
}

TT_OP(sin, .inputs = 1, .flags = TT_TO_FLOAT, .layout = TT_STRIDED, .keeps = BIT(X),
      .infer = rule_same_shape, .vjp = sin_vjp)
TT_OP(cos, .inputs = 1, .flags = TT_TO_FLOAT, .layout = TT_STRIDED, .keeps = BIT(X),
      .infer = rule_same_shape, .vjp = cos_vjp)

#endif
