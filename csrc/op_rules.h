/* op_rules: the shape rules that several operations share. */
#ifndef TT_OP_RULES_H
#define TT_OP_RULES_H

#include "op_table.h"

tt_status rule_broadcast(tt_call *c);  /* all inputs to their common shape */
tt_status rule_same_shape(tt_call *c); /* inputs of one shape; the output is like them */
tt_status rule_predicate(tt_call *c);  /* likewise, and the output is bool */
tt_status rule_broadcast_input(tt_call *c, int ndim, const int64_t *shape, int input);
int rule_normal_axis(int64_t axis, int ndim); /* -1: there is no such axis */
tt_status rule_fail_axis(const char *op, int64_t axis, const tt_tensor *x);
/* An axis of the input that was given; that of a scalar is 0. */
tt_status rule_check_axis(const tt_call *c, bool given, int64_t axis);
tt_spec rule_spec_like(const tt_tensor *x); /* its type and shape */

/* Reductions over adjacent axes, whose attributes are those of TT_ATTRS(span, ...), or begin so. */
typedef struct {
    int64_t outer, n, inner; /* the tensor's shape, the axes that go taken together */
} tt_span;
tt_span rule_span_of(const tt_tensor *x, const tt_attrs *attrs);
tt_span rule_span_of_axes(const tt_tensor *x, int64_t first, int64_t count);
tt_span rule_span_of_axis(const tt_tensor *x,
                          int64_t axis);  /* a scalar has one element along any */
tt_status rule_span(tt_call *c);          /* the shape without those axes, in the input's dtype */
tt_status rule_nonempty_span(tt_call *c); /* likewise, where nothing has no such value */

#endif
