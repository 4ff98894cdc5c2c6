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

tt_handle handle_for(tt_ctx *ctx, tt_tensor *t); /* a new hold on t; 0 when out of memory */
/* Room for n more, 256 at most: so many handle_for that follow cannot fail. For what could not be
 * taken back once it is on the tape. */
tt_status handle_reserve(tt_ctx *ctx, const char *op, uint32_t n);
tt_tensor *handle_tensor(tt_ctx *ctx, tt_handle h,
                         const char *op); /* NULL and a recorded error when stale */
tt_status handle_hold(tt_ctx *ctx, tt_tensor *t,
                      tt_handle *out); /* handle_for, on a tensor that others refer to */
tt_status handle_release(tt_ctx *ctx, tt_handle h); /* one hold goes */
void handle_move(tt_ctx *ctx, tt_tensor *from, tt_tensor *to);
/* The lists of tensors on the tape that the outside holds. */
void handle_link(tt_ctx *ctx, tt_tensor *t);
void handle_unlink(tt_ctx *ctx, tt_tensor *t);

#endif
