/* The border to the BLAS, and the cutting of products into shards.
 *
 * The build defines exactly one of TT_BLAS_BUNDLED, TT_BLAS_SYSTEM, TT_BLAS_ACCELERATE and
 * TT_BLAS_BUILTIN. With the first two it may define TT_BLAS_OPENBLAS (or _BLIS, _MKL), which says
 * how to set the number of threads, and BLAS_SYMBOL_PREFIX (the bundled library has "scipy_").
 */
#define _GNU_SOURCE /* OpenBLAS's header names cpu_set_t */
#include "blas_ops.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "blas_builtin.h"
#include "parallel.h"

#define BLAS_CAT_(a, b) a##b
#define BLAS_CAT(a, b) BLAS_CAT_(a, b)
#ifdef BLAS_SYMBOL_PREFIX
#define BLAS(name) BLAS_CAT(BLAS_SYMBOL_PREFIX, name)
#else
#define BLAS(name) name
#endif

#if defined TT_BLAS_ACCELERATE
#include <Accelerate/Accelerate.h>
#define BLAS_NAME "Accelerate"
#elif defined TT_BLAS_BUNDLED
#include <cblas.h>
#define BLAS_NAME "OpenBLAS (bundled)"
#elif defined TT_BLAS_SYSTEM
#if defined TT_BLAS_MKL
#include <mkl.h>
#define BLAS_NAME "MKL (system)"
#else
#include <cblas.h>
#if defined TT_BLAS_OPENBLAS
#define BLAS_NAME "OpenBLAS (system)"
#elif defined TT_BLAS_BLIS
void bli_thread_set_num_threads(int64_t n); /* declared in blis.h only */
#define BLAS_NAME "BLIS (system)"
#else
#define BLAS_NAME "CBLAS (system)"
#endif
#endif
#elif defined TT_BLAS_BUILTIN
#define BLAS_NAME "builtin"
#else
#error "define one of TT_BLAS_BUNDLED, TT_BLAS_SYSTEM, TT_BLAS_ACCELERATE, TT_BLAS_BUILTIN"
#endif

/* A product of this many floating-point operations is worth waking another thread for. */
#define FLOPS_PER_SHARD 16e6
#define MAX_SHARDS 64
#define SHARD_ROWS 16 /* a cut at a multiple of this keeps the register blocks of a BLAS whole */

static pthread_once_t init_once = PTHREAD_ONCE_INIT;
static char version_text[32];

static void init(void)
{
#ifdef TT_BLAS_OPENBLAS
    BLAS(openblas_set_num_threads)(1);
    /* "OpenBLAS 0.3.34 NO_AFFINITY ...": the second word. */
    const char *config = BLAS(openblas_get_config)();
    if (sscanf(config, "%*s %31s", version_text) != 1) version_text[0] = '\0';
#elif defined TT_BLAS_BLIS
    bli_thread_set_num_threads(1);
#elif defined TT_BLAS_MKL
    MKL_Set_Num_Threads(1);
#endif
}

void blas_init(void) { pthread_once(&init_once, init); }

const char *blas_name(void) { return BLAS_NAME; }

const char *blas_version(void)
{
    blas_init();
    return version_text;
}

const char *blas_core(void)
{
#ifdef TT_BLAS_OPENBLAS
    return BLAS(openblas_get_corename)();
#else
    return "";
#endif
}

static int64_t min_i64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max_i64(int64_t a, int64_t b) { return a > b ? a : b; }

/* Rows (or columns) per shard of a side of length `len`, from the size of the problem alone. */
static int64_t shard_length(int64_t len, int64_t m, int64_t n, int64_t k)
{
    double ratio = 2.0 * (double)m * (double)n * (double)k / FLOPS_PER_SHARD;
    int64_t shards = 1;
    while (shards < MAX_SHARDS && ratio > 1.4142135623730951 * (double)shards) shards *= 2;
    int64_t length = (len + shards - 1) / shards;
    return (length + SHARD_ROWS - 1) / SHARD_ROWS * SHARD_ROWS;
}

