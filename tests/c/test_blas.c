/* blas_ops.h and blas_builtin.h against a naive product. */
#include "blas_ops.h"

#include "base/blas_builtin.h"
#include "product_check.h"

#define DEFINE_TESTS(T, S, EPSILON)                                                \
    DEFINE_PRODUCT_CHECKS(T, S, EPSILON)                                           \
    /* A view of one row or column may have any stride, 0 included. */             \
    static void check_lone_rows_##S(void)                                          \
    {                                                                              \
        T a[3] = {1, 2, 3}, b[3] = {4, 5, 6}, c[9] = {0};                          \
        blas_gemm_##S(false, true, 1, 1, 3, 1, a, 0, b, 0, 0, c, 0);               \
        CHECK(c[0] == (T)32, "%g", (double)c[0]);                                  \
        blas_gemm_##S(true, false, 3, 3, 1, 1, a, 0, b, 0, 0, c, 3);               \
        CHECK(c[0] == (T)4 && c[5] == (T)12 && c[8] == (T)18, "%g", (double)c[8]); \
    }                                                                              \
    static void check_type_##S(void)                                               \
    {                                                                              \
        check_all_##S(blas_gemm_##S, "gemm");                                      \
        check_all_##S(builtin_gemm_##S, "builtin");                                \
        check_lone_rows_##S();                                                     \
    }

DEFINE_TESTS(float, f32, FLT_EPSILON)
DEFINE_TESTS(double, f64, DBL_EPSILON)

int main(void)
{
    blas_init();
    printf("%s %s %s\n", blas_name(), blas_version(), blas_core());
    CHECK(blas_name()[0] != '\0', "no name");
    check_type_f32();
    check_type_f64();
    return check_result();
}
