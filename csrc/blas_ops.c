/* blas_ops: matrix products by the BLAS; the only file that calls one.
 *
 * The build defines exactly one of TT_BLAS_BUNDLED, TT_BLAS_SYSTEM, TT_BLAS_ACCELERATE and
 * TT_BLAS_BUILTIN. With the first two it may define TT_BLAS_OPENBLAS (or _BLIS, _MKL), which says
 * how to set the number of threads, and BLAS_SYMBOL_PREFIX (the bundled library has "scipy_").
 *
 * The bundled library is loaded with the first product that needs it: it is large, and at once
 * starts threads that tinytape does not use. */
#define _GNU_SOURCE /* OpenBLAS's header names cpu_set_t */
#include "blas_ops.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/blas_builtin.h"

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

static pthread_once_t init_once = PTHREAD_ONCE_INIT;

#ifdef TT_BLAS_BUNDLED
#include <dlfcn.h>

#define BLAS_TEXT_(name) #name
#define BLAS_TEXT(name) BLAS_TEXT_(name)
/* A function of the library by the name and type that its header gives it; NULL until then. */
#define LOADED(name) static __typeof__(&BLAS(name)) name##_loaded
LOADED(cblas_sgemm);
LOADED(cblas_dgemm);
LOADED(openblas_get_corename);

static void init(void)
{
    void *library = dlopen("libtinytape_blas.so", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) return;
    LOADED(openblas_set_num_threads);
#define LOAD(name) *(void **)&name##_loaded = dlsym(library, BLAS_TEXT(BLAS(name)))
    LOAD(openblas_set_num_threads);
    if (openblas_set_num_threads_loaded == NULL) return;
    openblas_set_num_threads_loaded(1);
    LOAD(cblas_sgemm);
    LOAD(cblas_dgemm);
    LOAD(openblas_get_corename);
#undef LOAD
}

#define CAN_CALL(P) (blas_init(), cblas_##P##gemm_loaded != NULL)
#define BLAS_GEMM(P) cblas_##P##gemm_loaded
#else
static void init(void)
{
#ifdef TT_BLAS_OPENBLAS
    BLAS(openblas_set_num_threads)(1);
#elif defined TT_BLAS_BLIS
    bli_thread_set_num_threads(1);
#elif defined TT_BLAS_MKL
    MKL_Set_Num_Threads(1);
#endif
}

#define CAN_CALL(P) (blas_init(), true)
#define BLAS_GEMM(P) BLAS(cblas_##P##gemm)
#endif

void blas_init(void) { pthread_once(&init_once, init); }

static pthread_once_t preference_once = PTHREAD_ONCE_INIT;
static bool preferred;

static void read_preference(void)
{
    const char *text = getenv("TINYTAPE_MATMUL");
    preferred = text != NULL && strcmp(text, "blas") == 0;
}

bool blas_preferred(void)
{
    pthread_once(&preference_once, read_preference);
    return preferred;
}

const char *blas_name(void) { return BLAS_NAME; }

#ifdef TT_BLAS_OPENBLAS
static pthread_once_t version_once = PTHREAD_ONCE_INIT;
static char version_text[32];

static void read_version(void)
{
#ifdef TT_BLAS_BUNDLED
    const char *text = OPENBLAS_VERSION;
#else
    const char *text = BLAS(openblas_get_config)();
#endif
    /* "OpenBLAS 0.3.34 NO_AFFINITY ...": the second word. */
    if (sscanf(text, "%*s %31s", version_text) != 1) version_text[0] = '\0';
}

const char *blas_version(void)
{
    pthread_once(&version_once, read_version);
    return version_text;
}
#else
const char *blas_version(void) { return ""; }
#endif

const char *blas_core(void)
{
#if defined TT_BLAS_BUNDLED
    return openblas_get_corename_loaded != NULL ? openblas_get_corename_loaded() : "not loaded";
#elif defined TT_BLAS_OPENBLAS
    return BLAS(openblas_get_corename)();
#else
    return "";
#endif
}

static int64_t max_i64(int64_t a, int64_t b) { return a > b ? a : b; }

/* One float type: T is the type, S its suffix here, P its letter in BLAS. */
#define DEFINE_GEMM(T, S, P)                                                                    \
    void blas_gemm_##S(bool ta, bool tb, int64_t m, int64_t n, int64_t k, T alpha, const T *a,  \
                       int64_t lda, const T *b, int64_t ldb, T beta, T *c, int64_t ldc)         \
    {                                                                                           \
        if (m <= 0 || n <= 0) return;                                                           \
        /* The stride of a lone row is never used, so a view may give any; a BLAS checks it. */ \
        if ((ta ? k : m) <= 1) lda = max_i64(lda, ta ? m : k);                                  \
        if ((tb ? n : k) <= 1) ldb = max_i64(ldb, tb ? k : n);                                  \
        if (m == 1) ldc = max_i64(ldc, n);                                                      \
        if (k <= 0 || !FITS_BLAS(m, n, k, lda, ldb, ldc) || !CAN_CALL(P)) {                     \
            builtin_gemm_##S(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);             \
            return;                                                                             \
        }                                                                                       \
        CALL_BLAS(P);                                                                           \
    }

#ifdef TT_BLAS_BUILTIN
#define FITS_BLAS(m, n, k, lda, ldb, ldc) false
#define CALL_BLAS(P) (void)0
#else
#define FITS_BLAS(m, n, k, lda, ldb, ldc) \
    (max_i64(max_i64(max_i64(m, n), max_i64(k, lda)), max_i64(ldb, ldc)) <= INT_MAX)
#define CALL_BLAS(P)                                                                            \
    BLAS_GEMM(P)(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, \
                 (int)m, (int)n, (int)k, alpha, a, (int)lda, b, (int)ldb, beta, c, (int)ldc)
#endif

DEFINE_GEMM(float, f32, s)
DEFINE_GEMM(double, f64, d)
