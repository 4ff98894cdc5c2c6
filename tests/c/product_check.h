/* The check of a matrix product against a naive one: every transpose, scale, stride and empty
 * size. */
#ifndef PRODUCT_CHECK_H
#define PRODUCT_CHECK_H

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "random.h"

/* The naive product takes longer than all else where each access is watched: there so many rows of
 * large products do, and the plain build sees the others. */
#ifndef ROWS_CHECKED
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define ROWS_CHECKED 24
#else
#define ROWS_CHECKED 1000000
#endif
#endif

static const int64_t product_sizes[][3] = {
    {1, 1, 1},     {1, 7, 3},     {5, 1, 4},   {3, 4, 1},     {8, 8, 8},     {17, 19, 23},
    {33, 2, 129},  {65, 70, 64},  {0, 3, 4},   {3, 0, 4},     {3, 4, 0},     {0, 0, 0},
    {12, 65, 128}, {130, 9, 300}, {4, 130, 7}, {100, 3, 257}, {64, 64, 128}, {509, 35, 5},
};
static const double scales[][2] = {{1, 0}, {1, 1}, {-0.5, 0}, {2, 0.25}, {0, 1}};

#define DEFINE_PRODUCT_CHECKS(T, S, EPSILON)                                                       \
    typedef void (*product_##S)(bool, bool, int64_t, int64_t, int64_t, T, const T *, int64_t,      \
                                const T *, int64_t, T, T *, int64_t);                              \
                                                                                                   \
    static T *random_##S(uint64_t stream, int64_t n)                                               \
    {                                                                                              \
        T *x = malloc((size_t)(n + 1) * sizeof(T));                                                \
        philox_uniform_##S(1, stream, 0, n, x);                                                    \
        for (int64_t i = 0; i < n; i++) x[i] = 2 * x[i] - 1;                                       \
        return x;                                                                                  \
    }                                                                                              \
                                                                                                   \
    /* One product; the strides leave `gap` unused elements at the end of each row. */             \
    static void check_##S(product_##S product, const char *name, bool ta, bool tb, int64_t m,      \
                          int64_t n, int64_t k, T alpha, T beta, int64_t gap)                      \
    {                                                                                              \
        int64_t lda = (ta ? m : k) + gap, ldb = (tb ? k : n) + gap, ldc = n + gap;                 \
        T *a = random_##S(1, (ta ? k : m) * lda), *b = random_##S(2, (tb ? n : k) * ldb);          \
        T *c = random_##S(3, m * ldc), *before = malloc((size_t)(m * ldc + 1) * sizeof(T));        \
        if (beta == 0)                                                                             \
            for (int64_t i = 0; i < m; i++)                                                        \
                for (int64_t j = 0; j < n; j++) c[i * ldc + j] = (T)NAN;                           \
        memcpy(before, c, (size_t)(m * ldc) * sizeof(T));                                          \
        product(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);                             \
        for (int64_t i = 0; i < m; i += m / ROWS_CHECKED + 1) {                                    \
            for (int64_t j = 0; j < ldc; j++) {                                                    \
                T got = c[i * ldc + j], old = before[i * ldc + j];                                 \
                if (j >= n) {                                                                      \
                    CHECK(got == old, "%s wrote past row %d", name, (int)i);                       \
                    continue;                                                                      \
                }                                                                                  \
                double sum = 0, size = 0;                                                          \
                for (int64_t l = 0; l < k; l++) {                                                  \
                    double x = (double)(ta ? a[l * lda + i] : a[i * lda + l]) *                    \
                               (double)(tb ? b[j * ldb + l] : b[l * ldb + j]);                     \
                    sum += x, size += fabs(x);                                                     \
                }                                                                                  \
                double want = (double)alpha * sum, bound = fabs((double)alpha) * size;             \
                if (beta != 0) {                                                                   \
                    want += (double)beta * (double)old;                                            \
                    bound += fabs((double)beta * (double)old);                                     \
                }                                                                                  \
                CHECK(fabs((double)got - want) <= 4 * EPSILON * (sqrt((double)k) + 2) * bound,     \
                      "%s " #S " ta=%d tb=%d m=%d n=%d k=%d alpha=%g beta=%g: [%d, %d] is %.17g, " \
                      "expected %.17g",                                                            \
                      name, ta, tb, (int)m, (int)n, (int)k, (double)alpha, (double)beta, (int)i,   \
                      (int)j, (double)got, want);                                                  \
            }                                                                                      \
        }                                                                                          \
        free(a), free(b), free(c), free(before);                                                   \
    }                                                                                              \
                                                                                                   \
    static void check_all_##S(product_##S product, const char *name)                               \
    {                                                                                              \
        for (size_t i = 0; i < sizeof product_sizes / sizeof *product_sizes; i++)                  \
            for (size_t s = 0; s < sizeof scales / sizeof *scales; s++)                            \
                for (int t = 0; t < 8; t++)                                                        \
                    check_##S(product, name, t & 1, t & 2, product_sizes[i][0],                    \
                              product_sizes[i][1], product_sizes[i][2], (T)scales[s][0],           \
                              (T)scales[s][1], t & 4 ? 3 : 0);                                     \
    }

#endif
