/* blas_builtin: a portable matrix product after Goto and van de Geijn ("Anatomy of high-performance
 * matrix multiplication", ACM TOMS 34(3), 2008). Pieces of op(A) and op(B) are packed, so that the
 * innermost loop reads both in order. That loop keeps an MR x NR block of the result in registers.
 * The loops are plain C, which the compiler vectorises. The packed pieces are on the stack, so
 * nothing can fail.
 *
 * This file includes itself once for each float type. */
#ifndef T

#include "blas_builtin.h"

enum { MR = 4, MC = 64, KC = 128, NC = 64 }; /* at most 132 KB of stack */

static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

#define T float
#define NR 8
#define NAME(name) name##_f32
#include "blas_builtin.c"
#undef T
#undef NR
#undef NAME

#define T double
#define NR 4
#define NAME(name) name##_f64
#include "blas_builtin.c"

#else

/* packed[l * width + i] = x(i, l) for i < rows, and 0 for rows <= i < width. */
static void NAME(pack)(const T *x, int64_t row_step, int64_t col_step, int64_t rows, int64_t cols,
                       int64_t width, T *packed)
{
    for (int64_t l = 0; l < cols; l++) {
        for (int64_t i = 0; i < rows; i++) packed[l * width + i] = x[i * row_step + l * col_step];
        for (int64_t i = rows; i < width; i++) packed[l * width + i] = 0;
    }
}

/* c(0..rows, 0..cols) = alpha * a b + beta * c, where a is (MR, k) and b is (k, NR), packed. */
static void NAME(block)(int64_t k, T alpha, const T *restrict a, const T *restrict b, T beta,
                        T *restrict c, int64_t ldc, int64_t rows, int64_t cols)
{
    T sum[MR][NR] = {{0}};
    for (int64_t l = 0; l < k; l++, a += MR, b += NR)
        for (int i = 0; i < MR; i++)
            for (int j = 0; j < NR; j++) sum[i][j] += a[i] * b[j];
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++)
            c[i * ldc + j] =
                beta == 0 ? alpha * sum[i][j] : alpha * sum[i][j] + beta * c[i * ldc + j];
}

void NAME(builtin_gemm)(bool ta, bool tb, int64_t m, int64_t n, int64_t k, T alpha, const T *a,
                        int64_t lda, const T *b, int64_t ldb, T beta, T *c, int64_t ldc)
{
    if (k <= 0) {
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++) c[i * ldc + j] = beta == 0 ? 0 : beta * c[i * ldc + j];
        return;
    }
    int64_t a_row = ta ? 1 : lda, a_col = ta ? lda : 1;
    int64_t b_row = tb ? 1 : ldb, b_col = tb ? ldb : 1;
    T packed_a[MC * KC], packed_b[KC * NC];
    for (int64_t l = 0; l < k; l += KC) {
        int64_t depth = smaller(KC, k - l);
        T scale = l == 0 ? beta : 1;
        for (int64_t j = 0; j < n; j += NC) {
            int64_t width = smaller(NC, n - j);
            for (int64_t jj = 0; jj < width; jj += NR)
                NAME(pack)(b + l * b_row + (j + jj) * b_col, b_col, b_row, smaller(NR, width - jj),
                           depth, NR, packed_b + jj * depth);
            for (int64_t i = 0; i < m; i += MC) {
                int64_t height = smaller(MC, m - i);
                for (int64_t ii = 0; ii < height; ii += MR)
                    NAME(pack)(a + (i + ii) * a_row + l * a_col, a_row, a_col,
                               smaller(MR, height - ii), depth, MR, packed_a + ii * depth);
                for (int64_t jj = 0; jj < width; jj += NR)
                    for (int64_t ii = 0; ii < height; ii += MR)
                        NAME(block)(depth, alpha, packed_a + ii * depth, packed_b + jj * depth,
                                    scale, c + (i + ii) * ldc + j + jj, ldc,
                                    smaller(MR, height - ii), smaller(NR, width - jj));
            }
        }
    }
}

#endif
