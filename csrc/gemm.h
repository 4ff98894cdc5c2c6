/* gemm: the products of the kernels, C = alpha op(A) op(B) + beta C, on one thread and on the pool.
 * All matrices are row-major: X[r, c] is x[r * ldx + c]. `ta`/`tb` read the stored matrix
 * transposed, so A is stored (m, k) or, with ta, (k, m). Any of m, n, k may be 0; with beta == 0, C
 * is overwritten and never read. */
#ifndef TT_GEMM_H
#define TT_GEMM_H

#ifdef TT_GEMM
#include "gemm_tiles.h"
#endif

/* A product of fewer floating-point operations is not worth waking another thread for. */
#define FLOPS_PER_PART 1e6
/* With so many for each thread, two parts for each even out what other processes take of one. */
#define FLOPS_UNEVEN 64e6
enum {
    PART_ROWS = 56,           /* the fewest rows for which a part packs its share of B again */
    TILED_ELEMENTS = 1 << 17, /* of C, between before and after: they stay in the second cache */
    BLAS_PARTS = 16,
};

/* Work on each part of C (rows from `row` on, columns from `col` on) just before its product and
 * just after, while it is in the cache of the thread that computes it. Either may be NULL, and no
 * element is seen twice. */
typedef void (*part_fn)(void *arg, int64_t row, int64_t rows, int64_t col, int64_t cols);
typedef struct {
    part_fn before, after;
    void *arg;
} gemm_parts;

static void gemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, T alpha, const T *a,
                 int64_t lda, const T *b, int64_t ldb, T beta, T *c, int64_t ldc)
{
    if (m <= 0 || n <= 0) return;
#ifdef TT_GEMM
    if (!blas_preferred()) {
        tiled_gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
        return;
    }
#endif
    blas_gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

typedef struct {
    bool ta, tb;
    int64_t m, n, k, lda, ldb, ldc;
    T alpha, beta;
    const T *a, *b;
    T *c;
    gemm_parts parts;
    int64_t rows, cols, across; /* of a part; parts side by side */
} gemm_plan;

static void gemm_part(void *arg, int64_t part)
{
    const gemm_plan *p = arg;
    int64_t row = part / p->across * p->rows, end = at_most(row + p->rows, p->m);
    int64_t col = part % p->across * p->cols, cols = at_most(p->cols, p->n - col);
    int64_t step = end - row;
    if (p->parts.before != NULL || p->parts.after != NULL) {
        step = TILED_ELEMENTS / at_least_one(cols) / PART_ROWS * PART_ROWS;
        if (step < PART_ROWS) step = PART_ROWS;
    }
    for (; row < end; row += step) {
        int64_t rows = at_most(step, end - row);
        if (p->parts.before != NULL) p->parts.before(p->parts.arg, row, rows, col, cols);
        gemm(p->ta, p->tb, rows, cols, p->k, p->alpha, p->a + (p->ta ? row : row * p->lda), p->lda,
             p->b + (p->tb ? col * p->ldb : col), p->ldb, p->beta, p->c + row * p->ldc + col,
             p->ldc);
        if (p->parts.after != NULL) p->parts.after(p->parts.arg, row, rows, col, cols);
    }
}

/* How many parts are worth while. Our own product has the same bits however it is cut, a BLAS has
 * not: there the cut must not depend on the number of threads. */
static int64_t gemm_count_parts(int64_t m, int64_t n, int64_t k)
{
    double work = 2.0 * (double)m * (double)n * (double)k;
    int64_t parts = BLAS_PARTS;
#ifdef TT_GEMM
    if (!blas_preferred()) {
        parts = parallel_get_threads();
        if (parts > 1 && work > (double)parts * FLOPS_UNEVEN) parts *= 2;
    }
#endif
    return work < (double)parts * FLOPS_PER_PART ? at_least_one((int64_t)(work / FLOPS_PER_PART))
                                                 : parts;
}

static void parallel_gemm_tiled(bool ta, bool tb, int64_t m, int64_t n, int64_t k, T alpha,
                                const T *a, int64_t lda, const T *b, int64_t ldb, T beta, T *c,
                                int64_t ldc, const gemm_parts *parts)
{
    if (m <= 0 || n <= 0) return;
    int64_t count = gemm_count_parts(m, n, k), down = at_most(count, at_least_one(m / PART_ROWS));
    int64_t across = at_most((count + down - 1) / down, (n + 31) / 32);
    gemm_plan p = {.ta = ta,
                   .tb = tb,
                   .m = m,
                   .n = n,
                   .k = k,
                   .lda = lda,
                   .ldb = ldb,
                   .ldc = ldc,
                   .alpha = alpha,
                   .beta = beta,
                   .a = a,
                   .b = b,
                   .c = c,
                   .parts = *parts};
    p.rows = (m + down - 1) / down;
    p.cols = ((n + across - 1) / across + 31) / 32 * 32;
    p.across = (n + p.cols - 1) / p.cols;
    parallel_for((m + p.rows - 1) / p.rows * p.across, gemm_part, &p);
}

static void parallel_gemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, T alpha, const T *a,
                          int64_t lda, const T *b, int64_t ldb, T beta, T *c, int64_t ldc)
{
    const gemm_parts none = {0};
    parallel_gemm_tiled(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, &none);
}

#endif
