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
enum {
    PART_ROWS = 14,
    PART_COLS = 32, /* parts are multiples of these, which tiles divide */
    PACKING = 6, /* of an element of B costs as much as so many terms; twice that when transposed */
    TILED_ELEMENTS = 1 << 17, /* of C, between before and after: they stay in the second cache */
    TILED_ROWS = 56,
    FEW_ROWS = 3, /* which do not repay the packing of a transposed B */
    BLAS_PARTS = 16,
};

/* Work on each part of C (rows from `row` on, columns from `col` on) just before its product and
 * just after, while it is in the cache of the thread that computes it. Either may be NULL, and no
 * element is seen twice. */
typedef void (*part_fn)(void *arg, int64_t row, int64_t rows, int64_t col, int64_t cols);
typedef struct {
    part_fn before, after;
    void *arg;
    bool whole_rows; /* no part begins or ends within a row */
    const T *add;    /* what is added instead of C: a matrix like it, or one row for all; or NULL */
    int64_t add_ld;  /* 0: one row */
} gemm_parts;

static void gemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, T alpha, const T *a,
                 int64_t lda, const T *b, int64_t ldb, T beta, T *c, int64_t ldc)
{
    if (m <= 0 || n <= 0) return;
#ifdef TT_GEMM
    if (!blas_preferred()) {
        tiled_gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, c, ldc);
        return;
    }
#endif
    blas_gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

typedef struct {
    bool ta, tb, by_rows;
    int64_t m, n, k, lda, ldb, ldc;
    T alpha, beta;
    const T *a, *b;
    T *c;
    gemm_parts parts;
    int64_t rows, cols, across; /* of a part; parts side by side */
} gemm_plan;

/* The product of some rows and columns of C. */
static void gemm_rows(const gemm_plan *p, int64_t row, int64_t rows, int64_t col, int64_t cols)
{
    const T *a = p->a + (p->ta ? row : row * p->lda), *b = p->b + (p->tb ? col * p->ldb : col);
    T *c = p->c + row * p->ldc + col, beta = p->parts.add != NULL ? 1 : p->beta;
    const T *d = p->parts.add != NULL ? p->parts.add + row * p->parts.add_ld + col : c;
#ifdef TT_GEMM
    int64_t ldd = p->parts.add != NULL ? p->parts.add_ld : p->ldc;
    if (p->by_rows) {
        gemm_by_rows(rows, cols, p->k, p->alpha, a, p->lda, b, p->ldb, beta, d, ldd, c, p->ldc);
        return;
    }
    if (!blas_preferred()) {
        tiled_gemm(p->ta, p->tb, rows, cols, p->k, p->alpha, a, p->lda, b, p->ldb, beta, d, ldd, c,
                   p->ldc);
        return;
    }
#endif
    for (int64_t r = 0; d != c && r < rows; r++)
        memcpy(c + r * p->ldc, d + r * p->parts.add_ld, (size_t)cols * sizeof(T));
    blas_gemm(p->ta, p->tb, rows, cols, p->k, p->alpha, a, p->lda, b, p->ldb, beta, c, p->ldc);
}

static void gemm_part(void *arg, int64_t part)
{
    const gemm_plan *p = arg;
    int64_t row = part / p->across * p->rows, end = at_most(row + p->rows, p->m);
    int64_t col = part % p->across * p->cols, cols = at_most(p->cols, p->n - col);
    int64_t step = end - row;
    if (p->parts.before != NULL || p->parts.after != NULL) {
        step = TILED_ELEMENTS / at_least_one(cols) / TILED_ROWS * TILED_ROWS;
        if (step < TILED_ROWS) step = TILED_ROWS;
    }
    for (; row < end; row += step) {
        int64_t rows = at_most(step, end - row);
        if (p->parts.before != NULL) p->parts.before(p->parts.arg, row, rows, col, cols);
        gemm_rows(p, row, rows, col, cols);
        if (p->parts.after != NULL) p->parts.after(p->parts.arg, row, rows, col, cols);
    }
}

/* How many parts are worth while. Our own product has the same bits however it is cut, a BLAS has
 * not: there the cut must not depend on the number of threads. */
static int64_t gemm_count_parts(const gemm_plan *p)
{
    double work = 2.0 * (double)p->m * (double)p->n * (double)p->k;
    int64_t parts = BLAS_PARTS;
#ifdef TT_GEMM
    if (!blas_preferred()) parts = parallel_get_threads(); /* more would read A or B more often */
#endif
    return work < (double)parts * FLOPS_PER_PART ? at_least_one((int64_t)(work / FLOPS_PER_PART))
                                                 : parts;
}

/* Sets the shape of the parts so that the threads are done soonest: a part costs its elements, in
 * whole tiles, and the packing of its share of B. */
static void gemm_choose_parts(gemm_plan *p)
{
    int64_t parts = gemm_count_parts(p), panels = (p->n + PART_COLS - 1) / PART_COLS;
    double least = INFINITY;
    int64_t most = p->parts.whole_rows ? 1 : at_most(parts, panels);
    for (int64_t across = 1; across <= most; across++) {
        int64_t cols = (panels + across - 1) / across * PART_COLS;
        int64_t down = (parts + across - 1) / across;
        int64_t rows = (p->m + down - 1) / down;
        if (down > 1) rows = (rows + PART_ROWS - 1) / PART_ROWS * PART_ROWS;
        int64_t made = (p->m + rows - 1) / rows * ((p->n + cols - 1) / cols);
        double each = (double)cols * ((double)rows + (p->tb ? 2 : 1) * PACKING);
        double cost = (double)((made + parts - 1) / parts) * each;
        if (cost >= least) continue;
        least = cost;
        p->rows = rows;
        p->cols = cols;
        p->across = (p->n + cols - 1) / cols;
    }
}

static void parallel_gemm_tiled(bool ta, bool tb, int64_t m, int64_t n, int64_t k, T alpha,
                                const T *a, int64_t lda, const T *b, int64_t ldb, T beta, T *c,
                                int64_t ldc, const gemm_parts *parts)
{
    if (m <= 0 || n <= 0) return;
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
#ifdef TT_GEMM
    p.by_rows = m <= FEW_ROWS && !ta && tb && !blas_preferred();
#endif
    gemm_choose_parts(&p);
    parallel_for((m + p.rows - 1) / p.rows * p.across, gemm_part, &p);
}

static void parallel_gemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, T alpha, const T *a,
                          int64_t lda, const T *b, int64_t ldb, T beta, T *c, int64_t ldc)
{
    const gemm_parts none = {0};
    parallel_gemm_tiled(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, &none);
}

#endif
