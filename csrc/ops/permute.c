/* permute: the axes in another order, as a view. ints: for each axis of the output, the axis of the
 * input. */
#include "../op.h"

TT_ATTRS(permute, order[])

#ifdef TT_KERNELS

TT_ROW(permute_row, a)

static tt_status permute_backward(tt_call *c)
{
    tt_tensor dy = dense_like(c->out[0], c->dy[0]), back = dy;
    for (int i = 0; i < back.ndim; i++) {
        int axis = normal_axis(c->attrs->ints[i], back.ndim);
        back.shape[axis] = dy.shape[i];
        back.strides[axis] = dy.strides[i];
    }
    const tt_tensor *operands[MAX_OPERANDS] = {&back};
    elementwise(permute_row, c->in[0], operands, c->dx[0], c->acc[0]);
    return TT_OK;
}
TT_KERNELS_OF(permute, NULL, permute_backward)

#else

static tt_status permute_infer(tt_call *c)
{
    const tt_tensor *x = c->in[0];
    tt_spec *spec = &c->spec[0];
    unsigned seen = 0;
    *spec = (tt_spec){.dtype = x->dtype, .ndim = x->ndim};
    for (int i = 0; i < x->ndim && c->attrs->n_ints == x->ndim; i++) {
        int axis = normal_axis(c->attrs->ints[i], x->ndim);
        if (axis < 0) return fail_axis(c->op->name, c->attrs->ints[i], x);
        seen |= 1u << axis;
        spec->shape[i] = x->shape[axis];
        spec->strides[i] = x->strides[axis];
    }
    if (c->attrs->n_ints == x->ndim && seen == (1u << x->ndim) - 1) return TT_OK;
    return tt_fail(TT_ERR_ARG, c->op->name, "%s is no order of the %d axes of shape %s",
                   shape_text(c->attrs->n_ints, c->attrs->ints), x->ndim, SHAPE_TEXT(x));
}

static void permute_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                        tt_tensor **dx)
{
    (void)need;
    tt_tensor *g = dy[0];
    tt_attrs inverse = {.n_ints = node->attrs.n_ints};
    for (int i = 0; i < inverse.n_ints; i++)
        inverse.ints[normal_axis(node->attrs.ints[i], inverse.n_ints)] = i;
    dx[0] = v_call(ctx, TT_OP_permute, &g, 1, &inverse);
}

TT_OP(permute, .inputs = 1, .attributes = permute_names, .flags = TT_VIEW | TT_ANY_DTYPE,
      .layout = TT_STRIDED, .infer = permute_infer, .vjp = permute_vjp)

#endif
