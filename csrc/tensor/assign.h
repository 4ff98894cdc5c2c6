/* assign: writing in place. */
#ifndef TT_ASSIGN_H
#define TT_ASSIGN_H

#include "context.h"

/* What may be changed in place: leaves and views of leaves, nothing that the tape computed. */
tt_status assign_writable(tt_ctx *ctx, tt_handle h, const char *op, tt_tensor **out);

#endif
