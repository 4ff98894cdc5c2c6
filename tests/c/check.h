/* The smallest thing that will do for a C test: CHECK counts failures and prints them, and main
 * returns check_result(). SKIPPED tells ctest that this machine cannot run the test. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>

#define SKIPPED 77

static int check_failures;

#define CHECK(condition, ...)                                                         \
    do {                                                                              \
        if (!(condition)) {                                                           \
            check_failures++;                                                         \
            fprintf(stderr, "%s:%d: not true: %s; ", __FILE__, __LINE__, #condition); \
            fprintf(stderr, __VA_ARGS__);                                             \
            fputc('\n', stderr);                                                      \
        }                                                                             \
    } while (0)

static inline int check_result(void) { return check_failures != 0; }

#endif
