/* handles: the numbers by which the caller names tensors: a slot and the generation of its use. */
#ifndef TT_HANDLES_H
#define TT_HANDLES_H

#include "tensor.h"

typedef struct {
    tt_tensor *tensor;
    uint32_t generation, next_free;
} tt_slot;

typedef struct {
    tt_slot *slots;
    uint32_t count, capacity, first_free;
    int64_t live;
} handle_table;

tt_handle handle_for(tt_ctx *ctx, tt_tensor *t); /* one more handle to t; 0 when out of memory */
/* Makes room for n more handles, 256 at most: the next n calls of handle_for cannot fail. For
 * results that could not be taken back once they are on the tape. */
tt_status handle_reserve(tt_ctx *ctx, const char *op, uint32_t n);
tt_tensor *handle_tensor(tt_ctx *ctx, tt_handle h,
                         const char *op); /* NULL when the handle is stale: the error is recorded */
tt_status handle_hold(tt_ctx *ctx, tt_tensor *t,
                      tt_handle *out); /* handle_for, for a tensor that has other references */
tt_status handle_release(tt_ctx *ctx,
                         tt_handle h); /* the last release of a handle makes it stale */
void handle_move(tt_ctx *ctx, tt_tensor *from, tt_tensor *to);
/* The lists of tensors on the tape that have handles. */
void handle_link(tt_ctx *ctx, tt_tensor *t);
void handle_unlink(tt_ctx *ctx, tt_tensor *t);

#endif
