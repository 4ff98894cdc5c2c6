/* dtype: the element types, their common types, and the conversion of values. */
#ifndef TT_DTYPE_H
#define TT_DTYPE_H

#include <stdbool.h>

#include "base/error.h"

const char *dtype_text(int dtype);

static inline size_t dtype_size(int dtype)
{
    static const uint8_t sizes[TT_DTYPE_COUNT] = {4, 8, 8, 1, 1, 1, 2, 4};
    return sizes[dtype];
}
static inline double dtype_float_at(int dtype, const void *data, int64_t i) /* of a float type */
{
    return dtype == TT_FLOAT32 ? (double)((const float *)data)[i] : ((const double *)data)[i];
}
static inline bool dtype_is_float(int dtype) { return dtype == TT_FLOAT32 || dtype == TT_FLOAT64; }

/* The type that holds the values of both, as torch.promote_types has it. */
int dtype_promote(int a, int b);

/* n elements from one type to another, densely. A float's fraction is cut off, integers wrap
 * around, and a float that no int64 holds becomes the least one; bool is "not zero". */
void dtype_convert(void *dst, int to, const void *src, int from, int64_t n);

#endif
