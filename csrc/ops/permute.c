/* permute: the axes in another order, as a view. The order has for each axis of the output the axis
 * of the input. */
#include "../op.h"

TT_ATTRS(permute, order[])

#ifdef TT_KERNELS

TT_ROW(permute_row, a)

static tt_status permute_backward(tt_call *c)
{
    const int64_t *order = permute_read(c->attrs).order;
    tt_tensor dy = dense_like(c->out[Y], c->dy[Y]), back = dy;
    for (int i = 0; i < back.ndim; i++) {
        int axis = rule_normal_axis(order[i], back.ndim);
        back.shape[axis] = dy.shape[i];
        back.strides[axis] = dy.strides[i];
    }
    const tt_tensor *operands[MAX_OPERANDS] = {&back};
    elementwise(permute_row, c->in[X], operands, c->dx[X], c->acc[X]);
    return TT_OK;
}
TT_KERNELS_OF(permute, NULL, permute_backward)

#else

static tt_status permute_infer(tt_call *c)
{
    const tt_tensor *x = c->in[X];
    tt_spec *spec = &c->spec[Y];
    const permute_attrs a = permute_read(c->attrs);
    unsigned seen = 0;
    *spec = (tt_spec){.dtype = x->dtype, .ndim = x->ndim};
    for (int i = 0; i < x->ndim && a.n_order == x->ndim; i++) {
        int axis = rule_normal_axis(a.order[i], x->ndim);
        if (axis < 0) return rule_fail_axis(c->op->name, a.order[i], x);
        seen |= 1u << axis;
        spec->shape[i] = x->shape[axis];
        spec->strides[i] = x->strides[axis];
    }
    if (a.n_order == x->ndim && seen == (1u << x->ndim) - 1) return TT_OK;
    return tt_fail(TT_ERR_ARG, c->op->name, "%s is no order of the %d axes of shape %s",
                   shape_text(a.n_order, a.order), x->ndim, SHAPE_TEXT(x));
}

static void permute_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                        tt_tensor **dx)
{
    (void)need;
    const permute_attrs a = permute_read(&node->attrs);
    int64_t inverse[TT_MAX_DIMS];
    for (int i = 0; i < a.n_order; i++) inverse[rule_normal_axis(a.order[i], a.n_order)] = i;
    dx[X] = v_call(ctx, TT_OP_permute, INPUTS(dy[Y]),
                   ATTRS(permute, .n_order = a.n_order, .order = inverse));
}

TT_OP(permute, .inputs = 1, .attributes = permute_names, .flags = TT_VIEW | TT_ANY_DTYPE,
      .layout = TT_STRIDED, .infer = permute_infer, .vjp = permute_vjp)

#endif
