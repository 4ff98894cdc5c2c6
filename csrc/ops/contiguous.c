/* contiguous: a copy in row-major order. The gradient is dy itself. */
#include "../op.h"
#include "../tensor/copy.h"

#ifdef TT_KERNELS

static tt_status contiguous_forward(tt_call *c)
{
    copy_gather(c->out[Y]->data, c->in[X]);
    return TT_OK;
}
TT_KERNELS_OF(contiguous, contiguous_forward, NULL)

#else

TT_OP(contiguous, .inputs = 1, .flags = TT_ANY_DTYPE, .layout = TT_STRIDED, .passes = BIT(X),
      .infer = rule_same_shape)

#endif
