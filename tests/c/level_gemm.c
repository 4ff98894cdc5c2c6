/* gemm.h at one SIMD level and dtype, against a naive product; the same bits at any number of
 * threads and, where it is ours, however it is cut. */
#include "product_check.h"

#include <sys/wait.h>
#include <unistd.h>

#include "op.h"

#ifdef TT_F32
DEFINE_PRODUCT_CHECKS(float, f32, FLT_EPSILON)
#define CHECK_PRODUCT check_f32
#define CHECK_ALL check_all_f32
#define RANDOM random_f32
#else
DEFINE_PRODUCT_CHECKS(double, f64, DBL_EPSILON)
#define CHECK_PRODUCT check_f64
#define CHECK_ALL check_all_f64
#define RANDOM random_f64
#endif

static void check_threads(int64_t m, int64_t n, int64_t k, bool ta, bool tb)
{
    T *a = RANDOM(1, m * k), *b = RANDOM(2, k * n);
    T *one = RANDOM(3, m * n), *more = malloc((size_t)(m * n) * sizeof(T));
    T *start = malloc((size_t)(m * n) * sizeof(T));
    int64_t lda = ta ? m : k, ldb = tb ? k : n;
    memcpy(start, one, (size_t)(m * n) * sizeof(T));
    parallel_set_threads(1);
    parallel_gemm(ta, tb, m, n, k, 1, a, lda, b, ldb, (T)0.5, one, n);
    for (int threads = 2; threads <= 5; threads++) {
        parallel_set_threads(threads);
        memcpy(more, start, (size_t)(m * n) * sizeof(T));
        parallel_gemm(ta, tb, m, n, k, 1, a, lda, b, ldb, (T)0.5, more, n);
        CHECK(memcmp(one, more, (size_t)(m * n) * sizeof(T)) == 0,
              "m=%d n=%d k=%d: other bits at %d threads", (int)m, (int)n, (int)k, threads);
    }
#ifdef TT_GEMM
    for (int64_t cut = 1; cut < m; cut += m / 3) {
        memcpy(more, start, (size_t)(m * n) * sizeof(T));
        gemm(ta, tb, cut, n, k, 1, a, lda, b, ldb, (T)0.5, more, n);
        gemm(ta, tb, m - cut, n, k, 1, a + (ta ? cut : cut * lda), lda, b, ldb, (T)0.5,
             more + cut * n, n);
        CHECK(memcmp(one, more, (size_t)(m * n) * sizeof(T)) == 0,
              "m=%d n=%d k=%d: other bits when cut at row %d", (int)m, (int)n, (int)k, (int)cut);
    }
#endif
    free(a), free(b), free(one), free(more), free(start);
    parallel_set_threads(3);
    CHECK_PRODUCT(parallel_gemm, "parallel_gemm", ta, tb, m, n, k, 1, 0, 5);
}

/* Each element is seen once before its product and once after, and the product does not touch it
 * at other times. */
typedef struct {
    T *c;
    int64_t ldc;
} marked;

static void put_five(void *arg, int64_t row, int64_t rows, int64_t col, int64_t cols)
{
    const marked *m = arg;
    for (int64_t r = row; r < row + rows; r++)
        for (int64_t j = col; j < col + cols; j++) m->c[r * m->ldc + j] = 5;
}

static void twice(void *arg, int64_t row, int64_t rows, int64_t col, int64_t cols)
{
    const marked *m = arg;
    for (int64_t r = row; r < row + rows; r++)
        for (int64_t j = col; j < col + cols; j++) m->c[r * m->ldc + j] *= 2;
}

static void check_parts(int64_t m, int64_t n)
{
    T *ones = malloc((size_t)(m + n) * sizeof(T)), *c = malloc((size_t)(m * n) * sizeof(T));
    for (int64_t i = 0; i < m + n; i++) ones[i] = 1;
    marked mark = {c, n};
    gemm_parts parts = {.before = put_five, .after = twice, .arg = &mark};
    const gemm_args g = gemm_args_of(false, false, m, n, 1, 3, ones, 1, ones + m, n, 1, c, n);
    parallel_gemm_tiled(&g, &parts);
    for (int64_t i = 0; i < m * n; i++)
        CHECK(c[i] == 16, "%d x %d: element %d is %g", (int)m, (int)n, (int)i, (double)c[i]);
    free(ones), free(c);
}

#ifdef TT_GEMM
/* Four products by packed panels, each to a C of its own and all to one, of few rows and many: each
 * row has the same bits whatever rows are with it. */
