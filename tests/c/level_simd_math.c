/* simd_math.h against libm in double precision, at one SIMD level (the build compiles this once for
 * each). The argument is the step through the floats of both signs: 1 visits every one. */
#define TT_F32
#include "simd_math.h"

#include <stdlib.h>

#include "check.h"

enum { N = 4096 };
#define BOUND 2.0

/* The distance from `got` to the exact value, in units of the last place of a float there. */
static double ulps(float got, double exact)
{
    if (isnan(exact)) return isnan(got) ? 0 : INFINITY;
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
    }
    CHECK(tt_expf_(0.0f) == 1.0f, "%a", tt_expf_(0.0f));
    CHECK(signbit(tt_tanhf_(-0.0f)) && signbit(tt_erff_(-0.0f)), "the sign of zero is lost");
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
    sweep_tt_tanhf_(step);
    sweep_tt_erff_(step);
    sweep_tt_logf_(step);
    return check_result();
}
