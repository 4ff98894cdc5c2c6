/* error: status codes and the last-error record of each thread. */
#ifndef TT_ERROR_H
#define TT_ERROR_H

#include "tinytape.h"

/* Records code, op and the composed message for the calling thread; returns code, so that callers
 * can `return tt_fail(...)`. */
tt_status tt_fail(tt_status code, const char *op, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void error_set_origin(int origin); /* of the failure that was recorded last */

/* "(2, 3, 4)" into a rotating buffer of the thread, for messages: up to eight can stand in one
 * format. */
const char *shape_text(int ndim, const int64_t *shape);

#define TT_TRY(expression)                          \
    do {                                            \
        tt_status try_status = (expression);        \
        if (try_status != TT_OK) return try_status; \
    } while (0)

/* For pointers that a public function needs. A list of length 0 may be NULL. */
#define TT_NEED(op, pointer)                                                               \
    do {                                                                                   \
        if ((pointer) == NULL)                                                             \
            return tt_fail(TT_ERR_ARG, (op), "expected %s, got a null pointer", #pointer); \
    } while (0)
#define TT_NEED_LIST(op, n, pointer)       \
    do {                                   \
        if ((n) > 0) TT_NEED(op, pointer); \
    } while (0)

#endif
