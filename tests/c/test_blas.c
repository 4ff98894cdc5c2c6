/* blas_ops.h and blas_builtin.h against a naive product: every transpose, scale, stride and empty
 * size; the same bits at any number of threads. */
#include "blas_ops.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "blas_builtin.h"
#include "check.h"
#include "parallel.h"
#include "random.h"

static const int64_t sizes[][3] = {
    {1, 1, 1},     {1, 7, 3},     {5, 1, 4},   {3, 4, 1},     {8, 8, 8},     {17, 19, 23},
    {33, 2, 129},  {65, 70, 64},  {0, 3, 4},   {3, 0, 4},     {3, 4, 0},     {0, 0, 0},
    {12, 65, 128}, {130, 9, 300}, {4, 130, 7}, {100, 3, 257}, {64, 64, 128},
};
static const double scales[][2] = {{1, 0}, {1, 1}, {-0.5, 0}, {2, 0.25}, {0, 1}};

#define DEFINE_TESTS(T, S, EPSILON)                                                                \
    typedef void (*gemm_##S)(bool, bool, int64_t, int64_t, int64_t, T, const T *, int64_t,         \
                             const T *, int64_t, T, T *, int64_t);                                 \
                                                                                                   \
    static T *random_##S(uint64_t stream, int64_t n)                                               \
    {                                                                                              \
        T *x = malloc((size_t)(n + 1) * sizeof(T));                                                \
        philox_normal_##S(1, stream, 0, n, x);                                                     \
        return x;                                                                                  \
    }                                                                                              \
                                                                                                   \
    /* One product; the strides leave `gap` unused elements at the end of each row. */             \
    static void check_##S(gemm_##S gemm, const char *name, bool ta, bool tb, int64_t m, int64_t n, \
                          int64_t k, T alpha, T beta, int64_t gap)                                 \
    {                                                                                              \
        int64_t lda = (ta ? m : k) + gap, ldb = (tb ? k : n) + gap, ldc = n + gap;                 \
        T *a = random_##S(1, (ta ? k : m) * lda), *b = random_##S(2, (tb ? n : k) * ldb);          \
        T *c = random_##S(3, m * ldc), *before = malloc((size_t)(m * ldc + 1) * sizeof(T));        \
        if (beta == 0)                                                                             \
            for (int64_t i = 0; i < m; i++)                                                        \
                for (int64_t j = 0; j < n; j++) c[i * ldc + j] = (T)NAN;                           \
        memcpy(before, c, (size_t)(m * ldc) * sizeof(T));                                          \
        gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);                                \
        for (int64_t i = 0; i < m; i++) {                                                          \
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
    static void check_all_##S(gemm_##S gemm, const char *name)                                     \
    {                                                                                              \
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)                                  \
            for (size_t s = 0; s < sizeof scales / sizeof *scales; s++)                            \
                for (int t = 0; t < 8; t++)                                                        \
                    check_##S(gemm, name, t & 1, t & 2, sizes[i][0], sizes[i][1], sizes[i][2],     \
                              (T)scales[s][0], (T)scales[s][1], t & 4 ? 3 : 0);                    \
    }                                                                                              \
                                                                                                   \
    /* A view of one row or column may have any stride, 0 included. */                             \
    static void check_lone_rows_##S(void)                                                          \
    {                                                                                              \
        T a[3] = {1, 2, 3}, b[3] = {4, 5, 6}, c[9] = {0};                                          \
        blas_gemm_##S(false, true, 1, 1, 3, 1, a, 0, b, 0, 0, c, 0);                               \
        CHECK(c[0] == (T)32, "%g", (double)c[0]);                                                  \
        blas_gemm_##S(true, false, 3, 3, 1, 1, a, 0, b, 0, 0, c, 3);                               \
        CHECK(c[0] == (T)4 && c[5] == (T)12 && c[8] == (T)18, "%g", (double)c[8]);                 \
    }                                                                                              \
                                                                                                   \
    static void check_threads_##S(int64_t m, int64_t n, int64_t k, bool ta, bool tb)               \
    {                                                                                              \
        T *a = random_##S(1, m * k), *b = random_##S(2, k * n);                                    \
        T *one = random_##S(3, m * n), *more = random_##S(3, m * n);                               \
        int64_t lda = ta ? m : k, ldb = tb ? k : n;                                                \
        parallel_set_threads(1);                                                                   \
        blas_matmul_##S(ta, tb, m, n, k, 1, a, lda, b, ldb, (T)0.5, one, n);                       \
        for (int threads = 2; threads <= 4; threads++) {                                           \
            parallel_set_threads(threads);                                                         \
            philox_normal_##S(1, 3, 0, m * n, more);                                               \
            blas_matmul_##S(ta, tb, m, n, k, 1, a, lda, b, ldb, (T)0.5, more, n);                  \
            CHECK(memcmp(one, more, (size_t)(m * n) * sizeof(T)) == 0,                             \
                  #S " m=%d n=%d k=%d: other bits at %d threads", (int)m, (int)n, (int)k,          \
                  threads);                                                                        \
        }                                                                                          \
        free(a), free(b), free(one), free(more);                                                   \
        parallel_set_threads(3);                                                                   \
        check_##S(blas_matmul_##S, "matmul", ta, tb, m, n, k, 1, 0, 5);                            \
    }                                                                                              \
                                                                                                   \
    static void check_type_##S(void)                                                               \
    {                                                                                              \
        check_all_##S(blas_gemm_##S, "gemm");                                                      \
        check_all_##S(builtin_gemm_##S, "builtin");                                                \
        check_all_##S(blas_matmul_##S, "matmul");                                                  \
        check_lone_rows_##S();                                                                     \
        for (int t = 0; t < 4; t++) {                                                              \
            check_threads_##S(301, 257, 200, t & 1, t & 2); /* 2 shards, uneven, by row */         \
            check_threads_##S(37, 701, 512, t & 1, t & 2);  /* by column */                        \
            check_threads_##S(768, 128, 300, t & 1, t & 2); /* 4 shards */                         \
        }                                                                                          \
    }

DEFINE_TESTS(float, f32, FLT_EPSILON)
DEFINE_TESTS(double, f64, DBL_EPSILON)

/* The BLAS and the pool work in a child as in its parent. */
static void check_fork(void)
{
    parallel_set_threads(2);
    check_f32(blas_matmul_f32, "before fork", false, true, 400, 128, 400, 1, 0, 0);
    pid_t child = fork();
    if (child == 0) {
        check_f32(blas_matmul_f32, "child", false, true, 400, 128, 400, 1, 0, 0);
        _exit(check_result());
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK(status == 0, "the child ended with status %d", status);
    check_f32(blas_matmul_f32, "after fork", false, true, 400, 128, 400, 1, 0, 0);
}

int main(void)
{
    blas_init();
    printf("%s %s %s\n", blas_name(), blas_version(), blas_core());
    CHECK(blas_name()[0] != '\0', "no name");
    check_type_f32();
    check_type_f64();
    check_fork();
    return check_result();
}
