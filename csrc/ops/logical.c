/* logical_and, logical_or, logical_xor, logical_not: of what is not zero. NaN is not zero. */
#include "../op.h"

#ifdef TT_KERNELS

TT_PREDICATE(logical_and, a != 0 && b != 0)
TT_PREDICATE(logical_or, a != 0 || b != 0)
TT_PREDICATE(logical_xor, (a != 0) != (b != 0))
TT_PREDICATE(logical_not, a == 0)

#else

TT_OP(logical_and, .inputs = 2, .flags = TT_INTEGERS | TT_PROMOTES | TT_NOGRAD,
      .layout = TT_STRIDED, .own_dtype = BIT(Y), .prepare = rule_broadcast, .infer = rule_predicate)
TT_OP(logical_or, .inputs = 2, .flags = TT_INTEGERS | TT_PROMOTES | TT_NOGRAD, .layout = TT_STRIDED,
      .own_dtype = BIT(Y), .prepare = rule_broadcast, .infer = rule_predicate)
TT_OP(logical_xor, .inputs = 2, .flags = TT_INTEGERS | TT_PROMOTES | TT_NOGRAD,
      .layout = TT_STRIDED, .own_dtype = BIT(Y), .prepare = rule_broadcast, .infer = rule_predicate)
TT_OP(logical_not, .inputs = 1, .flags = TT_INTEGERS | TT_NOGRAD, .layout = TT_STRIDED,
      .own_dtype = BIT(Y), .infer = rule_predicate)

#endif
