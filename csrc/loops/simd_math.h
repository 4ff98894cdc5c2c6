/* simd_math: float32 functions for kernels, without branches and calls, so that a plain loop over
 * them becomes vector code at every SIMD level. Results are within 2 units in the last place of the
 * exact value, and right for NaN, infinities, overflow and subnormals (tests/c checks that). The
 * polynomials are from tools/fit_math.py. The float64 functions are those of libm. */
#ifndef TT_SIMD_MATH_H
#define TT_SIMD_MATH_H

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "inline.h"

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

/* x + TT_ROUNDING_SHIFT has x, rounded to a whole number, in its low bits. */
#define TT_ROUNDING_SHIFT 0x1.8p23f

/* exp(r) - 1, and n with the shift in t, for x = n ln(2) + r with |r| <= ln(2)/2. */
TT_INLINE float tt_exp_reduced_(float x, float *t)
{
    *t = x * 1.44269504f + TT_ROUNDING_SHIFT;
    float n = *t - TT_ROUNDING_SHIFT;
    float r = x - n * 0.693145752f; /* exact: this half of ln(2) has few bits */
    r = r - n * 1.42860682e-6f;
    float p = 1.38146131e-3f;
    p = p * r + 8.36870982e-3f;
    p = p * r + 0.0416683874f;
    p = p * r + 0.166665207f;
    p = p * r + 0.499999935f;
    return p * (r * r) + r;
}

/* exp(x) = 2^n exp(r). */
TT_INLINE float tt_expf_(float x)
{
    x = x > 89.0f ? 89.0f : x;     /* infinity from here on; NaN passes both comparisons */
    x = x < -104.0f ? -104.0f : x; /* zero from here on */
    float t, p = tt_exp_reduced_(x, &t);
    /* 2^n in two factors, because 2^-150 and 2^128 are not floats; the first product is exact. */
    int32_t e = (int32_t)(tt_bits_(t) - tt_bits_(TT_ROUNDING_SHIFT));
    int32_t half = e >> 1;
    float s0 = tt_from_bits_((uint32_t)(half + 127) << 23);
    float s1 = tt_from_bits_((uint32_t)(e - half + 127) << 23);
    return (p + 1.0f) * s0 * s1;
}

