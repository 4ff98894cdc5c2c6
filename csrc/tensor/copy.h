/* copy: copies elements of any type between strided places, without converting them. */
#ifndef TT_COPY_H
#define TT_COPY_H

#include "tensor.h"

/* dst[i] = src[i] for operands of one shape; with a mask, only where it is true. dst shares no
 * memory with the others. */
void copy_elements(int ndim, const int64_t *shape, size_t size, void *dst,
                   const int64_t *dst_strides, const void *src, const int64_t *src_strides,
                   const uint8_t *mask, const int64_t *mask_strides);

/* Copies between a strided tensor and contiguous memory, whatever the dtype. */
void copy_gather(void *dst, const tt_tensor *src);  /* dst contiguous */
void copy_scatter(tt_tensor *dst, const void *src); /* src contiguous */

/* Adjacent axes of a tensor and n positions in them, each an offset in elements. */
typedef struct {
    const tt_tensor *full;
    int axis, count;
    int64_t n, *offsets;
} tt_places;

/* Checks that an index (contiguous, int64) names elements of axes of these sizes. */
tt_status copy_check_places(const char *op, int count, const int64_t *sizes,
                            const tt_tensor *index);

/* The positions that an index names, in row-major order over those axes. `offsets` is memory of the
 * caller for as many as the index has. */
tt_places copy_places_of(const tt_tensor *full, int axis, int count, const tt_tensor *index,
                         int64_t *offsets);

/* part[.., k, ..] = full[.., place k, ..], the places standing for those axes. */
void copy_from_places(const tt_places *p, void *part, const int64_t *part_strides);
/* The other way round; where a place comes twice, the last one stays. */
void copy_to_places(const tt_places *p, const void *part, const int64_t *part_strides);

#endif
