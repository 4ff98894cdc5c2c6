/* vjp: the functions with which backward rules are written as operations of the tape.
 *
 * A NULL among the arguments gives NULL, so that a rule is a formula with one check at its end. */
#include "vjp.h"

#include <string.h>

#include "apply.h"
#include "attributes.h"
#include "kernel_set.h"

tt_tensor *v_call(tt_ctx *ctx, int op, tt_tensor **in, int n_in, const tt_attrs *attrs)
{
    tt_tensor *out[TT_MAX_OUT] = {NULL};
    for (int i = 0; i < n_in; i++) {
        if (in[i] == NULL && !(tt_ops[op]->optional >> i & 1)) return NULL;
    }
    return apply_op(ctx, op, in, n_in, attrs, PLACE_STEP, out) == TT_OK ? out[0] : NULL;
}

static const tt_attrs no_attrs;

tt_tensor *v_unary(tt_ctx *ctx, int op, tt_tensor *x)
{
    return v_call(ctx, op, INPUTS(x), &no_attrs);
}

tt_tensor *v_binary(tt_ctx *ctx, int op, tt_tensor *a, tt_tensor *b)
{
    return v_call(ctx, op, INPUTS(a, b), &no_attrs);
}

tt_tensor *v_constant(tt_ctx *ctx, int dtype, int ndim, const int64_t *shape, double value)
{
    tt_tensor *t = tensor_new_arena(ctx, "vjp", PLACE_STEP, dtype, ndim, shape, true);
    if (t != NULL) tensor_fill(t, value);
    return t;
}

tt_tensor *v_to(tt_ctx *ctx, tt_tensor *x, int dtype)
{
    if (x == NULL || x->dtype == dtype) return x;
    return v_call(ctx, TT_OP_to, INPUTS(x), ATTRS(to, .dtype = dtype));
}

tt_tensor *v_number(tt_ctx *ctx, const tt_tensor *like, double value)
{
    return like != NULL ? v_constant(ctx, like->dtype, 0, NULL, value) : NULL;
}

tt_tensor *v_scale(tt_ctx *ctx, tt_tensor *x, double factor)
{
    return v_mul(ctx, x, v_number(ctx, x, factor));
}
tt_tensor *v_shift(tt_ctx *ctx, tt_tensor *x, double term)
{
    return v_add(ctx, x, v_number(ctx, x, term));
}

tt_tensor *v_clamp(tt_ctx *ctx, tt_tensor *x, double low, double high)
{
    tt_tensor *least = v_number(ctx, x, low), *most = v_number(ctx, x, high);
    if (least == NULL || most == NULL) return NULL; /* which clamp would take for no bound */
    return v_call(ctx, TT_OP_clamp, INPUTS(x, least, most), &no_attrs);
}

tt_tensor *v_one_minus(tt_ctx *ctx, tt_tensor *x) { return v_shift(ctx, v_neg(ctx, x), 1.0); }

tt_tensor *v_where(tt_ctx *ctx, tt_tensor *mask, tt_tensor *a, tt_tensor *b)
{
    return v_call(ctx, TT_OP_where, INPUTS(mask, a, b), &no_attrs);
}

void vjp_zero(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
              tt_tensor **dx)
{
    const tt_tensor *x = node->in[X];
    (void)dy, (void)need;
    dx[X] = v_constant(ctx, x->dtype, x->ndim, x->shape, 0.0);
}

tt_tensor *v_sum(tt_ctx *ctx, tt_tensor *x, int n_dims, const int64_t *dims, bool keepdim)
{
    return v_call(ctx, TT_OP_sum, INPUTS(x),
                  ATTRS(sum, .keepdim = keepdim, .n_axes = n_dims, .axes = dims));
}

tt_tensor *v_sum_axis(tt_ctx *ctx, tt_tensor *x, int dim)
{
    int64_t dims[1] = {dim};
    return v_sum(ctx, x, 1, dims, true);
}

tt_tensor *v_mean_axis(tt_ctx *ctx, tt_tensor *x, int dim)
{
    return v_call(ctx, TT_OP_mean, INPUTS(x),
                  ATTRS(span, .keepdim = true, .first = dim, .count = 1));
}

