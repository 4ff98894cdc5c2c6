/* The choice of SIMD level, made once at the first question. */
#include "simd_level.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static pthread_once_t choose_once = PTHREAD_ONCE_INIT;
static int level = SIMD_BASE;
static int requested_ok = 1;

static int best_level(void)
{
#ifdef TT_LEVELS_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("x86-64-v4")) return 4;
    if (__builtin_cpu_supports("x86-64-v3")) return 3;
    return 2;
#else
    return SIMD_BASE;
#endif
}

static int level_named(const char *name)
{
#ifdef TT_LEVELS_X86
    if (name[0] == 'v' && name[1] >= '2' && name[1] <= '4' && name[2] == '\0') return name[1] - '0';
#else
    if (strcmp(name, "base") == 0) return SIMD_BASE;
#endif
    return -1;
}

static void choose(void)
{
    level = best_level();
    const char *name = getenv("TINYTAPE_SIMD");
    if (!name || !*name) return;
    int asked = level_named(name);
    requested_ok = asked >= 0 && asked <= level;
    if (requested_ok) level = asked;
}

int simd_level(void)
{
    pthread_once(&choose_once, choose);
    return level;
}

const char *simd_level_name(void)
{
    switch (simd_level()) {
    case 2: return "v2";
    case 3: return "v3";
    case 4: return "v4";
    default: return "base";
    }
}

int simd_level_requested_ok(void)
{
    pthread_once(&choose_once, choose);
    return requested_ok;
}
