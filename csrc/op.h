/* op: what an operation's file includes: the contract between an operation and the tape.
 *
 * An operation is one file, read twice. With TT_KERNELS defined it gives its loops, compiled for
 * each dtype and SIMD level; without, its declaration: the shape rule and the vjp, which is the
 * backward rule written with operations of the tape, so that it can be differentiated again. */
#ifndef TT_OP_H
#define TT_OP_H

#include "apply.h"
#include "kernel_set.h"
#include "op_rules.h"
#include "vjp.h"

/* The one declaration of an operation. */
#define TT_OP(op_name, ...) \
    const tt_op tt_op_##op_name = {.name = #op_name, .id = TT_OP_##op_name, __VA_ARGS__};
/* The end of its kernels: forward, backward (NULL where there is none). */
#define TT_KERNELS_OF(op_name, forward_fn, backward_fn) \
    static const tt_kernels op_name##_kernels = {forward_fn, backward_fn};

#ifdef TT_KERNELS
#include "loops/kernels.h"
#endif

#endif
