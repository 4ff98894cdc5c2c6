/* function: the caller's Functions: operations whose backward rules are the caller's code. */
#include <string.h>

#include "anomaly.h"
#include "tape.h"
#include "tensor/hooks.h"

enum { MAX_TENSORS = 64 }; /* of a node: the bits of a mask */

/* The node of a Function has no operation of the table: its rule is the caller's. */
static const tt_op function_op = {.name = "Function", .id = -1};

/* An output shows what was computed; the node keeps that alive. */
static tt_tensor *output_of(tt_ctx *ctx, const char *name, const tt_tensor *value)
{
    tt_tensor *t =
        tensor_new_arena(ctx, name, PLACE_STEP, value->dtype, value->ndim, value->shape, false);
    if (t == NULL) return NULL;
    memcpy(t->strides, value->strides, sizeof t->strides);
    t->contiguous = value->contiguous;
    t->data = value->data;
    t->block = value->block;
    return t;
}

static tt_status record_function(tt_ctx *ctx, const char *name, int64_t id, tt_tensor **tensors,
                                 int n_in, int n_all, int n_out, uint64_t saved)
{
    static const tt_attrs no_attrs;
    static void *const nothing[TT_MAX_SAVED];
    tt_tensor **outputs = tensors + n_all;
    for (int k = 0; k < n_out; k++) {
        const tt_tensor *value = tensors[n_all - n_out + k];
        if (!dtype_is_float(value->dtype))
            return tt_fail(TT_ERR_DTYPE, name, "output %d is %s: only floats have gradients", k,
                           dtype_text(value->dtype));
        outputs[k] = output_of(ctx, name, value);
        if (outputs[k] == NULL) return (tt_status)tt_error_code();
        TT_TRY(anomaly_check_value(ctx, name, "forward: output", k, value, ctx->anomaly.origin));
    }
    tt_callback *function = hook_new(ctx, name, id);
    if (function == NULL) return TT_ERR_NOMEM;
    function->n_in = n_in;
    tt_status status =
        tape_add_op(ctx, &function_op, tensors, n_all, outputs, n_out, &no_attrs, nothing);
    if (status != TT_OK) {
        hook_end(ctx, &function);
        return status;
    }
    tt_node *node = ctx->tape.newest;
    node->function = function;
    node->keeps = saved;
    if (n_in < MAX_TENSORS) node->wants &= ((uint64_t)1 << n_in) - 1;
    return TT_OK;
}

tt_status tt_function(tt_ctx *ctx, const char *name, int64_t id, int n_in, const tt_handle *in,
                      int n_kept, const tt_handle *kept, int n_out, const tt_handle *values,
                      uint64_t saved, tt_handle *out)
{
    TT_NEED("Function", name);
    TT_TRY(ctx_enter(ctx, name));
    TT_NEED(name, in);
    TT_NEED_LIST(name, n_kept, kept);
    TT_NEED(name, values);
    TT_NEED(name, out);
    if (n_in < 1 || n_kept < 0 || n_out < 1 || n_in > MAX_TENSORS || n_kept > MAX_TENSORS ||
        n_out > MAX_TENSORS || n_in + n_kept + n_out > MAX_TENSORS)
        return tt_fail(TT_ERR_ARG, name,
                       "%d inputs, %d outputs and %d further saved tensors are more than %d in all",
                       n_in, n_out, n_kept, MAX_TENSORS);
    const int n_all = n_in + n_kept + n_out;
    tt_tensor *tensors[2 * MAX_TENSORS] = {NULL}; /* what the node keeps, then its outputs */
    for (int i = 0; i < n_all; i++) {
        tt_handle h = i < n_in            ? in[i]
                      : i < n_in + n_kept ? kept[i - n_in]
                                          : values[i - n_in - n_kept];
        tensors[i] = handle_tensor(ctx, h, name);
        if (tensors[i] == NULL) return TT_ERR_STALE;
    }
    TT_TRY(handle_reserve(ctx, name, MAX_TENSORS));
    tape_mark mark = tape_here(ctx);
    tt_status status = record_function(ctx, name, id, tensors, n_in, n_all, n_out, saved);
    if (status != TT_OK) {
        tape_rewind(ctx, mark);
        return status;
    }
    for (int k = 0; k < n_out; k++) out[k] = handle_for(ctx, tensors[n_all + k]);
    return TT_OK;
}
