/* add: y = a + b, broadcast. Each gradient is dy itself. */
#include "../op.h"

#ifdef TT_KERNELS

TT_ROW(add_row, a + b)

static tt_status add_forward(tt_call *c)
{
    const tt_tensor *operands[MAX_OPERANDS] = {c->in[A], c->in[B], c->out[Y]};
    elementwise(add_row, c->in[A], operands, c->out[Y]->data, false);
    return TT_OK;
}
TT_KERNELS_OF(add, add_forward, NULL)

#else

TT_OP(add, .inputs = 2, .flags = TT_INTEGERS | TT_PROMOTES, .layout = TT_STRIDED,
      .passes = BIT(A) | BIT(B), .prepare = rule_broadcast, .infer = rule_same_shape)

#endif