/* One float type: T is the type, S its suffix here, P its letter in BLAS. */
#define DEFINE_GEMM(T, S, P)                                                                     \
    void blas_gemm_##S(bool ta, bool tb, int64_t m, int64_t n, int64_t k, T alpha, const T *a,   \
                       int64_t lda, const T *b, int64_t ldb, T beta, T *c, int64_t ldc)          \
    {                                                                                            \
        if (m <= 0 || n <= 0) return;                                                            \
        /* The stride of a lone row is never used, so a view may give any; a BLAS checks it. */  \
        if ((ta ? k : m) <= 1) lda = max_i64(lda, ta ? m : k);                                   \
        if ((tb ? n : k) <= 1) ldb = max_i64(ldb, tb ? k : n);                                   \
        if (m == 1) ldc = max_i64(ldc, n);                                                       \
        if (k <= 0 || !FITS_BLAS(m, n, k, lda, ldb, ldc)) {                                      \
            builtin_gemm_##S(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);              \
            return;                                                                              \
        }                                                                                        \
        CALL_BLAS(P);                                                                            \
    }                                                                                            \
                                                                                                 \
    struct product_##S {                                                                         \
        bool ta, tb, by_row;                                                                     \
        int64_t m, n, k, lda, ldb, ldc, length;                                                  \
        T alpha, beta;                                                                           \
        const T *a, *b;                                                                          \
        T *c;                                                                                    \
        const blas_tiles *tiles;                                                                 \
    };                                                                                           \
                                                                                                 \
    static void product_shard_##S(void *arg, int64_t shard)                                      \
    {                                                                                            \
        const struct product_##S *p = arg;                                                       \
        const blas_tiles *tiles = p->tiles;                                                      \
        int64_t at = shard * p->length, row = p->by_row ? at : 0, col = p->by_row ? 0 : at;      \
        int64_t rows = p->by_row ? min_i64(p->length, p->m - at) : p->m;                         \
        int64_t cols = p->by_row ? p->n : min_i64(p->length, p->n - at);                         \
        if (tiles->before != NULL) tiles->before(tiles->arg, row, rows, col, cols);              \
        blas_gemm_##S(p->ta, p->tb, rows, cols, p->k, p->alpha,                                  \
                      p->a + (p->ta ? row : row * p->lda), p->lda,                               \
                      p->b + (p->tb ? col * p->ldb : col), p->ldb, p->beta,                      \
                      p->c + row * p->ldc + col, p->ldc);                                        \
        if (tiles->after != NULL) tiles->after(tiles->arg, row, rows, col, cols);                \
    }                                                                                            \
                                                                                                 \
    void blas_matmul_tiled_##S(bool ta, bool tb, int64_t m, int64_t n, int64_t k, T alpha,       \
                               const T *a, int64_t lda, const T *b, int64_t ldb, T beta, T *c,   \
                               int64_t ldc, const blas_tiles *tiles)                             \
    {                                                                                            \
        if (m <= 0 || n <= 0) return;                                                            \
        bool by_row = m >= n;                                                                    \
        int64_t side = by_row ? m : n;                                                           \
        int64_t length = shard_length(side, m, n, k);                                            \
        struct product_##S p = {ta,  tb,     by_row, m,    n, k, lda, ldb,                       \
                                ldc, length, alpha,  beta, a, b, c,   tiles};                    \
        parallel_for((side + length - 1) / length, product_shard_##S, &p);                       \
    }                                                                                            \
                                                                                                 \
    void blas_matmul_##S(bool ta, bool tb, int64_t m, int64_t n, int64_t k, T alpha, const T *a, \
                         int64_t lda, const T *b, int64_t ldb, T beta, T *c, int64_t ldc)        \
    {                                                                                            \
        const blas_tiles none = {0};                                                             \
        blas_matmul_tiled_##S(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, &none);      \
    }

#ifdef TT_BLAS_BUILTIN
#define FITS_BLAS(m, n, k, lda, ldb, ldc) false
#define CALL_BLAS(P) (void)0
#else
#define FITS_BLAS(m, n, k, lda, ldb, ldc) \
    (max_i64(max_i64(max_i64(m, n), max_i64(k, lda)), max_i64(ldb, ldc)) <= INT_MAX)
#define CALL_BLAS(P)                                                                        \
    blas_init();                                                                            \
    BLAS(cblas_##P##gemm)(CblasRowMajor, ta ? CblasTrans : CblasNoTrans,                    \
                          tb ? CblasTrans : CblasNoTrans, (int)m, (int)n, (int)k, alpha, a, \
                          (int)lda, b, (int)ldb, beta, c, (int)ldc)
#endif

DEFINE_GEMM(float, f32, s)
DEFINE_GEMM(double, f64, d)