/* The same for x <= 0 and to a normal number: what would be smaller than e^-87 is 0. */
TT_INLINE float tt_exp_negativef_(float x)
{
    float t, p = tt_exp_reduced_(x, &t);
    float power = tt_from_bits_((tt_bits_(t) << 23) + 0x3f800000u); /* the shift leaves n's bits */
    float y = (p + 1.0f) * power;
    return x < -87.0f ? 0.0f : y;
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

/* The normal distribution function, with an error of 2 units in the last place of numbers between
 * 1/2 and 1, and *bell = e^(-x^2/2). Each tail is the bell times a smooth function. */
TT_INLINE float tt_normalf_(float x, float *bell)
{
    float a = fabsf(x);
    float b = a < 5.0f ? a : 5.0f; /* from here on only the bell changes */
    float p = -3.29627028e-7f;
    p = p * b + 7.98413732e-6f;
    p = p * b - 8.70703907e-5f;
    p = p * b + 5.74397429e-4f;
    p = p * b - 2.6210184e-3f;
    p = p * b + 9.06074876e-3f;
    p = p * b - 0.0255390364f;
    p = p * b + 0.0619738387f;
    p = p * b - 0.13282791f;
    p = p * b + 0.249977884f;
    p = p * b - 0.398941172f;
    *bell = tt_exp_negativef_(-0.5f * x * x);
    float tail = *bell * (p * b + 0.5f);
    return x < 0.0f ? tail : 1.0f - tail;
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

/* log(u) + l / u, where u is 1 + x rounded and l what the rounding took. */
TT_INLINE float tt_log1pf_(float x)
{
    const uint32_t sqrt_half = 0x3f3504f3u;
    float sum = 1.0f + x;
    float lost = (x - (sum - 1.0f)) / sum;
    uint32_t u = tt_bits_(sum) - sqrt_half;
    float e = (float)((int32_t)u >> 23);
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
    float y = e * 0.693145752f + (f - (0.5f * z - (f * z * p + (e * 1.42860682e-6f + lost))));
    y = x == INFINITY || x == 0.0f ? x : y; /* zero keeps its sign */
    y = x == -1.0f ? -INFINITY : y;
    return x >= -1.0f ? y : NAN;
}

/* As exp; then 2^n (1 + q) - 1 = 2 (2^(n-1) q + (2^(n-1) - 1/2)), where every power is a float. */
TT_INLINE float tt_expm1f_(float x)
{
    const float shift = 0x1.8p23f;
    float b = x > 89.0f ? 89.0f : x; /* infinity from here on */
    b = b < -18.0f ? -18.0f : b;     /* -1 from here on */
    float t = b * 1.44269504f + shift;
    float n = t - shift;
    float r = b - n * 0.693145752f;
    r = r - n * 1.42860682e-6f;
    float p = 2.0277724e-4f;
    p = p * r + 1.39102405e-3f;
    p = p * r + 8.33282708e-3f;
    p = p * r + 0.0416666946f;
    p = p * r + 0.166666666f;
    p = p * r + 0.5f;
    float q = p * (r * r) + r;
    int32_t e = (int32_t)(tt_bits_(t) - tt_bits_(shift));
    float half = tt_from_bits_((uint32_t)(e + 126) << 23);
    float y = 2.0f * (half * q + (half - 0.5f));
    return fabsf(x) < 0x1p-25f ? x : y; /* zero keeps its sign, subnormals their bits */
}

/* sin(x + quarters pi/2) for |x| <= TT_TRIG_NEAR, by x = n pi/2 + r with |r| <= pi/4; n pi/2 is
 * taken off in double, in two parts of which the first is exact. */
#define TT_TRIG_NEAR 0x1p20f

TT_INLINE float tt_turnedf_(float x, int32_t quarters)
{
    const double shift = 0x1.8p52;
    double n = ((double)x * 0.63661977236758134 + shift) - shift;
    float r = (float)(((double)x - n * 1.5707963267341256) - n * 6.0771005065061926e-11);
    int32_t quadrant = (int32_t)n + quarters;
    float z = r * r;
    float p = -1.95152832e-4f;
    p = p * z + 8.33216076e-3f;
    p = p * z - 0.166666546f;
    float s = r == 0.0f ? r : r + r * z * p; /* zero keeps its sign */
    float q = 2.44331567e-5f;
    q = q * z - 1.38873163e-3f;
    q = q * z + 0.0416666457f;
    float c = 1.0f - (0.5f * z - z * z * q);
    uint32_t sign = (uint32_t)(quadrant & 2) << 30;
    return tt_from_bits_(tt_bits_(quadrant & 1 ? c : s) ^ sign);
}

static inline uint64_t tt_bits64_(double x)
{
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline double tt_from_bits64_(uint64_t u)
{
    double x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* x^y = 2^(y log2|x|) with its sign, in double: the product needs more digits than a float has. */
TT_INLINE float tt_powf_(float x, float y)
{
    const uint64_t sqrt_half = 0x3fe6a09e667f3bcd, one = 0x3ff0000000000000;
    const double shift = 0x1.8p52;
    uint64_t u = tt_bits64_((double)fabsf(x)) + (one - sqrt_half); /* |x| = 2^e m */
    double e = tt_from_bits64_((u >> 52) | 0x4330000000000000) - (0x1p52 + 1023);
    double m = tt_from_bits64_((u & 0xfffffffffffff) + sqrt_half);
    double s = (m - 1) / (m + 1), z = s * s;
    double p = 0.34072800815445008;
    p = p * z + 0.41167282712500948;
    p = p * z + 0.57708358325946998;
    p = p * z + 0.9617966733501693;
    p = p * z + 2.88539008179008;
    double t = (double)y * (e + s * p);
    t = t > 200 ? 200 : t; /* infinity and zero are reached before */
    t = t < -200 ? -200 : t;
    double turned = t + shift, f = t - (turned - shift);
    double q = 1.5201922955057141e-5;
    q = q * f + 1.5469291197930886e-4;
    q = q * f + 1.3333922558724263e-3;
    q = q * f + 9.6180272540834544e-3;
    q = q * f + 0.055504103534557725;
    q = q * f + 0.24022651198144169;
    q = q * f + 0.69314718072843934;
    q = q * f + 0.99999999996168515;
    float power = (float)(q * tt_from_bits64_((tt_bits64_(turned) << 52) + one));

    float size = fabsf(x),
          beyond = size > 1.0f ? INFINITY : 0.0f; /* of 0 and infinity, for y > 0 */
    float inverse = size > 1.0f ? 0.0f : INFINITY;
    power = size == 0.0f || size == INFINITY ? (y > 0.0f ? beyond : inverse) : power;
    bool whole = truncf(y) == y, odd = whole && truncf(0.5f * y) != 0.5f * y;
    power = x < 0.0f && size != INFINITY && !whole ? NAN : power;
    uint32_t sign = odd ? tt_bits_(x) & 0x80000000u : 0;
    power = tt_from_bits_(tt_bits_(power) ^ sign);
    power = x != x || y != y ? NAN : power;
    bool is_one = x == 1.0f || y == 0.0f || (size == 1.0f && fabsf(y) == INFINITY);
    return is_one ? 1.0f : power;
}

#ifdef TT_F32
#define tt_exp tt_expf_
#define tt_exp_negative tt_exp_negativef_
#define tt_normal tt_normalf_
#define tt_tanh tt_tanhf_
#define tt_erf tt_erff_
#define tt_log tt_logf_
#define tt_sqrt sqrtf
#define tt_log1p tt_log1pf_
#define tt_expm1 tt_expm1f_
#define tt_pow tt_powf_
#define tt_fmod fmodf
#define tt_floor floorf
#define tt_ceil ceilf
#define tt_trunc truncf
#define tt_rint rintf
#else
#define tt_exp exp
#define tt_exp_negative exp
#define tt_tanh tanh
#define tt_erf erf
#define tt_log log
#define tt_sqrt sqrt
#define tt_log1p log1p
#define tt_expm1 expm1
#define tt_pow pow
#define tt_fmod fmod
#define tt_floor floor
#define tt_ceil ceil
#define tt_trunc trunc
#define tt_rint rint
#endif

#ifdef TT_F32

/* No exponential of a positive number: it may overflow. */
TT_INLINE float tt_sigmoid(float x)
{
    float t = tt_exp(-fabsf(x));
    return (x < 0 ? t : 1.0f) / (1.0f + t);
}

/* Where all arguments are near, these have no branch; beyond, libm's reduction is needed. */
TT_INLINE bool tt_trig_near(float x) { return fabsf(x) <= TT_TRIG_NEAR; }
TT_INLINE float tt_sin_near(float x) { return tt_turnedf_(x, 0); }
TT_INLINE float tt_cos_near(float x) { return tt_turnedf_(x, 1); }
TT_INLINE float tt_sin(float x) { return tt_trig_near(x) ? tt_sin_near(x) : sinf(x); }
TT_INLINE float tt_cos(float x) { return tt_trig_near(x) ? tt_cos_near(x) : cosf(x); }

#else

TT_INLINE double tt_normal(double x, double *bell)
{
    *bell = exp(-0.5 * x * x);
    return 0.5 * erfc(-x * 0.70710678118654752);
}

TT_INLINE double tt_sigmoid(double x)
{
    double t = tt_exp(-fabs(x));
    return (x < 0 ? t : 1.0) / (1.0 + t);
}

TT_INLINE bool tt_trig_near(double x) { return (void)x, true; }
#define tt_sin_near sin
#define tt_cos_near cos
#define tt_sin sin
#define tt_cos cos

#endif

#endif
