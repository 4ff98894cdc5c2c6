/* pow: y = a^b, broadcast; and pow_number, y = x^p for a number p, which has loops of its own for
 * the usual powers. The slopes are zero at exponent zero, and in the exponent at base zero, as far
 * as y is finite there. p is `number` for floats and `integer` for integers. */
#include "../op.h"

TT_ATTRS(pow_number, integer, real number)

#ifdef TT_KERNELS

#ifdef TT_I64

/* 1/a is a whole number for 1 and -1 alone; the others round to zero, and so does 1/0. */
static T integer_power(T a, T b)
{
    if (b < 0) return a == 1 ? 1 : a == -1 ? (b % 2 == 0 ? 1 : -1) : 0;
    T y = 1;
    for (; b > 0; b /= 2, a *= a) {
        if (b % 2 == 1) y *= a;
    }
    return y;
}

TT_BINARY(pow, integer_power(a, b), 0, 0)

static tt_status pow_number_forward(tt_call *c)
{
    T exponent = pow_number_read(c->attrs).integer;
    tt_tensor p = number_like(c->in[X], &exponent);
    const tt_tensor *operands[MAX_OPERANDS] = {c->in[X], &p};
    elementwise(pow_row, c->in[X], operands, c->out[Y]->data, false);
    return TT_OK;
}
TT_KERNELS_OF(pow_number, pow_number_forward, NULL)

#else

TT_BINARY(pow, tt_pow(a, b), b == 0 ? 0 : d * (b * tt_pow(a, b - 1)),
          a == 0 && b >= 0 ? 0 : d * (tt_pow(a, b) * tt_log(a)))

/* For the power `power`, times(f) being f a^power: y = times(1), and d times the slope of a^b where
 * b = power + 1. One factor after the other: a power alone may overflow where the product does
 * not. */
#define POWER(name, times)         \
    TT_ROW(power_##name, times(1)) \
    TT_ROW(slope_##name, times(d *b))

#define TIMES_MINUS_2(f) (f) / a / a
#define TIMES_MINUS_1(f) (f) / a
#define TIMES_MINUS_HALF(f) (f) / tt_sqrt(a)
#define TIMES_HALF(f) (f) * tt_sqrt(a)
#define TIMES_1(f) (f) * a
#define TIMES_2(f) (f) * a *a
#define TIMES_3(f) (f) * a * a * a

POWER(minus_2, TIMES_MINUS_2)
POWER(minus_1, TIMES_MINUS_1)
POWER(minus_half, TIMES_MINUS_HALF)
POWER(half, TIMES_HALF)
POWER(1, TIMES_1)
POWER(2, TIMES_2)
POWER(3, TIMES_3)
TT_ROW(slope_any, d *(b *tt_pow(a, b - 1)))
TT_ROW(power_0, 1)
TT_ROW(slope_0, d *b)
TT_ROW(slope_of_one, 0)

typedef struct {
    double power;
    row_fn value, slope;
} usual_power;

static const usual_power *find_usual(double power)
{
    static const usual_power usual[] = {{-2, power_minus_2, slope_minus_2},
                                        {-1, power_minus_1, slope_minus_1},
                                        {-0.5, power_minus_half, slope_minus_half},
                                        {0, power_0, slope_0},
                                        {0.5, power_half, slope_half},
                                        {1, power_1, slope_1},
                                        {2, power_2, slope_2},
                                        {3, power_3, slope_3}};
    for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++) {
        if (usual[i].power == power) return &usual[i];
    }
    return NULL;
}

static tt_status pow_number_forward(tt_call *c)
{
    const double power = pow_number_read(c->attrs).number;
    const usual_power *usual = find_usual(power);
    T value = (T)power;
    tt_tensor p = number_like(c->in[X], &value);
    const tt_tensor *operands[MAX_OPERANDS] = {c->in[X], &p};
    elementwise(usual != NULL ? usual->value : pow_row, c->in[X], operands, c->out[Y]->data, false);
    return TT_OK;
}

static tt_status pow_number_backward(tt_call *c)
{
    double power = pow_number_read(c->attrs).number;
    const usual_power *usual = find_usual(power - 1);
    row_fn slope = power == 0 ? slope_of_one : usual != NULL ? usual->slope : slope_any;
    T value = (T)power;
    tt_tensor p = number_like(c->in[X], &value), dy = dense_like(c->in[X], c->dy[Y]);
    const tt_tensor *operands[MAX_OPERANDS] = {c->in[X], &p, &dy};
    elementwise(slope, c->in[X], operands, c->dx[X], c->acc[X]);
    return TT_OK;
}
TT_KERNELS_OF(pow_number, pow_number_forward, pow_number_backward)

#endif

#else

#include <math.h>

static tt_status pow_number_infer(tt_call *c)
{
    bool floats = dtype_is_float(c->in[X]->dtype);
    if ((floats ? c->attrs->n_reals : c->attrs->n_ints) != 1)
        return tt_fail(TT_ERR_ARG, c->op->name, "expected one exponent, of the kind of the tensor");
    return rule_same_shape(c);
}

/* g x^power; for small whole powers one factor after the other, as the kernels have it. */
static tt_tensor *times_power(tt_ctx *ctx, tt_tensor *g, tt_tensor *x, double power)
{
    if (power == floor(power) && fabs(power) <= 3) {
        for (; power > 0; power--) g = v_mul(ctx, g, x);
        for (; power < 0; power++) g = v_div(ctx, g, x);
        return g;
    }
    return v_mul(ctx, g,
                 v_call(ctx, TT_OP_pow_number, INPUTS(x), ATTRS(pow_number, .number = power)));
}

static void pow_number_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                           tt_tensor **dx)
{
    double power = pow_number_read(&node->attrs).number;
    if (power == 0) vjp_zero(ctx, node, dy, need, dx);
    else dx[X] = times_power(ctx, v_scale(ctx, dy[Y], power), node->in[X], power - 1);
}

