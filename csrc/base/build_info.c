/* build_info: the version and the tools of this build. The build defines TT_VERSION. */
#include <string.h>

#include "blas_ops.h"
#include "simd_level.h"
#include "tinytape.h"

#if defined __clang__
#define COMPILER "clang " __clang_version__
#elif defined __GNUC__
#define COMPILER "gcc " __VERSION__
#else
#define COMPILER ""
#endif

static const char *compiler(void) { return COMPILER; }
static const char *version(void) { return TT_VERSION; }

#define LEVEL_NAME(level) " " #level
static const char *simd_levels(void) { return TT_EACH_LEVEL(LEVEL_NAME) + 1; } /* "v2 v3 v4" */

static const struct {
    const char *key;
    const char *(*value)(void);
} table[] = {
    {"blas", blas_name},    {"blas_version", blas_version}, {"blas_core", blas_core},
    {"compiler", compiler}, {"simd", simd_level_name},      {"simd_levels", simd_levels},
    {"version", version},
};

/* Keys: those of the table; "" for any other. The string lives as long as the library. */
const char *tt_config(const char *key)
{
    for (size_t i = 0; i < sizeof table / sizeof *table && key != NULL; i++)
        if (strcmp(key, table[i].key) == 0) return table[i].value();
    return "";
}
