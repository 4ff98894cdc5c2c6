/* kernels: the types, functions and loops that kernels are written with. It is compiled once for
 * each dtype and SIMD level. */
#ifndef TT_KERNELS_H
#define TT_KERNELS_H

#include <math.h>
#include <string.h>

#include "blas_ops.h"
#include "base/parallel.h"
#include "random.h"
#include "inline.h"

/* T is the type of the elements, SUM that of their sums. */
#if defined TT_F32
typedef float T;
typedef double SUM;
#define T_DTYPE TT_FLOAT32
#define blas_gemm blas_gemm_f32
#define philox_uniform philox_uniform_f32
#elif defined TT_F64
typedef double T, SUM;
#define T_DTYPE TT_FLOAT64
#define blas_gemm blas_gemm_f64
#define philox_uniform philox_uniform_f64
#else
typedef int64_t T, SUM; /* overflow wraps around (-fwrapv) */
#define T_DTYPE TT_INT64
#endif

#ifndef TT_I64
#include "simd_math.h"
#endif

/* Elements in one shard of an elementwise loop: enough to be worth a thread, and few enough that
 * there are shards for all threads. */
enum { GRAIN = 16384 };

static inline const T *data_of(const tt_tensor *t) { return t != NULL ? (const T *)t->data : NULL; }
static inline int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }
/* A leading dimension must not be 0 in a BLAS. */
static inline int64_t at_least_one(int64_t n) { return n > 1 ? n : 1; }
static inline int64_t shards_of(int64_t n, int64_t grain) { return (n + grain - 1) / grain; }

/* How many rows make a shard of about GRAIN elements. */
static inline int64_t rows_per_shard(int64_t row_length)
{
    int64_t rows = GRAIN / (row_length > 0 ? row_length : 1);
    return rows > 0 ? rows : 1;
}

#define IS_NAN(x) ((x) != (x)) /* of an integer too, which isnan() does not take */

static inline void put(T *dst, T value, bool acc) { *dst = acc ? *dst + value : value; }

/* How many elements the last `inner` dimensions have. */
static inline int64_t inner_size(const tt_tensor *t, int inner)
{
    int64_t n = 1;
    for (int i = t->ndim - inner; i < t->ndim; i++) n *= t->shape[i];
    return n;
}

#ifndef TT_I64
#include "gemm.h"
#endif
#include "elementwise.h"
#include "reduce.h"

#include "fold.h" /* needs both */

#endif
