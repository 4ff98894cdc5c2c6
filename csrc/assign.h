/* assign: writing in place. */
#ifndef TT_ASSIGN_H
#define TT_ASSIGN_H

#include "context.h"

/* What may be changed in place: leaves and views of leaves, nothing that the tape computed. */
tt_status writable_tensor(tt_ctx *ctx, tt_handle h, const char *op, tt_tensor **out);

/* That the caller's memory has as many bytes as the tensor's elements. */
tt_status tensor_check_bytes(const tt_tensor *t, int64_t nbytes, const char *op);

#endif
