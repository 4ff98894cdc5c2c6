/* op: what an operation's file includes: the contract between an operation and the tape.
 *
 * An operation is one file, compiled in two ways. With TT_KERNELS it gives its loops, for each
 * dtype and SIMD level. Without, it gives its declaration: the shape rule, and the vjp, which is
 * the backward rule written with operations of the tape, so that it can be differentiated again. */
#ifndef TT_OP_H
#define TT_OP_H

#include <math.h>
#include <string.h>

#include "apply.h"
#include "attributes.h"
#include "kernel_set.h"
#include "op_rules.h"
#include "vjp.h"

/* The one declaration of an operation. */
#define TT_OP(op_name, ...) \
    const tt_op tt_op_##op_name = {.name = #op_name, .id = TT_OP_##op_name, __VA_ARGS__};
/* The end of its kernels: forward, backward (NULL where there is none). kernels.c lists them: it
 * includes the operation's file, or, with TT_OP_OBJECTS, is linked with that file's object. */
#ifdef TT_OP_OBJECTS
#define TT_KERNELS_LINKAGE
#else
#define TT_KERNELS_LINKAGE static
#endif
#define TT_KERNELS_OF(op_name, forward_fn, backward_fn) \
    TT_KERNELS_LINKAGE const tt_kernels TT_NAME_HERE(op_name) = {forward_fn, backward_fn};

/* A name that belongs to the dtype and SIMD level of this compilation: softmax_v4_f32. */
#if defined TT_F32
#define TT_DTYPE_SUFFIX f32
#elif defined TT_F64
#define TT_DTYPE_SUFFIX f64
#else
#define TT_DTYPE_SUFFIX i64
#endif
#define TT_NAME_HERE(name) TT_JOIN(name, TT_LEVEL, TT_DTYPE_SUFFIX)
#define TT_JOIN(a, b, c) TT_JOIN_(a, b, c)
#define TT_JOIN_(a, b, c) a##_##b##_##c

#ifdef TT_KERNELS
#include "loops/kernels.h"
#endif

#endif
