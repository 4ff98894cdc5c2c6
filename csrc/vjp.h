/* vjp: the functions with which backward rules are written as operations of the tape.
 *
 * A NULL among the arguments gives NULL, so that a formula needs one check at its end. Unrecorded
 * results live in the step arena. */
#ifndef TT_VJP_H
#define TT_VJP_H

#include "tape.h"

tt_tensor *v_unary(tt_ctx *ctx, int op, tt_tensor *x);
tt_tensor *v_binary(tt_ctx *ctx, int op, tt_tensor *a, tt_tensor *b);
tt_tensor *v_to(tt_ctx *ctx, tt_tensor *x, int dtype);
tt_tensor *v_number(tt_ctx *ctx, const tt_tensor *like, double value); /* without dimensions */
tt_tensor *v_where(tt_ctx *ctx, tt_tensor *mask, tt_tensor *a, tt_tensor *b);
tt_tensor *v_scale(tt_ctx *ctx, tt_tensor *x, double factor);
tt_tensor *v_shift(tt_ctx *ctx, tt_tensor *x, double term);
tt_tensor *v_clamp(tt_ctx *ctx, tt_tensor *x, double low, double high);
tt_tensor *v_sum(tt_ctx *ctx, tt_tensor *x, int n_dims, const int64_t *dims, bool keepdim);
tt_tensor *v_sum_axis(tt_ctx *ctx, tt_tensor *x, int dim);  /* one axis, kept */
tt_tensor *v_mean_axis(tt_ctx *ctx, tt_tensor *x, int dim); /* likewise */
tt_tensor *v_reshape(tt_ctx *ctx, tt_tensor *x, int ndim, const int64_t *shape);
tt_tensor *v_reshape_like(tt_ctx *ctx, tt_tensor *x, const tt_tensor *like);
tt_tensor *v_expand_like(tt_ctx *ctx, tt_tensor *x, const tt_tensor *like);
/* A value of each line in the shape of the elements. */
tt_tensor *v_span_expand(tt_ctx *ctx, tt_tensor *x, const tt_tensor *like, const tt_attrs *attrs);
/* What the backward kernel of a recorded operation makes of ones, as a constant: the factor of dy
 * where an operation is linear but for kinks. */
tt_tensor *v_weights(tt_ctx *ctx, const tt_node *node);
tt_tensor *v_as_rows(tt_ctx *ctx, tt_tensor *x); /* (..., n) as (rows, n) */
tt_tensor *v_one_minus(tt_ctx *ctx, tt_tensor *x);
tt_tensor *v_transpose(tt_ctx *ctx, tt_tensor *x); /* the last two axes */
tt_tensor *v_softmax(tt_ctx *ctx, tt_tensor *x, int dim);
tt_tensor *v_slice(tt_ctx *ctx, tt_tensor *x, int dim, int64_t start, int64_t length);
/* zeros with `size` places along dim, of which those from start on are x */
tt_tensor *v_slice_backward(tt_ctx *ctx, tt_tensor *x, int dim, int64_t start, int64_t size);
tt_tensor *v_call(tt_ctx *ctx, int op, tt_tensor **in, int n_in, const tt_attrs *attrs);
tt_tensor *v_constant(tt_ctx *ctx, int dtype, int ndim, const int64_t *shape, double value);
#define v_add(ctx, a, b) v_binary(ctx, TT_OP_add, a, b)
#define v_sub(ctx, a, b) v_binary(ctx, TT_OP_sub, a, b)
#define v_mul(ctx, a, b) v_binary(ctx, TT_OP_mul, a, b)
#define v_div(ctx, a, b) v_binary(ctx, TT_OP_div, a, b)
#define v_matmul(ctx, a, b) v_binary(ctx, TT_OP_matmul, a, b)
#define v_neg(ctx, x) v_unary(ctx, TT_OP_neg, x)
/* The vjp of an operation of one input whose slope is zero. */
void vjp_zero(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
              tt_tensor **dx);

#endif
