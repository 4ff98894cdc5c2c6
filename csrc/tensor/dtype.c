/* dtype: the element types, their common types, and the conversion of values. */
#include "dtype.h"

#include <string.h>

#include "base/parallel.h"

const char *dtype_text(int dtype)
{
    static const char *const names[TT_DTYPE_COUNT] = {"float32", "float64", "int64", "bool",
                                                      "uint8",   "int8",    "int16", "int32"};
    return dtype >= 0 && dtype < TT_DTYPE_COUNT ? names[dtype] : "unknown";
}

int dtype_promote(int a, int b)
{
    /* From the narrowest to the widest; only uint8 and int8 meet in a third type. */
    static const uint8_t rank[TT_DTYPE_COUNT] = {[TT_BOOL] = 0,    [TT_UINT8] = 1,  [TT_INT8] = 2,
                                                 [TT_INT16] = 3,   [TT_INT32] = 4,  [TT_INT64] = 5,
                                                 [TT_FLOAT32] = 6, [TT_FLOAT64] = 7};
    if ((a == TT_UINT8 && b == TT_INT8) || (a == TT_INT8 && b == TT_UINT8)) return TT_INT16;
    return rank[a] > rank[b] ? a : b;
}

typedef struct {
    char *dst;
    const char *src;
    int to, from;
    int64_t n;
} convert_plan;

/* Two steps through the widest type of the source's kind keep this to 8 + 8 loops, not 64. */
enum { PIECE = 512, CONVERT_GRAIN = 32 * PIECE };

/* What the processor gives where C leaves the result open. */
static inline int64_t whole(double x)
{
    return x >= -9223372036854775808.0 && x < 9223372036854775808.0 ? (int64_t)x : INT64_MIN;
}

#define READ(type, wide) \
    for (int64_t i = 0; i < n; i++) wide[i] = (__typeof__(wide[0]))((const type *)src)[i]

static void read_floats(const void *src, int from, int64_t n, double *wide)
{
    if (from == TT_FLOAT32) READ(float, wide);
    else READ(double, wide);
}

static void read_integers(const void *src, int from, int64_t n, int64_t *wide)
{
    switch (from) {
    case TT_BOOL:
    case TT_UINT8: READ(uint8_t, wide); break;
    case TT_INT8: READ(int8_t, wide); break;
    case TT_INT16: READ(int16_t, wide); break;
    case TT_INT32: READ(int32_t, wide); break;
    default: READ(int64_t, wide);
    }
}

#define WRITE(type, value) \
    for (int64_t i = 0; i < n; i++) ((type *)dst)[i] = (type)(value)

#define WRITE_INTEGERS(wide_i, not_zero)           \
    switch (to) {                                  \
    case TT_BOOL: WRITE(uint8_t, not_zero); break; \
    case TT_UINT8: WRITE(uint8_t, wide_i); break;  \
    case TT_INT8: WRITE(int8_t, wide_i); break;    \
    case TT_INT16: WRITE(int16_t, wide_i); break;  \
    case TT_INT32: WRITE(int32_t, wide_i); break;  \
    case TT_INT64: WRITE(int64_t, wide_i); break;  \
    case TT_FLOAT32: WRITE(float, wide[i]); break; \
    default: WRITE(double, wide[i]);               \
    }

static void convert_shard(void *arg, int64_t shard)
{
    const convert_plan *p = arg;
    int64_t end = (shard + 1) * CONVERT_GRAIN < p->n ? (shard + 1) * CONVERT_GRAIN : p->n;
    for (int64_t begin = shard * CONVERT_GRAIN; begin < end; begin += PIECE) {
        int64_t n = end - begin < PIECE ? end - begin : PIECE;
        int to = p->to;
        const char *src = p->src + (size_t)begin * dtype_size(p->from);
        char *dst = p->dst + (size_t)begin * dtype_size(to);
        if (dtype_is_float(p->from)) {
            double wide[PIECE];
            read_floats(src, p->from, n, wide);
            WRITE_INTEGERS(whole(wide[i]), wide[i] != 0)
        } else {
            int64_t wide[PIECE];
            read_integers(src, p->from, n, wide);
            WRITE_INTEGERS(wide[i], wide[i] != 0)
        }
    }
}

void dtype_convert(void *dst, int to, const void *src, int from, int64_t n)
{
    if (n == 0) return;
    if (to == from) {
        memcpy(dst, src, (size_t)n * dtype_size(to));
        return;
    }
    convert_plan p = {dst, src, to, from, n};
    parallel_for((n + CONVERT_GRAIN - 1) / CONVERT_GRAIN, convert_shard, &p);
}
