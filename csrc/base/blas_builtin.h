/* blas_builtin: a portable matrix product, for machines without a BLAS and for sizes that a BLAS's
 * 32-bit integers cannot hold. The conventions are those of blas_ops.h. */
#ifndef TT_BLAS_BUILTIN_H
#define TT_BLAS_BUILTIN_H

#include <stdbool.h>
#include <stdint.h>

void builtin_gemm_f32(bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha,
                      const float *a, int64_t lda, const float *b, int64_t ldb, float beta,
                      float *c, int64_t ldc);
void builtin_gemm_f64(bool ta, bool tb, int64_t m, int64_t n, int64_t k, double alpha,
                      const double *a, int64_t lda, const double *b, int64_t ldb, double beta,
                      double *c, int64_t ldc);

#endif
