/* simd_level: the choice of SIMD level, made once, at the first call. */
#include "simd_level.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define LEVEL_ENTRY(level) {#level, SIMD_##level},
static const struct {
    const char *name;
    int level;
} levels[] = {TT_EACH_LEVEL(LEVEL_ENTRY)}; /* lowest first */
enum { LEVELS = sizeof levels / sizeof *levels };

static pthread_once_t choose_once = PTHREAD_ONCE_INIT;
static int chosen; /* its place in levels */
static int requested_ok = 1;

static bool cpu_runs(int level)
{
#ifdef __x86_64__
    __builtin_cpu_init();
    if (level == SIMD_v4) return __builtin_cpu_supports("x86-64-v4");
    if (level == SIMD_v3) return __builtin_cpu_supports("x86-64-v3");
#endif
    return level <= SIMD_v2; /* the rest of the library assumes it */
}

static void choose(void)
{
    for (int i = 0; i < LEVELS; i++)
        if (cpu_runs(levels[i].level)) chosen = i;
    const char *name = getenv("TINYTAPE_SIMD");
    if (!name || !*name) return;
    requested_ok = 0;
    for (int i = 0; i <= chosen; i++)
        if (strcmp(name, levels[i].name) == 0) {
            chosen = i;
            requested_ok = 1;
        }
}

int simd_level(void)
{
    pthread_once(&choose_once, choose);
    return levels[chosen].level;
}

const char *simd_level_name(void)
{
    pthread_once(&choose_once, choose);
    return levels[chosen].name;
}

int simd_level_requested_ok(void)
{
    pthread_once(&choose_once, choose);
    return requested_ok;
}
