/* error: status codes and the last-error record of each thread. */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local struct {
    tt_status code;
    int origin;
    char op[48];
    char message[640];
} last;

tt_status tt_fail(tt_status code, const char *op, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    last.code = code;
    last.origin = 0;
    snprintf(last.op, sizeof last.op, "%s", op ? op : "");
    vsnprintf(last.message, sizeof last.message, format, args);
    va_end(args);
    return code;
}

void error_set_origin(int origin) { last.origin = origin; }
int tt_error_origin(void) { return last.origin; }
int tt_error_code(void) { return last.code; }
const char *tt_error_op(void) { return last.op; }
const char *tt_error_message(void) { return last.message; }

const char *shape_text(int ndim, const int64_t *shape)
{
    enum { AT_ONCE = 8 };
    static _Thread_local char texts[AT_ONCE][200];
    static _Thread_local unsigned turn;
    char *text = texts[turn++ % AT_ONCE];
    size_t used = (size_t)snprintf(text, sizeof texts[0], "(");
    for (int i = 0; i < ndim && used < sizeof texts[0] - 24; i++) {
        const char *separator = i + 1 < ndim ? ", " : ndim == 1 ? "," : "";
        used += (size_t)snprintf(text + used, sizeof texts[0] - used, "%lld%s", (long long)shape[i],
                                 separator);
    }
    snprintf(text + used, sizeof texts[0] - used, ")");
    return text;
}
