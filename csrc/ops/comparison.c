/* eq, ne, lt, le, gt, ge: a bool for each pair, broadcast. NaN differs from everything. */
#include "../op.h"

#ifdef TT_KERNELS

TT_PREDICATE(eq, a == b)
TT_PREDICATE(ne, a != b)
TT_PREDICATE(lt, a < b)
TT_PREDICATE(le, a <= b)
TT_PREDICATE(gt, a > b)
TT_PREDICATE(ge, a >= b)

#else

TT_OP(eq, .inputs = 2, .flags = TT_INTEGERS | TT_PROMOTES | TT_NOGRAD, .layout = TT_STRIDED,
      .own_dtype = BIT(Y), .prepare = rule_broadcast, .infer = rule_predicate)
TT_OP(ne, .inputs = 2, .flags = TT_INTEGERS | TT_PROMOTES | TT_NOGRAD, .layout = TT_STRIDED,
      .own_dtype = BIT(Y), .prepare = rule_broadcast, .infer = rule_predicate)
TT_OP(lt, .inputs = 2, .flags = TT_INTEGERS | TT_PROMOTES | TT_NOGRAD, .layout = TT_STRIDED,
      .own_dtype = BIT(Y), .prepare = rule_broadcast, .infer = rule_predicate)
TT_OP(le, .inputs = 2, .flags = TT_INTEGERS | TT_PROMOTES | TT_NOGRAD, .layout = TT_STRIDED,
      .own_dtype = BIT(Y), .prepare = rule_broadcast, .infer = rule_predicate)
TT_OP(gt, .inputs = 2, .flags = TT_INTEGERS | TT_PROMOTES | TT_NOGRAD, .layout = TT_STRIDED,
      .own_dtype = BIT(Y), .prepare = rule_broadcast, .infer = rule_predicate)
TT_OP(ge, .inputs = 2, .flags = TT_INTEGERS | TT_PROMOTES | TT_NOGRAD, .layout = TT_STRIDED,
      .own_dtype = BIT(Y), .prepare = rule_broadcast, .infer = rule_predicate)

#endif
