/* apply: runs an operation. */
#ifndef TT_APPLY_H
#define TT_APPLY_H

#include "op_table.h"

/* Runs an operation and records it where a gradient may be wanted. `place` is where an unrecorded
 * output goes. */
tt_status apply_op(tt_ctx *ctx, int op, tt_tensor **in, int n_in, const tt_attrs *attrs,
                   tt_place place, tt_tensor **out);
/* Memory for what a kernel saves: in the step arena when recording, else in scratch. */
void *call_save(tt_call *c, int index, size_t n);
/* Where a rule may put a tensor that the operation reads, or shows as a view of: as long-lived as
 * the output. */
static inline tt_place call_place(const tt_call *c)
{
    return c->recording || c->place == PLACE_STEP ? PLACE_STEP : PLACE_SCRATCH;
}
static inline void *call_scratch(tt_call *c, size_t n)
{
    return ctx_scratch(c->ctx, c->op->name, n);
}

#endif
