/* activations: the functions that linear_activation applies to a product, with their derivatives.
 * The operations gelu and silu use them too. */
#ifndef TT_ACTIVATIONS_H
#define TT_ACTIVATIONS_H

#define INVERSE_SQRT_2PI 0.39894228040143268
#define GELU_TANH_SCALE 0.79788456080286536 /* sqrt(2 / pi) */
#define GELU_TANH_CUBIC 0.044715

/* Beyond +-GATES_END the gates below are 0 or 1, and their derivatives 0. Where x is multiplied by
 * a gate or its derivative, x is clamped to this range, so that infinity times 0 is no NaN. */
#define GATES_END 1e4

/* In the order of the names in Python. */
typedef enum {
    ACTIVATION_NONE,
    ACTIVATION_RELU,
    ACTIVATION_GELU,
    ACTIVATION_GELU_TANH,
    ACTIVATION_SILU,
    ACTIVATION_TANH,
    ACTIVATION_SIGMOID,
    ACTIVATION_COUNT
} tt_activation;

/* Whether a'(z) has to be saved; that of the other activations follows from a(z). */
static inline bool activation_saves_slope(int64_t activation)
{
    return activation == ACTIVATION_GELU || activation == ACTIVATION_GELU_TANH ||
           activation == ACTIVATION_SILU;
}

#ifdef TT_KERNELS

TT_INLINE T gate_floor(T x) { return x < -(T)GATES_END ? -(T)GATES_END : x; }
TT_INLINE T gate_range(T x) { return x > (T)GATES_END ? (T)GATES_END : gate_floor(x); }

TT_INLINE T gelu_of(T x)
{
    T bell;
    return gate_floor(x) * tt_normal(x, &bell);
}

TT_INLINE T gelu_slope(T x)
{
    x = gate_range(x);
    T bell, distribution = tt_normal(x, &bell);
    return distribution + x * (T)INVERSE_SQRT_2PI * bell;
}

/* (1 + tanh(u)) / 2 is sigmoid(2 u). */
TT_INLINE T gelu_tanh_gate(T x)
{
    return tt_sigmoid(2 * (T)GELU_TANH_SCALE * x * (1 + (T)GELU_TANH_CUBIC * x * x));
}

TT_INLINE T gelu_tanh_of(T x) { return gate_floor(x) * gelu_tanh_gate(x); }

TT_INLINE T gelu_tanh_slope(T x)
{
    x = gate_range(x);
    T s = gelu_tanh_gate(x);
    return s + x * s * (1 - s) * 2 * (T)GELU_TANH_SCALE * (1 + 3 * (T)GELU_TANH_CUBIC * x * x);
}

/* Second derivatives. */
TT_INLINE T gelu_curvature(T x)
{
    x = gate_range(x);
    T x2 = x * x, bell = tt_exp_negative(-(T)0.5 * x2);
    return (2 - x2) * (T)INVERSE_SQRT_2PI * bell;
}

TT_INLINE T gelu_tanh_curvature(T x)
{
    x = gate_range(x);
    T s = gelu_tanh_gate(x), x2 = x * x;
    T du = 2 * (T)GELU_TANH_SCALE * (1 + 3 * (T)GELU_TANH_CUBIC * x2); /* of y = x s(u(x)) */
    T d2u = 12 * (T)GELU_TANH_SCALE * (T)GELU_TANH_CUBIC * x;
    T ds = s * (1 - s);
    return ds * (2 * du + x * d2u) + ds * du * du * x * (1 - 2 * s);
}

TT_INLINE T silu_of(T x) { return gate_floor(x) * tt_sigmoid(x); }

TT_INLINE T silu_slope(T x)
{
    x = gate_range(x);
    T s = tt_sigmoid(x);
    return s * (1 + x * (1 - s));
}

#define TT_EACH_VALUE(value)          \
    for (int64_t i = 0; i < n; i++) { \
        const T z = values[i];        \
        values[i] = (value);          \
    }

#define TT_EACH_VALUE_AND_SLOPE(value, slope) \
    if (slopes == NULL) {                     \
        TT_EACH_VALUE(value)                  \
    } else {                                  \
        for (int64_t i = 0; i < n; i++) {     \
            const T z = values[i];            \
            values[i] = (value);              \
            slopes[i] = (slope);              \
        }                                     \
    }

/* Replaces n values z by a(z), and writes a'(z) to slopes if these are wanted. */
static void activate(int64_t activation, T *restrict values, T *restrict slopes, int64_t n)
{
    switch (activation) {
    case ACTIVATION_RELU: TT_EACH_VALUE(z <= 0 ? 0 : z) break; /* NaN stays */
    case ACTIVATION_TANH: TT_EACH_VALUE(tt_tanh(z)) break;
    case ACTIVATION_SIGMOID: TT_EACH_VALUE(tt_sigmoid(z)) break;
    case ACTIVATION_GELU: TT_EACH_VALUE_AND_SLOPE(gelu_of(z), gelu_slope(z)) break;
    case ACTIVATION_GELU_TANH: TT_EACH_VALUE_AND_SLOPE(gelu_tanh_of(z), gelu_tanh_slope(z)) break;
    case ACTIVATION_SILU: TT_EACH_VALUE_AND_SLOPE(silu_of(z), silu_slope(z)) break;
    default: break;
    }
}

/* dz = dy a'(z), with a'(z) from the saved slopes, or from y. */
static void activation_backward(int64_t activation, const T *dy, const T *y, const T *slopes,
                                T *restrict dz, int64_t n)
{
    switch (activation) {
    case ACTIVATION_RELU:
        for (int64_t i = 0; i < n; i++) dz[i] = y[i] <= 0 ? 0 : dy[i];
        break;
    case ACTIVATION_TANH:
        for (int64_t i = 0; i < n; i++) dz[i] = dy[i] * (1 - y[i] * y[i]);
        break;
    case ACTIVATION_SIGMOID:
        for (int64_t i = 0; i < n; i++) dz[i] = dy[i] * y[i] * (1 - y[i]);
        break;
    default:
        for (int64_t i = 0; i < n; i++) dz[i] = dy[i] * slopes[i];
    }
}

#undef TT_EACH_VALUE
#undef TT_EACH_VALUE_AND_SLOPE
#endif
#endif