static bool has_shape(const tt_tensor *x, int ndim, const int64_t *shape)
{
    return x->ndim == ndim && memcmp(x->shape, shape, (size_t)ndim * sizeof shape[0]) == 0;
}

tt_tensor *v_reshape(tt_ctx *ctx, tt_tensor *x, int ndim, const int64_t *shape)
{
    if (x == NULL || has_shape(x, ndim, shape)) return x;
    return v_call(ctx, TT_OP_reshape, INPUTS(x), ATTRS(reshape, .n_sizes = ndim, .sizes = shape));
}

tt_tensor *v_reshape_like(tt_ctx *ctx, tt_tensor *x, const tt_tensor *like)
{
    return v_reshape(ctx, x, like->ndim, like->shape);
}

tt_tensor *v_expand_like(tt_ctx *ctx, tt_tensor *x, const tt_tensor *like)
{
    if (x == NULL || has_shape(x, like->ndim, like->shape)) return x;
    return v_call(ctx, TT_OP_expand, INPUTS(x),
                  ATTRS(expand, .n_sizes = like->ndim, .sizes = like->shape));
}

tt_tensor *v_as_rows(tt_ctx *ctx, tt_tensor *x)
{
    if (x == NULL) return NULL;
    int64_t shape[2] = {1, x->shape[x->ndim - 1]};
    for (int i = 0; i < x->ndim - 1; i++) shape[0] *= x->shape[i];
    return v_reshape(ctx, x, 2, shape);
}

tt_tensor *v_transpose(tt_ctx *ctx, tt_tensor *x)
{
    if (x == NULL) return NULL;
    const int last = x->ndim - 1;
    int64_t order[TT_MAX_DIMS];
    for (int i = 0; i < last - 1; i++) order[i] = i;
    order[last - 1] = last;
    order[last] = last - 1;
    return v_call(ctx, TT_OP_permute, INPUTS(x),
                  ATTRS(permute, .n_order = x->ndim, .order = order));
}

tt_tensor *v_softmax(tt_ctx *ctx, tt_tensor *x, int dim)
{
    return v_call(ctx, TT_OP_softmax, INPUTS(x), ATTRS(softmax, .axis = dim));
}

tt_tensor *v_slice(tt_ctx *ctx, tt_tensor *x, int dim, int64_t start, int64_t length)
{
    return v_call(ctx, TT_OP_slice, INPUTS(x),
                  ATTRS(slice, .axis = dim, .start = start, .step = 1, .length = length));
}

tt_tensor *v_slice_backward(tt_ctx *ctx, tt_tensor *x, int dim, int64_t start, int64_t size)
{
    if (x == NULL) return NULL;
    return v_call(ctx, TT_OP_slice_backward, INPUTS(x),
                  ATTRS(slice_backward, .axis = dim, .start = start, .step = 1,
                        .length = x->shape[dim], .size = size));
}

tt_tensor *v_span_expand(tt_ctx *ctx, tt_tensor *x, const tt_tensor *like, const tt_attrs *attrs)
{
    const span_attrs a = span_read(attrs);
    int64_t kept[TT_MAX_DIMS];
    for (int i = 0; i < like->ndim; i++) {
        bool gone = i >= a.first && i < a.first + a.count;
        kept[i] = gone ? 1 : like->shape[i];
    }
    return v_expand_like(ctx, v_reshape(ctx, x, like->ndim, kept), like);
}

tt_tensor *v_weights(tt_ctx *ctx, const tt_node *node)
{
    const tt_tensor *x = node->in[X], *y = node->out[Y];
    tt_tensor *weights = v_constant(ctx, x->dtype, x->ndim, x->shape, 0.0);
    const tt_tensor *ones = v_constant(ctx, y->dtype, y->ndim, y->shape, 1.0);
    if (weights == NULL || ones == NULL) return NULL;
    tt_call c = {.ctx = ctx,
                 .op = node->op,
                 .attrs = &node->attrs,
                 .n_in = node->n_in,
                 .n_out = node->n_out,
                 .in = node->in,
                 .out = node->out,
                 .dy = {ones->data},
                 .dx = {weights->data}};
    memcpy(c.saved, node->saved, sizeof c.saved);
    return kernel_set_for(y->dtype)->ops[node->op->id]->backward(&c) == TT_OK ? weights : NULL;
}
