/* anomaly: finding the first value that is not finite, while the caller asks for it. */
#ifndef TT_ANOMALY_H
#define TT_ANOMALY_H

#include "tape.h"

struct tt_pass;

tt_status anomaly_check_outputs(const tt_call *c); /* after a forward kernel */
tt_status anomaly_check_gradients(const struct tt_pass *p,
                                  const tt_node *node); /* a backward one */
/* A tensor that the caller gave, where checks are on: `what` number i of name. */
tt_status anomaly_check_value(const tt_ctx *ctx, const char *name, const char *what, int i,
                              const tt_tensor *t, int origin);
/* Adds to the failure `status` that was recorded last where it comes from. */
tt_status anomaly_name_line(const tt_ctx *ctx, int origin, tt_status status);

#endif
