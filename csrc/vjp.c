/* vjp: the functions with which backward rules are written as operations of the tape.
 *
 * A NULL among the arguments gives NULL, so that a rule is a formula with one check at its end. */
#include "vjp.h"

#include <string.h>

#include "apply.h"
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

tt_tensor *v_unary(tt_ctx *ctx, int op, tt_tensor *x) { return v_call(ctx, op, &x, 1, &no_attrs); }

tt_tensor *v_binary(tt_ctx *ctx, int op, tt_tensor *a, tt_tensor *b)
{
    tt_tensor *in[2] = {a, b};
    return v_call(ctx, op, in, 2, &no_attrs);
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
    tt_attrs attrs = {.n_ints = 1, .ints = {dtype}};
    return v_call(ctx, TT_OP_to, &x, 1, &attrs);
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
    tt_tensor *in[3] = {x, v_number(ctx, x, low), v_number(ctx, x, high)};
    if (in[1] == NULL || in[2] == NULL) return NULL;
    return v_call(ctx, TT_OP_clamp, in, 3, &no_attrs);
}

tt_tensor *v_one_minus(tt_ctx *ctx, tt_tensor *x) { return v_shift(ctx, v_neg(ctx, x), 1.0); }

tt_tensor *v_where(tt_ctx *ctx, tt_tensor *mask, tt_tensor *a, tt_tensor *b)
{
    tt_tensor *in[3] = {mask, a, b};
    return v_call(ctx, TT_OP_where, in, 3, &no_attrs);
}

void vjp_zero(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
              tt_tensor **dx)
{
    const tt_tensor *x = node->in[0];
    (void)dy, (void)need;
    dx[0] = v_constant(ctx, x->dtype, x->ndim, x->shape, 0.0);
}

tt_tensor *v_sum(tt_ctx *ctx, tt_tensor *x, int n_dims, const int64_t *dims, bool keepdim)
{
    tt_attrs attrs = {.n_ints = n_dims + 1, .ints = {keepdim}};
    if (n_dims > 0) memcpy(attrs.ints + 1, dims, (size_t)n_dims * sizeof dims[0]);
    return v_call(ctx, TT_OP_sum, &x, 1, &attrs);
}

tt_tensor *v_sum_axis(tt_ctx *ctx, tt_tensor *x, int dim)
{
    int64_t dims[1] = {dim};
    return v_sum(ctx, x, 1, dims, true);
}

tt_tensor *v_mean_axis(tt_ctx *ctx, tt_tensor *x, int dim)
{
    tt_attrs attrs = {.n_ints = 3, .ints = {true, dim, 1}};
    return v_call(ctx, TT_OP_mean, &x, 1, &attrs);
}

static tt_tensor *with_shape(tt_ctx *ctx, int op, tt_tensor *x, int ndim, const int64_t *shape)
{
    if (x == NULL) return NULL;
    if (x->ndim == ndim && memcmp(x->shape, shape, (size_t)ndim * sizeof shape[0]) == 0) return x;
    tt_attrs attrs = {.n_ints = ndim};
    memcpy(attrs.ints, shape, (size_t)ndim * sizeof shape[0]);
    return v_call(ctx, op, &x, 1, &attrs);
}

tt_tensor *v_reshape(tt_ctx *ctx, tt_tensor *x, int ndim, const int64_t *shape)
{
    return with_shape(ctx, TT_OP_reshape, x, ndim, shape);
}

tt_tensor *v_reshape_like(tt_ctx *ctx, tt_tensor *x, const tt_tensor *like)
{
    return with_shape(ctx, TT_OP_reshape, x, like->ndim, like->shape);
}

tt_tensor *v_expand_like(tt_ctx *ctx, tt_tensor *x, const tt_tensor *like)
{
    return with_shape(ctx, TT_OP_expand, x, like->ndim, like->shape);
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
    tt_attrs attrs = {.n_ints = x->ndim};
    for (int i = 0; i < x->ndim; i++) attrs.ints[i] = i;
    attrs.ints[x->ndim - 2] = x->ndim - 1;
    attrs.ints[x->ndim - 1] = x->ndim - 2;
    return v_call(ctx, TT_OP_permute, &x, 1, &attrs);
}

tt_tensor *v_softmax(tt_ctx *ctx, tt_tensor *x, int dim)
{
    tt_attrs attrs = {.n_ints = 1, .ints = {dim}};
    return v_call(ctx, TT_OP_softmax, &x, 1, &attrs);
}

tt_tensor *v_slice(tt_ctx *ctx, tt_tensor *x, int dim, int64_t start, int64_t length)
{
    tt_attrs attrs = {.n_ints = 4, .ints = {dim, start, 1, length}};
    return v_call(ctx, TT_OP_slice, &x, 1, &attrs);
}

tt_tensor *v_slice_backward(tt_ctx *ctx, tt_tensor *x, int dim, int64_t start, int64_t size)
{
    if (x == NULL) return NULL;
    tt_attrs attrs = {.n_ints = 5, .ints = {dim, start, 1, x->shape[dim], size}};
    return v_call(ctx, TT_OP_slice_backward, &x, 1, &attrs);
}

tt_tensor *v_span_expand(tt_ctx *ctx, tt_tensor *x, const tt_tensor *like, const tt_attrs *attrs)
{
    int64_t kept[TT_MAX_DIMS];
    for (int i = 0; i < like->ndim; i++) {
        bool gone = i >= attrs->ints[1] && i < attrs->ints[1] + attrs->ints[2];
        kept[i] = gone ? 1 : like->shape[i];
    }
    return v_expand_like(ctx, v_reshape(ctx, x, like->ndim, kept), like);
}

tt_tensor *v_weights(tt_ctx *ctx, const tt_node *node)
{
    const tt_tensor *x = node->in[0], *y = node->out[0];
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
