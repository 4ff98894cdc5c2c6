/* isnan, isinf, isfinite: a bool for each element. Integers are finite. */
#include "../op.h"

#ifdef TT_KERNELS

TT_PREDICATE(isnan, a != a)
TT_PREDICATE(isinf, a - a != 0 && a == a)
TT_PREDICATE(isfinite, a - a == 0)

#else

TT_OP(isnan, .inputs = 1, .flags = TT_INTEGERS | TT_NOGRAD, .layout = TT_STRIDED,
      .own_dtype = BIT(Y), .infer = rule_predicate)
TT_OP(isinf, .inputs = 1, .flags = TT_INTEGERS | TT_NOGRAD, .layout = TT_STRIDED,
      .own_dtype = BIT(Y), .infer = rule_predicate)
TT_OP(isfinite, .inputs = 1, .flags = TT_INTEGERS | TT_NOGRAD, .layout = TT_STRIDED,
      .own_dtype = BIT(Y), .infer = rule_predicate)

#endif
