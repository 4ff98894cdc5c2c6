/* random.h: the published known answers, independence of the offset, moments. */
#include "random.h"

#include <math.h>
#include <string.h>

#include "check.h"

/* From the kat_vectors file of the Random123 library: counter, key, answer. */
static const struct {
    uint32_t counter[4], key[2], answer[4];
} known[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
     {0xffffffff, 0xffffffff},
     {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
     {0xa4093822, 0x299f31d0},
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

static uint64_t join(uint32_t low, uint32_t high) { return low | (uint64_t)high << 32; }

static void test_known_answers(void)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const uint32_t *c = known[i].counter, *k = known[i].key;
        uint64_t seed = join(k[0], k[1]), block = join(c[0], c[1]), stream = join(c[2], c[3]);
        uint32_t out[4];
        philox_u32x4(seed, stream, block, out);
        CHECK(memcmp(out, known[i].answer, sizeof out) == 0, "vector %d: %08x %08x %08x %08x",
              (int)i, out[0], out[1], out[2], out[3]);
        if (block > UINT64_MAX / 2) continue; /* its element has no 64-bit number */
        uint64_t pair[2];
        philox_fill_u64(seed, stream, 2 * block, 2, pair);
        CHECK(pair[0] == join(out[0], out[1]) && pair[1] == join(out[2], out[3]), "fill_u64");
    }
}

enum { N = 1000 };

/* A fill may be cut anywhere: part i .. i + n of it is the fill at offset + i. */
#define DEFINE_CUT_TEST(NAME, T)                                                          \
    static void test_cut_##NAME(void)                                                     \
    {                                                                                     \
        static T whole[N], part[N];                                                       \
        static const int sizes[] = {1, 2, 3, 5, 31, 64, 65, 200};                         \
        philox_##NAME(7, 3, 11, N, whole);                                                \
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {                       \
            for (int64_t i = 0; i + sizes[s] <= N; i += 37) {                             \
                philox_##NAME(7, 3, 11 + (uint64_t)i, sizes[s], part);                    \
                size_t bytes = (size_t)sizes[s] * sizeof(T);                              \
                CHECK(memcmp(part, whole + i, bytes) == 0, "%d at %d", sizes[s], (int)i); \
            }                                                                             \
        }                                                                                 \
        part[0] = 5;                                                                      \
        philox_##NAME(7, 3, 11, 0, part);                                                 \
        CHECK(part[0] == (T)5, "an empty fill wrote");                                    \
        philox_##NAME(8, 3, 11, N, part);                                                 \
        CHECK(memcmp(part, whole, sizeof part) != 0, "the seed has no effect");           \
        philox_##NAME(7, 4, 11, N, part);                                                 \
        CHECK(memcmp(part, whole, sizeof part) != 0, "the stream has no effect");         \
    }

DEFINE_CUT_TEST(fill_u64, uint64_t)
DEFINE_CUT_TEST(uniform_f32, float)
DEFINE_CUT_TEST(uniform_f64, double)
DEFINE_CUT_TEST(normal_f32, float)
DEFINE_CUT_TEST(normal_f64, double)

/* Sample moments about `mean` against exact ones, and lag-1 correlation, all within 5 standard
 * errors. The fourth moment's error is that of the distribution (`spread4`). */
#define DEFINE_MOMENT_TEST(NAME, T)                                                    \
    static void test_moments_##NAME(double mean, double m2, double m4, double spread4) \
    {                                                                                  \
        enum { M = 1 << 20 };                                                          \
        static T x[M];                                                                 \
        philox_##NAME(2026, 1, 0, M, x);                                               \
        double s1 = 0, s2 = 0, s3 = 0, s4 = 0, lag = 0;                                \
        for (int i = 0; i < M; i++) {                                                  \
            double d = (double)x[i] - mean;                                            \
            s1 += d, s2 += d * d, s3 += d * d * d, s4 += d * d * d * d;                \
            if (i > 0) lag += d * ((double)x[i - 1] - mean);                           \
        }                                                                              \
        double error = 5 / sqrt(M);                                                    \
        CHECK(fabs(s1 / M) < error * sqrt(m2), "mean off by %g", s1 / M);              \
        CHECK(fabs(s2 / M - m2) < error * sqrt(m4 - m2 * m2), "variance %g", s2 / M);  \
        CHECK(fabs(s3 / M) < error * spread4, "third moment %g", s3 / M);              \
        CHECK(fabs(s4 / M - m4) < error * spread4, "fourth moment %g", s4 / M);        \
        CHECK(fabs(lag / M) < error * m2, "neighbours correlate: %g", lag / M);        \
    }

DEFINE_MOMENT_TEST(uniform_f32, float)
DEFINE_MOMENT_TEST(uniform_f64, double)
DEFINE_MOMENT_TEST(normal_f32, float)
DEFINE_MOMENT_TEST(normal_f64, double)

static void test_ranges(void)
{
    enum { M = 1 << 20 };
    static float u[M];
    philox_uniform_f32(1, 2, 3, M, u);
    for (int i = 0; i < M; i++) {
        float scaled = u[i] * 0x1p24f;
        CHECK(u[i] >= 0 && u[i] < 1 && scaled == floorf(scaled), "uniform %a", u[i]);
    }
    philox_normal_f32(1, 2, 3, M, u);
    for (int i = 0; i < M; i++) CHECK(isfinite(u[i]), "normal %a at %d", u[i], i);
}

int main(void)
{
    test_known_answers();
    test_cut_fill_u64();
    test_cut_uniform_f32();
    test_cut_uniform_f64();
    test_cut_normal_f32();
    test_cut_normal_f64();
    /* Uniform: central moments 1/12 and 1/80; E d^8 = 1/2304 bounds the last two. */
    test_moments_uniform_f32(0.5, 1.0 / 12, 1.0 / 80, 1.0 / 48);
    test_moments_uniform_f64(0.5, 1.0 / 12, 1.0 / 80, 1.0 / 48);
    /* Normal: 1 and 3; the variance of d^4 is 105 - 9. */
    test_moments_normal_f32(0, 1, 3, sqrt(96));
    test_moments_normal_f64(0, 1, 3, sqrt(96));
    test_ranges();
    return check_result();
}
