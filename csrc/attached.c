/* attached: what the outside ties to tensors and nodes, from its making to its end. */
#include "attached.h"

#include <stdio.h>
#include <string.h>

#include "anomaly.h"
#include "tape.h"

tt_attached *attached_new(tt_ctx *ctx, const char *name, int64_t id)
{
    tt_block *self = block_new(&ctx->pool, TT_POOL_META, sizeof(tt_attached));
    if (self == NULL) {
        out_of_memory(name, "meta", sizeof(tt_attached));
        return NULL;
    }
    tt_attached *a = block_data(self);
    *a = (tt_attached){.self = self, .id = id};
    snprintf(a->name, sizeof a->name, "%s", name);
    ctx->attached += 1;
    return a;
}

void attached_end(tt_ctx *ctx, tt_attached **a)
{
    if (*a == NULL) return;
    (*a)->next = ctx->ended;
    ctx->ended = *a;
    ctx->attached -= 1;
    *a = NULL;
}

int64_t tt_ended(tt_ctx *ctx)
{
    tt_attached *a = ctx != NULL ? ctx->ended : NULL;
    if (a == NULL) return 0;
    int64_t id = a->id;
    ctx->ended = a->next;
    block_unref(&ctx->pool, a->self);
    return id;
}

tt_status tt_hook(tt_ctx *ctx, tt_handle h, int64_t id, int64_t *out)
{
    TT_TRY(ctx_enter(ctx, "register_hook"));
    TT_NEED("register_hook", out);
    tt_tensor *t = handle_tensor(ctx, h, "register_hook");
    if (t == NULL) return TT_ERR_STALE;
    if (!t->requires_grad)
        return tt_fail(TT_ERR_STATE, "register_hook",
                       "cannot register a hook on a tensor that doesn't require gradient");
    if (t->hook == NULL) t->hook = attached_new(ctx, "register_hook", id);
    if (t->hook == NULL) return TT_ERR_NOMEM;
    *out = t->hook->id;
    return TT_OK;
}

tt_status tt_hold(tt_ctx *ctx, tt_handle h, tt_handle *out)
{
    TT_TRY(ctx_enter(ctx, "hold"));
    TT_NEED("hold", out);
    tt_tensor *t = handle_tensor(ctx, h, "hold");
    return t != NULL ? handle_hold(ctx, t, out) : TT_ERR_STALE;
}

int tt_used_by_tape(tt_ctx *ctx, tt_handle h)
{
    const tt_tensor *t = ctx != NULL ? handle_tensor(ctx, h, "release") : NULL;
    return t != NULL && t->place == PLACE_POOL && t->refs > 1;
}

/* ---- Functions ---- */

enum { MOST_TENSORS = 64 }; /* of a node: the bits of a mask */

/* The node of a Function has no operation of the table: its rule is the outside's. */
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
    tt_attached *function = attached_new(ctx, name, id);
    if (function == NULL) return TT_ERR_NOMEM;
    function->n_in = n_in;
    tt_status status =
        tape_add_op(ctx, &function_op, tensors, n_all, outputs, n_out, &no_attrs, nothing);
    if (status != TT_OK) {
        attached_end(ctx, &function);
        return status;
    }
    tt_node *node = ctx->tape.newest;
    node->function = function;
    node->keeps = saved;
    if (n_in < MOST_TENSORS) node->wants &= ((uint64_t)1 << n_in) - 1;
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
    if (n_in < 1 || n_kept < 0 || n_out < 1 || n_in > MOST_TENSORS || n_kept > MOST_TENSORS ||
        n_out > MOST_TENSORS || n_in + n_kept + n_out > MOST_TENSORS)
        return tt_fail(TT_ERR_ARG, name,
                       "%d inputs, %d outputs and %d further saved tensors are more than %d in all",
                       n_in, n_out, n_kept, MOST_TENSORS);
    const int n_all = n_in + n_kept + n_out;
    tt_tensor *tensors[2 * MOST_TENSORS] = {NULL}; /* what the node keeps, then its outputs */
    for (int i = 0; i < n_all; i++) {
        tt_handle h = i < n_in            ? in[i]
                      : i < n_in + n_kept ? kept[i - n_in]
                                          : values[i - n_in - n_kept];
        tensors[i] = handle_tensor(ctx, h, name);
        if (tensors[i] == NULL) return TT_ERR_STALE;
    }
    TT_TRY(handle_reserve(ctx, name, MOST_TENSORS));
    tape_mark mark = tape_here(ctx);
    tt_status status = record_function(ctx, name, id, tensors, n_in, n_all, n_out, saved);
    if (status != TT_OK) {
        tape_rewind(ctx, mark);
        return status;
    }
    for (int k = 0; k < n_out; k++) out[k] = handle_for(ctx, tensors[n_all + k]);
    return TT_OK;
}
