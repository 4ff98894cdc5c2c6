/* flip: the elements along some axes in reverse order. The gradient is flipped back. */
#include "../op.h"
#include "../tensor/copy.h"

TT_ATTRS(flip, axes[])

#ifdef TT_KERNELS

/* The same elements read from the other end: a view with negative strides, which only kernels see.
 */
static tt_tensor flip_view(const tt_tensor *t, const tt_attrs *attrs)
{
    const flip_attrs a = flip_read(attrs);
    tt_tensor view = *t;
    int64_t offset = 0;
    for (int i = 0; i < a.n_axes; i++) {
        int axis = rule_normal_axis(a.axes[i], t->ndim);
        offset += (t->shape[axis] - 1) * t->strides[axis];
        view.strides[axis] = -t->strides[axis];
    }
    if (t->numel > 0) view.data = (char *)t->data + offset * (int64_t)dtype_size(t->dtype);
    return view;
}

static tt_status flip_forward(tt_call *c)
{
    tt_tensor view = flip_view(c->in[X], c->attrs);
    copy_gather(c->out[Y]->data, &view);
    return TT_OK;
}

TT_ROW(flip_row, a)

static tt_status flip_backward(tt_call *c)
{
    tt_tensor dy = dense_like(c->in[X], c->dy[Y]), view = flip_view(&dy, c->attrs);
    const tt_tensor *operands[MAX_OPERANDS] = {&view};
    elementwise(flip_row, c->in[X], operands, c->dx[X], c->acc[X]);
    return TT_OK;
}
TT_KERNELS_OF(flip, flip_forward, flip_backward)

#else

static tt_status flip_infer(tt_call *c)
{
    const tt_tensor *x = c->in[X];
    const flip_attrs a = flip_read(c->attrs);
    unsigned seen = 0;
    for (int i = 0; i < a.n_axes; i++) {
        int axis = rule_normal_axis(a.axes[i], x->ndim);
        if (axis < 0) return rule_fail_axis(c->op->name, a.axes[i], x);
        if (seen >> axis & 1)
            return tt_fail(TT_ERR_ARG, c->op->name, "axis %d appears more than once", axis);
        seen |= 1u << axis;
    }
    return rule_same_shape(c);
}

static void flip_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                     tt_tensor **dx)
{
    (void)need;
    dx[X] = v_call(ctx, TT_OP_flip, INPUTS(dy[Y]), &node->attrs);
}

TT_OP(flip, .inputs = 1, .attributes = flip_names, .flags = TT_ANY_DTYPE, .layout = TT_STRIDED,
      .infer = flip_infer, .vjp = flip_vjp)

#endif
