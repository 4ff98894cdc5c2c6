/* blas_ops: matrix products by the BLAS. blas_ops.c is the only file that includes a BLAS header.
 *
 * All matrices are row-major: X[r, c] is x[r * ldx + c]. `ta`/`tb` read the stored matrix
 * transposed, so A is stored (m, k) or, with ta, (k, m). Any of m, n, k may be 0; with k == 0 the
 * result is beta * C. With beta == 0, C is overwritten and never read: it may hold NaN. */
#ifndef TT_BLAS_OPS_H
#define TT_BLAS_OPS_H

#include <stdbool.h>
#include <stdint.h>

/* Loads the BLAS where that waits for its first product, and puts it on one thread: the pool of
 * parallel.h is the only source of threads. Idempotent and safe from any thread; every product that
 * goes to the BLAS calls it. */
void blas_init(void);

/* C[m, n] = alpha * op(A) op(B) + beta * C, on the calling thread. */
void blas_gemm_f32(bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a,
                   int64_t lda, const float *b, int64_t ldb, float beta, float *c, int64_t ldc);
void blas_gemm_f64(bool ta, bool tb, int64_t m, int64_t n, int64_t k, double alpha, const double *a,
                   int64_t lda, const double *b, int64_t ldb, double beta, double *c, int64_t ldc);

/* Whether the BLAS takes products that the library has kernels of its own for: TINYTAPE_MATMUL=blas
 * in the environment, read once. */
bool blas_preferred(void);

const char *blas_name(void);    /* "OpenBLAS (bundled)", "Accelerate", "builtin", ... */
const char *blas_version(void); /* "0.3.34", or "" when the library does not say */
/* The kernel set in use, "SkylakeX"; "not loaded" while no product has asked for it; "" when not
 * known. */
const char *blas_core(void);

#endif
