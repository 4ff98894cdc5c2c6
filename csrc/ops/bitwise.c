/* bitwise_and, bitwise_or, bitwise_xor, bitwise_not, of integers and bool. */
#include "../op.h"

#ifdef TT_KERNELS

#ifdef TT_I64
TT_BINARY(bitwise_and, a &b, 0, 0)
TT_BINARY(bitwise_or, a | b, 0, 0)
TT_BINARY(bitwise_xor, a ^ b, 0, 0)

TT_ROW(bitwise_not_row, ~a)
TT_ROW(bitwise_not_row_bool, 1 - a)

static tt_status bitwise_not_forward(tt_call *c)
{
    const tt_tensor *operands[MAX_OPERANDS] = {c->in[A]};
    elementwise(c->spec[Y].dtype == TT_BOOL ? bitwise_not_row_bool : bitwise_not_row, c->in[A],
                operands, c->out[Y]->data, false);
    return TT_OK;
}
TT_KERNELS_OF(bitwise_not, bitwise_not_forward, NULL)
#else
TT_KERNELS_OF(bitwise_and, NULL, NULL)
TT_KERNELS_OF(bitwise_or, NULL, NULL)
TT_KERNELS_OF(bitwise_xor, NULL, NULL)
TT_KERNELS_OF(bitwise_not, NULL, NULL)
#endif

#else

static tt_status bitwise_infer(tt_call *c)
{
    for (int i = 0; i < c->n_in; i++) {
        if (dtype_is_float(c->in[i]->dtype))
            return tt_fail(TT_ERR_DTYPE, c->op->name, "expected integers or bool, got %s",
                           dtype_text(c->in[i]->dtype));
    }
    return rule_same_shape(c);
}

TT_OP(bitwise_and, .inputs = 2, .flags = TT_INTEGERS | TT_PROMOTES | TT_NOGRAD,
      .layout = TT_STRIDED, .prepare = rule_broadcast, .infer = bitwise_infer)
TT_OP(bitwise_or, .inputs = 2, .flags = TT_INTEGERS | TT_PROMOTES | TT_NOGRAD, .layout = TT_STRIDED,
      .prepare = rule_broadcast, .infer = bitwise_infer)
TT_OP(bitwise_xor, .inputs = 2, .flags = TT_INTEGERS | TT_PROMOTES | TT_NOGRAD,
      .layout = TT_STRIDED, .prepare = rule_broadcast, .infer = bitwise_infer)
TT_OP(bitwise_not, .inputs = 1, .flags = TT_INTEGERS | TT_NOGRAD, .layout = TT_STRIDED,
      .infer = bitwise_infer)

#endif
