/* simd_math.h against libm in double precision, at one SIMD level (the build compiles this once for
 * each). The argument is the step through the floats of both signs: 1 visits every one. */
#define TT_F32
#include "loops/simd_math.h"

#include <stdlib.h>

#include "check.h"

enum { N = 4096 };
#define BOUND 2.0

/* The distance from `got` to the exact value, in units of the last place of a float there. */
static double ulps(float got, double exact)
{
    if (isnan(exact) || isnan(got)) return isnan(exact) && isnan(got) ? 0 : INFINITY;
    if (got == exact) return 0;
    const double to_infinity = FLT_MAX + 0x1p103; /* the first value that a float rounds to it */
    if (isinf(got))
        return got * exact > 0 && fabs(exact) > to_infinity - BOUND * 0x1p104 ? 0 : INFINITY;
    if (fabs(exact) >= to_infinity + BOUND * 0x1p104) return INFINITY;
    int exponent;
    frexp(exact, &exponent);
    if (exponent < FLT_MIN_EXP) exponent = FLT_MIN_EXP;
    if (exponent > FLT_MAX_EXP) exponent = FLT_MAX_EXP;
    return fabs(got - exact) / ldexp(1, exponent - FLT_MANT_DIG);
}

#define DEFINE_SWEEP(F, EXACT)                                                                  \
    static void sweep_##F(uint32_t step)                                                        \
    {                                                                                           \
        static float x[N], y[N];                                                                \
        double worst = 0;                                                                       \
        float worst_x = 0;                                                                      \
        uint64_t u = 0;                                                                         \
        while (u <= UINT32_MAX) {                                                               \
            int n = 0;                                                                          \
            for (; n < N && u <= UINT32_MAX; n++, u += step) x[n] = tt_from_bits_((uint32_t)u); \
            for (int i = 0; i < N; i++) y[i] = F(x[i]);                                         \
            for (int i = 0; i < n; i++) {                                                       \
                double error = ulps(y[i], EXACT(x[i]));                                         \
                if (!(error <= worst)) worst = error, worst_x = x[i];                           \
            }                                                                                   \
        }                                                                                       \
        printf("%-10s %.3f ulp at %a\n", #F, worst, worst_x);                                   \
        CHECK(worst <= BOUND, "%s(%a) is off by %g ulp", #F, worst_x, worst);                   \
    }

DEFINE_SWEEP(tt_expf_, exp)
DEFINE_SWEEP(tt_tanhf_, tanh)
DEFINE_SWEEP(tt_erff_, erf)
DEFINE_SWEEP(tt_logf_, log)

/* Arguments that are not positive, and normal results. */
static float exp_negative(float x) { return tt_exp_negativef_(-fabsf(x)); }
static double exact_exp_negative(double x) { return fabs(x) > 87 ? 0 : exp(-fabs(x)); }
DEFINE_SWEEP(exp_negative, exact_exp_negative)

/* Both are at most 1: what counts is the distance, in units of the last place below 1. */
static void check_normal(uint32_t step)
{
    double worst = 0;
    for (uint64_t u = 0; u <= UINT32_MAX; u += step) {
        float x = tt_from_bits_((uint32_t)u), bell, got = tt_normalf_(x, &bell);
        if (isnan(x)) {
            CHECK(isnan(got) && isnan(bell), "normal(NaN) = %a, %a", got, bell);
            continue;
        }
        double error = fmax(fabs(got - 0.5 * erfc(-sqrt(0.5) * x)), fabs(bell - exp(-0.5 * x * x)));
        if (!(error <= worst)) worst = error;
    }
    printf("%-10s %.3f ulp of 1\n", "normal", worst * 0x1p24);
    CHECK(worst <= BOUND * 0x1p-24, "normal is off by %g", worst);
    float bell;
    CHECK(tt_normalf_(INFINITY, &bell) == 1 && bell == 0 && tt_normalf_(-INFINITY, &bell) == 0,
          "normal at the infinities");
    CHECK(tt_normalf_(-FLT_MAX, &bell) == 0 && tt_normalf_(0.0f, &bell) == 0.5f && bell == 1,
          "normal at zero and far away");
}

/* libm's float functions come after this range. */
static float near_sin(float x) { return tt_trig_near(x) ? tt_sin_near(x) : sinf(x); }
static float near_cos(float x) { return tt_trig_near(x) ? tt_cos_near(x) : cosf(x); }

DEFINE_SWEEP(tt_log1pf_, log1p)
DEFINE_SWEEP(tt_expm1f_, expm1)
DEFINE_SWEEP(near_sin, sin)
DEFINE_SWEEP(near_cos, cos)

/* Every float as a base, with powers of all sizes. */
static float powers[] = {0.0f,     -0.0f,     1.0f,  -1.0f,       2.0f,      3.0f,
                         -2.0f,    0.5f,      -0.5f, 2.5f,        -7.3f,     1e-3f,
                         33.0f,    -101.0f,   1e10f, 16777215.0f, -1e-30f,   0x1p-149f,
                         INFINITY, -INFINITY, NAN,   FLT_MAX,     1.0000001f};
static int power;
static float to_power(float x) { return tt_powf_(x, powers[power]); }
static double exact_power(float x) { return pow(x, powers[power]); }
DEFINE_SWEEP(to_power, exact_power)

/* Bases near one, where large powers are neither zero nor infinite. */
static void check_pow_near_one(void)
{
    double worst = 0;
    for (int i = 0; i < 2000000; i++) {
        float x = tt_from_bits_(0x3f800000u + ((uint32_t)i * 2654435761u >> 12) - (1u << 19));
        float y = (float)(i % 4001 - 2000) * 0.05f;
        double error = ulps(tt_powf_(x, y), pow(x, y));
        if (!(error <= worst)) worst = error;
    }
    printf("%-10s %.3f ulp near one\n", "tt_powf_", worst);
    CHECK(worst <= BOUND, "pow is off by %g ulp", worst);
}

static void check_specials(void)
{
    static const float values[] = {
        0.0f,      -0.0f,   1.0f,    -1.0f,    10.0f,     INFINITY,   -INFINITY,
        NAN,       FLT_MIN, FLT_MAX, -FLT_MAX, 0x1p-149f, -0x1p-149f, 88.72283f,
        88.72284f, 89.0f,   -87.34f, -103.97f, -103.98f,  -150.0f,
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        float x = values[i];
        CHECK(ulps(tt_expf_(x), exp(x)) <= BOUND, "exp(%a) = %a", x, tt_expf_(x));
        CHECK(ulps(tt_tanhf_(x), tanh(x)) <= BOUND, "tanh(%a) = %a", x, tt_tanhf_(x));
        CHECK(ulps(tt_erff_(x), erf(x)) <= BOUND, "erf(%a) = %a", x, tt_erff_(x));
        CHECK(ulps(tt_logf_(x), log(x)) <= BOUND, "log(%a) = %a", x, tt_logf_(x));
        CHECK(ulps(tt_log1pf_(x), log1p(x)) <= BOUND, "log1p(%a) = %a", x, tt_log1pf_(x));
        CHECK(ulps(tt_expm1f_(x), expm1(x)) <= BOUND, "expm1(%a) = %a", x, tt_expm1f_(x));
        for (size_t k = 0; k < sizeof values / sizeof *values; k++) {
            float y = values[k];
            double exact = pow(x, y);
            CHECK(ulps(tt_powf_(x, y), exact) <= BOUND, "pow(%a, %a) = %a", x, y, tt_powf_(x, y));
            CHECK(isnan(exact) || !signbit(tt_powf_(x, y)) == !signbit(exact), "the sign of %a^%a",
                  x, y);
        }
    }
    CHECK(tt_expf_(0.0f) == 1.0f, "%a", tt_expf_(0.0f));
    CHECK(signbit(tt_tanhf_(-0.0f)) && signbit(tt_erff_(-0.0f)), "the sign of zero is lost");
    CHECK(signbit(tt_log1pf_(-0.0f)) && signbit(tt_expm1f_(-0.0f)) && signbit(near_sin(-0.0f)),
          "the sign of zero is lost");
    CHECK(tt_tanhf_(20.0f) == 1.0f && tt_erff_(-5.0f) == -1.0f, "no saturation");
    CHECK(tt_expf_(INFINITY) == INFINITY && tt_expf_(-INFINITY) == 0.0f, "exp at the infinities");
}

int main(int argc, char **argv)
{
#ifdef TT_LEVEL_NAME
    if (!__builtin_cpu_supports(TT_LEVEL_NAME)) return SKIPPED;
#endif
    uint32_t step = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1021;
    check_specials();
    sweep_tt_expf_(step);
    sweep_exp_negative(step);
    check_normal(step);
    sweep_tt_tanhf_(step);
    sweep_tt_erff_(step);
    sweep_tt_logf_(step);
    sweep_tt_log1pf_(step);
    sweep_tt_expm1f_(step);
    sweep_near_sin(step);
    sweep_near_cos(step);
    for (; power < (int)(sizeof powers / sizeof *powers); power++)
        sweep_to_power(step * 16); /* 23 sweeps */
    check_pow_near_one();
    return check_result();
}
