/* to: the values in another type. The gradient is converted back. */
#include "../op.h"

TT_ATTRS(to, dtype)

#ifdef TT_KERNELS

static tt_status to_forward(tt_call *c)
{
    const tt_tensor *x = c->in[X], *y = c->out[Y];
    dtype_convert(y->data, y->dtype, x->data, x->dtype, x->numel);
    return TT_OK;
}

static tt_status to_backward(tt_call *c)
{
    const tt_tensor *x = c->in[X], *y = c->out[Y];
    void *dx = c->acc[X] ? call_scratch(c, tensor_bytes(x)) : c->dx[X];
    if (dx == NULL) return TT_ERR_NOMEM;
    dtype_convert(dx, x->dtype, c->dy[Y], y->dtype, x->numel);
    if (c->acc[X]) kernel_set_for(x->dtype)->accumulate(c->dx[X], dx, x->numel);
    return TT_OK;
}
TT_KERNELS_OF(to, to_forward, to_backward)

#else

static tt_status to_infer(tt_call *c)
{
    int64_t dtype = to_complete(c->attrs) ? to_read(c->attrs).dtype : -1;
    if (dtype < 0 || dtype >= TT_DTYPE_COUNT)
        return tt_fail(TT_ERR_DTYPE, c->op->name, "unknown dtype %lld", (long long)dtype);
    TT_TRY(rule_same_shape(c));
    c->spec[Y].dtype = (int)dtype;
    return TT_OK;
}

static void to_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                   tt_tensor **dx)
{
    (void)need;
    dx[X] = v_to(ctx, dy[Y], node->in[X]->dtype);
}

TT_OP(to, .inputs = 1, .attributes = to_names, .flags = TT_ANY_DTYPE, .own_dtype = BIT(Y),
      .infer = to_infer, .vjp = to_vjp)

#endif
