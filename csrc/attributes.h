/* attributes: the names of an operation's attributes, inputs and outputs. */
#ifndef TT_ATTRIBUTES_H
#define TT_ATTRIBUTES_H

#include <string.h>

#include "op_table.h"

/* Attributes and inputs have names, and no operation writes a position.
 *
 * An operation's file declares its attributes once, above its kernels (integers, then reals; a last
 * integer with [] is a list):
 *
 *     TT_ATTRS(slice, axis, start, step, length)
 *     TT_ATTRS(dropout, seed, stream, offset, real p)
 *     TT_ATTRS(sum, keepdim, axes[])
 *
 * and its TT_OP names them: `.attributes = slice_names`. An operation may use the set of another.
 * The build writes the rest (cmake/attributes.cmake), for every file that includes op.h:
 *
 *     const slice_attrs a = slice_read(c->attrs);     then a.axis, a.start, ...
 *     slice_complete(c->attrs)                        every one is given, and no other
 *     v_call(ctx, TT_OP_slice, &x, 1, ATTRS(slice, .axis = 1, .start = 0, .step = 1, .length = n))
 *     v_call(ctx, TT_OP_permute, &x, 1, ATTRS(permute, .n_order = 2, .order = (int64_t[]){1, 0}))
 *
 * Python says run["slice"]((x,), axis=1, start=0, step=1, length=n) (functional/_apply.py). It
 * gives all of them, as ATTRS does, where a member that is not named is 0; and _read makes 0 of
 * what a call of tt_apply leaves out. So 0 is what an attribute has to be where it does not apply.
 *
 * The only input of an operation is X, those of a pair are A and B; the only output is Y, those of
 * what chooses elements are VALUES and INDICES. Where there are others, the operation's file has an
 * enum with the operation's name before each, since all files are compiled together:
 * enum { LINEAR_X, LINEAR_WEIGHT, LINEAR_BIAS }. They index in, dx, acc and need, or out, dy and
 * spec, and masks are made of them: `.keeps = BIT(LINEAR_X) | BIT(LINEAR_WEIGHT)`.
 *
 *     v_call(ctx, TT_OP_gather, INPUTS(x, index), ATTRS(gather, .axis = axis)) */
#define TT_ATTRS(set, ...)
#define ATTRS(set, ...) ((const tt_attrs[]){set##_pack((set##_attrs){__VA_ARGS__})})
#define BIT(index) (1u << (index))
/* Two arguments: the inputs and how many there are. */
#define INPUTS(...) \
    (tt_tensor *[]){__VA_ARGS__}, (int)(sizeof((tt_tensor *[]){__VA_ARGS__}) / sizeof(tt_tensor *))
enum { X = 0 };
enum { A = 0, B = 1 };
enum { Y = 0 };
enum { VALUES = 0, INDICES = 1 };

/* Reductions over adjacent axes share these; some have one more behind them. */
TT_ATTRS(span, keepdim, first, count)

#include "ops_attrs.h"

#endif
