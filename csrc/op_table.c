/* op_table: the declarations of all operations. */
#include "op.h"

#ifdef TT_OP_OBJECTS
#define DECLARE(name) extern const tt_op tt_op_##name;
TT_EACH_OP(DECLARE)
#else
#include "ops_include.h" /* every operation's declaration: its file, read without TT_KERNELS */
#endif

#define TT_ENTRY(name) [TT_OP_##name] = &tt_op_##name,
const tt_op *const tt_ops[TT_OP_COUNT] = {TT_EACH_OP(TT_ENTRY)};
#undef TT_ENTRY