/* Where a slope is zero by definition its formula gets a harmless base: 0 times infinity must not
 * come back one order up. */
static void pow_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                    tt_tensor **dx)
{
    tt_tensor *a = node->in[A], *b = node->in[B], *g = dy[Y];
    tt_tensor *zero = v_number(ctx, g, 0.0), *one = v_number(ctx, g, 1.0);
    if (need[A]) {
        tt_tensor *has_size = v_binary(ctx, TT_OP_gt, v_unary(ctx, TT_OP_abs, a), zero);
        tt_tensor *slopes =
            v_binary(ctx, TT_OP_logical_or, has_size, v_binary(ctx, TT_OP_ne, b, zero));
        tt_tensor *base = v_where(ctx, slopes, a, one);
        tt_tensor *power = v_binary(ctx, TT_OP_pow, base, v_shift(ctx, b, -1.0));
        dx[A] = v_mul(ctx, g, v_where(ctx, slopes, v_mul(ctx, b, power), zero));
    }
    if (need[B]) {
        tt_tensor *flat = v_binary(ctx, TT_OP_logical_and, v_binary(ctx, TT_OP_eq, a, zero),
                                   v_binary(ctx, TT_OP_ge, b, zero));
        tt_tensor *log_base = v_unary(ctx, TT_OP_log, v_where(ctx, flat, one, a));
        dx[B] = v_mul(ctx, g, v_mul(ctx, node->out[Y], log_base));
    }
}

TT_OP(pow, .inputs = 2, .flags = TT_INTEGERS | TT_PROMOTES | TT_NO_BOOL, .layout = TT_STRIDED,
      .keeps = BIT(A) | BIT(B), .prepare = rule_broadcast, .infer = rule_same_shape, .vjp = pow_vjp)
TT_OP(pow_number, .inputs = 1, .attributes = pow_number_names, .flags = TT_INTEGERS | TT_NO_BOOL,
      .layout = TT_STRIDED, .keeps = BIT(X), .infer = pow_number_infer, .vjp = pow_number_vjp)

#endif
