/* exp, tanh, erf and log in float32, for the kernel pass: no branches and no calls, so that a plain
 * loop over them becomes vector code at every SIMD level. They are within 2 units in the last place
 * of the exact value, and right for NaN, infinities, overflow and subnormals (tests/c holds them to
 * that). The polynomials are from tools/fit_math.py. The float64 versions are libm's.
 */
#ifndef TT_SIMD_MATH_H
#define TT_SIMD_MATH_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

/* A loop with a call in it is no vector code, and with many callers a compiler stops inlining by
 * itself. */
#define TT_INLINE static inline __attribute__((always_inline))

static inline uint32_t tt_bits_(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float tt_from_bits_(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* x = n ln(2) + r with |r| <= ln(2)/2, so exp(x) = 2^n exp(r). */
TT_INLINE float tt_expf_(float x)
{
    const float shift = 0x1.8p23f; /* t + shift is t rounded to a whole number, in the low bits */
    x = x > 89.0f ? 89.0f : x;     /* infinity from here on; NaN passes both comparisons */
    x = x < -104.0f ? -104.0f : x; /* zero from here on */
    float t = x * 1.44269504f + shift;
    float n = t - shift;
    float r = x - n * 0.693145752f; /* exact: this half of ln(2) has few bits */
    r = r - n * 1.42860682e-6f;
    float p = 1.38146131e-3f;
    p = p * r + 8.36870982e-3f;
    p = p * r + 0.0416683874f;
    p = p * r + 0.166665207f;
    p = p * r + 0.499999935f;
    p = p * (r * r) + r;
    /* 2^n in two factors, because 2^-150 and 2^128 are not floats; the first product is exact. */
    int32_t e = (int32_t)(tt_bits_(t) - tt_bits_(shift));
    int32_t half = e >> 1;
    float s0 = tt_from_bits_((uint32_t)(half + 127) << 23);
    float s1 = tt_from_bits_((uint32_t)(e - half + 127) << 23);
    return (p + 1.0f) * s0 * s1;
}

TT_INLINE float tt_tanhf_(float x)
{
    float a = fabsf(x), z = x * x;
    float p = -5.70498591e-3f;
    p = p * z + 0.0206390863f;
    p = p * z - 0.0537397148f;
    p = p * z + 0.133314422f;
    p = p * z - 0.333332819f;
    float near = a + a * z * p;
    float far = 1.0f - 2.0f / (tt_expf_(2.0f * a) + 1.0f);
    return copysignf(a < 0.625f ? near : far, x);
}

TT_INLINE float tt_erff_(float x)
{
    float a = fabsf(x), z = x * x;
    float p = 8.38239219e-5f;
    p = p * z - 8.145598e-4f;
    p = p * z + 5.20128613e-3f;
    p = p * z - 0.0268595001f;
    p = p * z + 0.112836973f;
    p = p * z - 0.376126339f;
    p = p * z + 0.128379167f;
    float near = a + a * p;
    float b = a > 4.0f ? 4.0f : a; /* 1 from here on */
    float q = 1.95937242e-4f;
    q = q * b - 3.04321746e-3f;
    q = q * b + 0.0222269207f;
    q = q * b - 0.103931598f;
    q = q * b - 0.637182246f;
    q = q * b - 1.12767563f;
    q = q * b - 1.95675387e-4f;
    float far = 1.0f - tt_expf_(q);
    return copysignf(a < 0.92f ? near : far, x);
}

/* x = 2^e (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2). */
TT_INLINE float tt_logf_(float x)
{
    const uint32_t sqrt_half = 0x3f3504f3u;
    float scaled = x < FLT_MIN ? x * 0x1p23f : x; /* subnormals become normal */
    uint32_t u = tt_bits_(scaled) - sqrt_half;
    float e = (float)((int32_t)u >> 23) - (x < FLT_MIN ? 23.0f : 0.0f);
    float f = tt_from_bits_((u & 0x7fffffu) + sqrt_half) - 1.0f;
    float p = -0.0763455643f;
    p = p * f + 0.127616067f;
    p = p * f - 0.131601725f;
    p = p * f + 0.142017539f;
    p = p * f - 0.166233583f;
    p = p * f + 0.20001227f;
    p = p * f - 0.25000821f;
    p = p * f + 0.333333317f;
    float z = f * f;
    float y = e * 0.693145752f + (f - (0.5f * z - (f * z * p + e * 1.42860682e-6f)));
    y = x == INFINITY ? x : y;
    y = x == 0.0f ? -INFINITY : y;
    return x >= 0.0f ? y : NAN;
}

#ifdef TT_F32
#define tt_exp tt_expf_
#define tt_tanh tt_tanhf_
#define tt_erf tt_erff_
#define tt_log tt_logf_
#define tt_sqrt sqrtf
#define tt_log1p log1pf
#define tt_expm1 expm1f
#define tt_sin sinf
#define tt_cos cosf
#define tt_pow powf
#define tt_fmod fmodf
#define tt_floor floorf
#define tt_ceil ceilf
#define tt_trunc truncf
#define tt_rint rintf
#else
#define tt_exp exp
#define tt_tanh tanh
#define tt_erf erf
#define tt_log log
#define tt_sqrt sqrt
#define tt_log1p log1p
#define tt_expm1 expm1
#define tt_sin sin
#define tt_cos cos
#define tt_pow pow
#define tt_fmod fmod
#define tt_floor floor
#define tt_ceil ceil
#define tt_trunc trunc
#define tt_rint rint
#endif

/* No exponential of a positive number: it may overflow. */
#ifdef TT_F32
TT_INLINE float tt_sigmoid(float x)
{
    float t = tt_exp(-fabsf(x));
    return (x < 0 ? t : 1.0f) / (1.0f + t);
}
#else
TT_INLINE double tt_sigmoid(double x)
{
    double t = tt_exp(-fabs(x));
    return (x < 0 ? t : 1.0) / (1.0 + t);
}
#endif

#endif