static void check_four_panels(int64_t m, int64_t cols, int64_t k)
{
    T *a = RANDOM(1, m * 4 * k), *b = RANDOM(2, 4 * k * cols), *c = RANDOM(3, 4 * m * cols);
    T *panels = malloc((size_t)(4 * k * TILE_COLS + 1) * sizeof(T));
    T *alone = malloc((size_t)(4 * m * cols) * sizeof(T));
    T *start = malloc((size_t)(4 * m * cols) * sizeof(T));
    memcpy(start, c, (size_t)(4 * m * cols) * sizeof(T));
    for (int64_t i = 0; i < 4; i++)
        gemm_pack(false, k, cols, b + i * k * cols, cols, panels + i * k * TILE_COLS);
    for (int one = 0; one < 2; one++) {
        int64_t panel = k * TILE_COLS, next = one ? 0 : m * cols;
        memcpy(c, start, (size_t)(4 * m * cols) * sizeof(T));
        memcpy(alone, start, (size_t)(4 * m * cols) * sizeof(T));
        gemm_four_panels(m, cols, k, a, 4 * k, k, panels, panel, 1, c, cols, next);
        for (int64_t r = 0; r < m; r++)
            gemm_four_panels(1, cols, k, a + r * 4 * k, 4 * k, k, panels, panel, 1,
                             alone + r * cols, cols, next);
        CHECK(memcmp(c, alone, (size_t)(4 * m * cols) * sizeof(T)) == 0, "m=%d: other bits",
              (int)m);
        for (int64_t i = 0; i < 4; i++)
            blas_gemm(false, false, m, cols, k, -1, a + i * k, 4 * k, b + i * k * cols, cols, 1,
                      c + i * next, cols);
        for (int64_t i = 0; i < 4 * m * cols; i++)
            CHECK(fabs((double)(c[i] - start[i])) < 1e-6 * (double)k * (sizeof(T) == 4 ? 1 : 1e-8),
                  "m=%d cols=%d k=%d: %g", (int)m, (int)cols, (int)k, (double)(c[i] - start[i]));
    }
    free(a), free(b), free(c), free(panels), free(alone), free(start);
}
#endif

/* What is added may be another matrix, or one row for all. */
static void check_add(int64_t m, int64_t n, int64_t k, bool one_row)
{
    T *a = RANDOM(1, m * k), *b = RANDOM(2, n * k), *d = RANDOM(3, m * n);
    T *want = malloc((size_t)(m * n) * sizeof(T)), *c = malloc((size_t)(m * n) * sizeof(T));
    for (int64_t i = 0; i < m * n; i++) want[i] = d[one_row ? i % n : i], c[i] = (T)NAN;
    const gemm_parts none = {0};
    gemm_args g = gemm_args_of(false, true, m, n, k, 1, a, k, b, k, 1, c, n);
    g.d = d, g.ldd = one_row ? 0 : n;
    parallel_gemm(false, true, m, n, k, 1, a, k, b, k, 1, want, n);
    parallel_gemm_tiled(&g, &none);
    CHECK(memcmp(want, c, (size_t)(m * n) * sizeof(T)) == 0, "%d x %d x %d: another sum", (int)m,
          (int)n, (int)k);
    free(a), free(b), free(c), free(d), free(want);
}

/* The pool works in a child as in its parent. */
static void check_fork(void)
{
    parallel_set_threads(2);
    CHECK_PRODUCT(parallel_gemm, "before fork", false, true, 400, 128, 400, 1, 0, 0);
    pid_t child = fork();
    if (child == 0) {
        CHECK_PRODUCT(parallel_gemm, "child", false, true, 400, 128, 400, 1, 0, 0);
        _exit(check_result());
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK(status == 0, "the child ended with status %d", status);
    CHECK_PRODUCT(parallel_gemm, "after fork", false, true, 400, 128, 400, 1, 0, 0);
}

int main(void)
{
#ifdef TT_LEVEL_NAME
    if (!__builtin_cpu_supports(TT_LEVEL_NAME)) return 77;
#endif
    CHECK_ALL(gemm, "gemm");
    CHECK_ALL(parallel_gemm, "parallel_gemm");
    for (int t = 0; t < 4; t++) {
        check_threads(301, 257, 200, t & 1, t & 2);
        check_threads(37, 701, 512, t & 1, t & 2);
        check_threads(1020, 128, 300, t & 1, t & 2);
        check_threads(4, 33, 20, t & 1, t & 2);
        check_threads(1037, 130, 300, t & 1, t & 2); /* rows of more than a page, when transposed */
    }
    for (int one_row = 0; one_row < 2; one_row++) {
        check_add(2, 40, 33, one_row);
        check_add(70, 45, 300, one_row);
        check_add(600, 300, 64, one_row);
        check_add(5, 7, 0, one_row);
    }
    check_parts(70, 40);
    check_parts(1500, 300);
    check_parts(20, 1000);
#ifdef TT_GEMM
    for (int m = 1; m < 20; m += m < 5 ? 1 : 6)
        for (int k = 1; k < 700; k = k * 5 + 3)
            for (int cols = 1; cols <= TILE_COLS; cols += TILE_COLS - 1)
                check_four_panels(m, cols, k);
#endif
    check_fork();
    return check_result();
}
