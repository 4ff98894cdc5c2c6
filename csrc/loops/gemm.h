/* gemm: the products of the kernels, C = alpha op(A) op(B) + beta C, on one thread and on the pool.
 * All matrices are row-major: X[r, c] is x[r * ldx + c]. `ta`/`tb` read the stored matrix
 * transposed, so A is stored (m, k) or, with ta, (k, m). Any of m, n, k may be 0; with beta == 0, C
 * is overwritten and never read. */
#ifndef TT_GEMM_H
#define TT_GEMM_H

/* C (m, n) = alpha op(A) op(B) + beta D. D is C, or overlaps it nowhere; with ldd == 0 all its rows
 * are one row. */
typedef struct {
    bool ta, tb;
    int64_t m, n, k;
    T alpha, beta;
    const T *a, *b, *d;
    T *c;
    int64_t lda, ldb, ldd, ldc;
} gemm_args;

/* The product of some rows and columns of C. Member by member, since a processor waits when it
 * copies a struct that was just written. */
TT_INLINE gemm_args gemm_part_of(const gemm_args *g, int64_t row, int64_t rows, int64_t col,
                                 int64_t cols)
{
    return (gemm_args){.ta = g->ta,
                       .tb = g->tb,
                       .m = rows,
                       .n = cols,
                       .k = g->k,
                       .alpha = g->alpha,
                       .beta = g->beta,
                       .a = g->a + (g->ta ? row : row * g->lda),
                       .lda = g->lda,
                       .b = g->b + (g->tb ? col * g->ldb : col),
                       .ldb = g->ldb,
                       .d = g->d + row * g->ldd + col,
                       .ldd = g->ldd,
                       .c = g->c + row * g->ldc + col,
                       .ldc = g->ldc};
}

#ifdef TT_GEMM
#include "gemm_tiles.h"
#endif

/* A product of fewer floating-point operations is not worth waking another thread for. */
#define FLOPS_PER_PART 1e6
enum {
    PART_ROWS = 14, /* parts are multiples of these, and so of tiles */
    PART_COLS = 32,
    PACKING = 6, /* of an element of B costs as much as so many terms; twice that when transposed */
    TILED_ELEMENTS = 1 << 17, /* of C between `before` and `after`: they stay in the second cache */
    TILED_ROWS = 56,
    FEW_ROWS = 3, /* with no more rows of C, packing a transposed B costs more than it saves */
    BLAS_PARTS = 16,
};

/* Work on a part of C (rows from `row` on, columns from `col` on) just before its product and just
 * after, while it is in the cache of the thread that computes it. Either may be NULL. Each element
 * is in exactly one part. */
typedef void (*part_fn)(void *arg, int64_t row, int64_t rows, int64_t col, int64_t cols);
typedef struct {
    part_fn before, after;
    void *arg;
    bool whole_rows; /* no part begins or ends within a row */
} gemm_parts;

/* The arguments of a BLAS, where D is C. */
static gemm_args gemm_args_of(bool ta, bool tb, int64_t m, int64_t n, int64_t k, T alpha,
                              const T *a, int64_t lda, const T *b, int64_t ldb, T beta, T *c,
                              int64_t ldc)
{
    return (gemm_args){ta, tb, m, n, k, alpha, beta, a, b, c, c, lda, ldb, ldc, ldc};
}

static void gemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, T alpha, const T *a,
                 int64_t lda, const T *b, int64_t ldb, T beta, T *c, int64_t ldc)
{
    if (m <= 0 || n <= 0) return;
#ifdef TT_GEMM
    if (!blas_preferred()) {
        const gemm_args g = gemm_args_of(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
        tiled_gemm(&g);
        return;
    }
#endif
    blas_gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

typedef struct {
    const gemm_args *whole;
    gemm_parts parts;
    bool by_rows;
    int64_t rows, cols, across; /* of a part; parts side by side */
} gemm_plan;

static void gemm_rows(const gemm_plan *p, int64_t row, int64_t rows, int64_t col, int64_t cols)
{
    const gemm_args g = gemm_part_of(p->whole, row, rows, col, cols);
#ifdef TT_GEMM
    if (p->by_rows) {
        gemm_by_rows(&g);
        return;
    }
    if (!blas_preferred()) {
        tiled_gemm(&g);
        return;
    }
#endif
    for (int64_t r = 0; g.d != g.c && r < rows; r++)
        memcpy(g.c + r * g.ldc, g.d + r * g.ldd, (size_t)cols * sizeof(T));
    blas_gemm(g.ta, g.tb, rows, cols, g.k, g.alpha, g.a, g.lda, g.b, g.ldb, g.beta, g.c, g.ldc);
}

static void gemm_part(void *arg, int64_t part)
{
    const gemm_plan *p = arg;
    int64_t row = part / p->across * p->rows, end = at_most(row + p->rows, p->whole->m);
    int64_t col = part % p->across * p->cols, cols = at_most(p->cols, p->whole->n - col);
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

/* Into how many parts a product is divided. Our own products have the same bits for any division.
 * Those of a BLAS do not: their division must not depend on the number of threads. */
static int64_t gemm_count_parts(const gemm_plan *p)
{
    double work = 2.0 * (double)p->whole->m * (double)p->whole->n * (double)p->whole->k;
    int64_t parts = BLAS_PARTS;
#ifdef TT_GEMM
    if (!blas_preferred()) parts = parallel_get_threads(); /* more would read A or B more often */
#endif
    return work < (double)parts * FLOPS_PER_PART ? at_least_one((int64_t)(work / FLOPS_PER_PART))
                                                 : parts;
}

/* Sets the shape of the parts for which the threads finish first. The cost of a part is the number
 * of its elements, in whole tiles, and the packing of its columns of B. */
static void gemm_choose_parts(gemm_plan *p)
{
    int64_t parts = gemm_count_parts(p), panels = (p->whole->n + PART_COLS - 1) / PART_COLS;
    double least = INFINITY;
    int64_t max_across = p->parts.whole_rows ? 1 : at_most(parts, panels);
    for (int64_t across = 1; across <= max_across; across++) {
        int64_t cols = (panels + across - 1) / across * PART_COLS;
        int64_t down = (parts + across - 1) / across;
        int64_t rows = (p->whole->m + down - 1) / down;
        if (down > 1) rows = (rows + PART_ROWS - 1) / PART_ROWS * PART_ROWS;
        int64_t made = (p->whole->m + rows - 1) / rows * ((p->whole->n + cols - 1) / cols);
        double each = (double)cols * ((double)rows + (p->whole->tb ? 2 : 1) * PACKING);
        double cost = (double)((made + parts - 1) / parts) * each;
        if (cost >= least) continue;
        least = cost;
        p->rows = rows;
        p->cols = cols;
        p->across = (p->whole->n + cols - 1) / cols;
    }
}

static void parallel_gemm_tiled(const gemm_args *g, const gemm_parts *parts)
{
    if (g->m <= 0 || g->n <= 0) return;
    gemm_plan p = {.whole = g, .parts = *parts};
#ifdef TT_GEMM
    p.by_rows = g->m <= FEW_ROWS && !g->ta && g->tb && !blas_preferred();
#endif
    gemm_choose_parts(&p);
    parallel_for((g->m + p.rows - 1) / p.rows * p.across, gemm_part, &p);
}

static void parallel_gemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, T alpha, const T *a,
                          int64_t lda, const T *b, int64_t ldb, T beta, T *c, int64_t ldc)
{
    const gemm_args g = gemm_args_of(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    const gemm_parts none = {0};
    parallel_gemm_tiled(&g, &none);
}

#endif
