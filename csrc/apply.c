/* apply: runs an operation, and records it where a gradient may be wanted. */
#include "apply.h"

#include <string.h>

#include "anomaly.h"
#include "attributes.h"
#include "kernel_set.h"
#include "release.h"
#include "tape.h"
#include "tensor/copy.h"

void *call_save(tt_call *c, int index, size_t n)
{
    arena *a = c->recording ? &c->ctx->step : &c->ctx->scratch;
    size_t *size = arena_alloc(a, SAVED_HEAD + n);
    if (size == NULL) {
        mem_exhausted(c->op->name, c->recording ? "step" : "scratch", n);
        return NULL;
    }
    *size = n;
    c->saved[index] = (char *)size + SAVED_HEAD;
    return c->saved[index];
}

static bool is_value(const tt_op *op, int input)
{
    return !((op->indices | op->masks) >> input & 1);
}

static tt_status check_special(const tt_op *op, int input, int dtype)
{
    if (op->masks >> input & 1 && dtype != TT_BOOL)
        return tt_fail(TT_ERR_DTYPE, op->name, "input %d is a mask and must be bool, got %s", input,
                       dtype_text(dtype));
    if (op->indices >> input & 1 && (dtype_is_float(dtype) || dtype == TT_BOOL))
        return tt_fail(TT_ERR_DTYPE, op->name,
                       "input %d holds indices and must be of integers, such as int64, got %s",
                       input, dtype_text(dtype));
    return TT_OK;
}

static tt_status check_value(const tt_op *op, int input, int dtype)
{
    if (op->flags & TT_ANY_DTYPE || dtype_is_float(dtype)) return TT_OK;
    if (op->flags & TT_NO_BOOL && dtype == TT_BOOL)
        return tt_fail(TT_ERR_DTYPE, op->name,
                       "input %d must hold numbers, got bool: use logical operations, or to()",
                       input);
    if (op->flags & (TT_INTEGERS | TT_TO_FLOAT)) return TT_OK;
    return tt_fail(TT_ERR_DTYPE, op->name, "input %d must be float32 or float64, got %s", input,
                   dtype_text(dtype));
}

/* The type in which an operation's values meet, as torch.result_type has it: that of the tensors
 * with dimensions, unless one without, or after that a plain number, is of a higher kind (bool,
 * integer, float). -1: there are no values. */
static int common_dtype(const tt_call *c)
{
    int of[3] = {-1, -1, -1}; /* of tensors with dimensions, without, and of numbers */
    for (int i = 0; i < c->n_in; i++) {
        const tt_tensor *t = c->in[i];
        if (t == NULL || !is_value(c->op, i)) continue;
        int *at = &of[t->ndim > 0 ? 0 : t->number ? 2 : 1];
        *at = *at < 0 ? t->dtype : dtype_promote(*at, t->dtype);
    }
    int common = of[0];
    for (int k = 1; k < 3; k++) {
        bool higher = common < 0 || (!dtype_is_float(common) &&
                                     (common == TT_BOOL || (of[k] >= 0 && dtype_is_float(of[k]))));
        if (of[k] >= 0 && higher) common = common < 0 ? of[k] : dtype_promote(common, of[k]);
    }
    if (c->op->flags & TT_TO_FLOAT && common >= 0 && !dtype_is_float(common)) common = TT_FLOAT32;
    return common;
}

static tt_status convert_input(tt_call *c, int i, int dtype)
{
    return apply_op(c->ctx, TT_OP_to, &c->in[i], 1, ATTRS(to, .dtype = dtype), call_place(c),
                    &c->in[i]);
}

static tt_status check_inputs(tt_call *c)
{
    const tt_op *op = c->op;
    if (c->n_in != op->inputs)
        return tt_fail(TT_ERR_ARG, op->name, "expected %d inputs, got %d", op->inputs, c->n_in);
    int dtype = -1; /* of the values */
    bool mixed = false;
    for (int i = 0; i < c->n_in; i++) {
        const tt_tensor *t = c->in[i];
        if (t == NULL) {
            if (op->optional >> i & 1) continue;
            return tt_fail(TT_ERR_ARG, op->name, "input %d is missing", i);
        }
        if (!is_value(op, i)) {
            TT_TRY(check_special(op, i, t->dtype));
            if (op->indices >> i & 1 && t->dtype != TT_INT64) TT_TRY(convert_input(c, i, TT_INT64));
            continue;
        }
        TT_TRY(check_value(op, i, t->dtype));
        mixed = mixed || (dtype >= 0 && t->dtype != dtype);
        if (mixed && !(op->flags & (TT_PROMOTES | TT_ANY_DTYPE)))
            return tt_fail(TT_ERR_DTYPE, op->name, "inputs must share one dtype, got %s and %s",
                           dtype_text(dtype), dtype_text(t->dtype));
        dtype = t->dtype;
    }
    c->dtype = dtype >= 0 ? dtype : TT_INT64;
    bool to_float = op->flags & TT_TO_FLOAT && !dtype_is_float(c->dtype);
    if (!mixed && !(to_float && dtype >= 0)) return TT_OK;
    c->dtype = common_dtype(c);
    /* Integers compute in int64, so an integer without dimensions is not converted to a narrower
     * type before. */
    bool whole = !dtype_is_float(c->dtype) && !(op->flags & TT_ANY_DTYPE);
    for (int i = 0; i < c->n_in; i++) {
        const tt_tensor *t = c->in[i];
        if (t == NULL || !is_value(op, i)) continue;
        int wanted = whole && t->ndim == 0 ? TT_INT64 : c->dtype;
        if (t->dtype != wanted) TT_TRY(convert_input(c, i, wanted));
    }
    return TT_OK;
}

static bool blas_matrix(const tt_tensor *t)
{
    if (t->contiguous || t->ndim < 2) return t->contiguous;
    int64_t rows = t->shape[t->ndim - 2], cols = t->shape[t->ndim - 1];
    int64_t row_stride = t->strides[t->ndim - 2], col_stride = t->strides[t->ndim - 1];
    return (col_stride == 1 && row_stride >= cols) || (row_stride == 1 && col_stride >= rows);
}

static tt_status arrange_inputs(tt_call *c)
{
    for (int i = 0; i < c->n_in; i++) {
        tt_tensor *t = c->in[i];
        if (t == NULL || t->contiguous) continue;
        bool index = c->op->indices >> i & 1;
        if (!index && c->op->layout == TT_STRIDED) continue;
        if (!index && c->op->layout == TT_MATRIX && blas_matrix(t)) continue;
        tt_attrs none = {0};
        TT_TRY(apply_op(c->ctx, TT_OP_contiguous, &c->in[i], 1, &none, call_place(c), &c->in[i]));
    }
    return TT_OK;
}

static void as_view(tt_tensor *t, const tt_spec *spec, const tt_tensor *base)
{
    memcpy(t->strides, spec->strides, sizeof t->strides);
    t->data = (char *)base->data + spec->offset * (int64_t)dtype_size(base->dtype);
    t->contiguous = tensor_strides_contiguous(t);
}

static tt_tensor *make_view(tt_call *c, tt_place place)
{
    const tt_spec *spec = &c->spec[0];
    const tt_tensor *base = c->in[0];
    tt_ctx *ctx = c->ctx;
    if (place != PLACE_POOL) {
        tt_tensor *t =
            tensor_new_arena(ctx, c->op->name, place, spec->dtype, spec->ndim, spec->shape, false);
        if (t == NULL) return NULL;
        t->block = base->block;
        as_view(t, spec, base);
        return t;
    }
    tt_tensor view = {0};
    if (tensor_set_shape(&view, c->op->name, spec->dtype, spec->ndim, spec->shape) != TT_OK)
        return NULL;
    view.block = base->block;
    as_view(&view, spec, base);
    if (base->block != NULL) return tensor_new_view(ctx, &view);
    /* The base lies in the step arena and this view is not recorded: it would outlive its storage,
     * so it is a copy. */
    tt_tensor *t =
        tensor_new_pool(ctx, c->op->name, TT_POOL_DATA, spec->dtype, spec->ndim, spec->shape);
    if (t != NULL) copy_gather(t->data, &view);
    return t;
}

static tt_tensor *make_output(tt_call *c, int k, tt_place place)
{
    const tt_spec *spec = &c->spec[k];
    if (c->op->flags & TT_VIEW) return make_view(c, place);
    if (place == PLACE_POOL)
        return tensor_new_pool(c->ctx, c->op->name, TT_POOL_DATA, spec->dtype, spec->ndim,
                               spec->shape);
    return tensor_new_arena(c->ctx, c->op->name, place, spec->dtype, spec->ndim, spec->shape, true);
}

/* The kernels of the values' type. Bool and narrow integers have none of their own: their values
 * pass through int64, which holds them all. */
static tt_status run_kernel(tt_call *c)
{
    const tt_kernels *kernels = kernel_set_for(c->dtype)->ops[c->op->id];
    if (c->op->flags & TT_ANY_DTYPE || dtype_is_float(c->dtype)) return kernels->forward(c);
    for (int i = 0; i < c->n_in; i++) {
        if (c->in[i] != NULL && is_value(c->op, i) && c->in[i]->dtype != TT_INT64)
            TT_TRY(convert_input(c, i, TT_INT64));
    }
    tt_tensor *narrow[TT_MAX_OUT], *wide[TT_MAX_OUT], **out = c->out;
    for (int k = 0; k < c->n_out; k++) {
        narrow[k] = wide[k] = out[k];
        if (c->op->own_dtype >> k & 1 || narrow[k]->dtype == TT_INT64) continue;
        wide[k] = tensor_new_arena(c->ctx, c->op->name, PLACE_SCRATCH, TT_INT64, narrow[k]->ndim,
                                   narrow[k]->shape, true);
        if (wide[k] == NULL) return (tt_status)tt_error_code();
    }
    c->out = wide;
    tt_status status = kernels->forward(c);
    c->out = out;
    for (int k = 0; k < c->n_out && status == TT_OK; k++) {
        if (wide[k] != narrow[k])
            dtype_convert(narrow[k]->data, narrow[k]->dtype, wide[k]->data, TT_INT64,
                          narrow[k]->numel);
    }
    return status;
}

/* Only floats have gradients: an operation without a floating output is not recorded either. */
static bool has_gradient(const tt_call *c)
{
    for (int k = 0; k < c->n_out; k++) {
        if (dtype_is_float(c->spec[k].dtype)) return true;
    }
    return false;
}

static tt_status run(tt_call *c)
{
    TT_TRY(check_inputs(c));
    if (c->op->prepare != NULL) TT_TRY(c->op->prepare(c));
    TT_TRY(arrange_inputs(c));
    TT_TRY(c->op->infer(c));
    c->recording = c->recording && has_gradient(c);
    for (int k = 0; k < c->n_out; k++) {
        c->out[k] = make_output(c, k, c->recording ? PLACE_STEP : c->place);
        if (c->out[k] == NULL) return (tt_status)tt_error_code();
    }
    /* A view computes nothing: its values were checked where they were computed. */
    if (!(c->op->flags & TT_VIEW) && tensor_any_elements(c->out, c->n_out)) {
        TT_TRY(run_kernel(c));
        if (c->ctx->anomaly.checks) TT_TRY(anomaly_check_outputs(c));
    }
    if (!c->recording) return TT_OK;
    return tape_add_op(c->ctx, c->op, c->in, c->n_in, c->out, c->n_out, c->attrs, c->saved);
}

/* Outputs without a gradient remember the operation that is the reason, so that an error can name
 * it. */
static void mark_blocked(const tt_call *c, tt_tensor *const *in)
{
    const tt_op *blocked_by = NULL;
    for (int i = 0; i < c->n_in && c->ctx->grad_enabled; i++) {
        if (in[i] == NULL) continue;
        if (in[i]->requires_grad) blocked_by = c->op;
        else if (blocked_by == NULL) blocked_by = in[i]->blocked_by;
    }
    for (int k = 0; k < c->n_out && blocked_by != NULL; k++) {
        if (!c->out[k]->requires_grad) c->out[k]->blocked_by = blocked_by;
    }
}

tt_status apply_op(tt_ctx *ctx, int id, tt_tensor **in, int n_in, const tt_attrs *attrs,
                   tt_place place, tt_tensor **out)
{
    const tt_op *op = tt_ops[id];
    tt_tensor *inputs[TT_MAX_IN] = {NULL};
    /* `out` may be the caller's input array, so it is written last. */
    tt_tensor *made[TT_MAX_OUT] = {NULL};
    tt_spec spec[TT_MAX_OUT]; /* the shape rule fills it */
    tt_call c = {.ctx = ctx,
                 .op = op,
                 .attrs = attrs,
                 .n_in = n_in,
                 .in = inputs,
                 .out = made,
                 .spec = spec,
                 .place = place};
    if (n_in < 0 || n_in > TT_MAX_IN)
        return tt_fail(TT_ERR_ARG, op->name, "expected %d inputs, got %d", op->inputs, n_in);
    c.n_out = op->outputs > 0 ? op->outputs : 1;
    for (int i = 0; i < n_in; i++) {
        inputs[i] = in[i];
        if (in[i] != NULL && in[i]->requires_grad && ctx->grad_enabled && !(op->flags & TT_NOGRAD))
            c.recording = true;
    }
    tape_mark mark = tape_here(ctx);
    arena_mark scratch = arena_here(&ctx->scratch);
    tt_status status = run(&c);
    if (status != TT_OK) {
        for (int k = 0; k < c.n_out; k++) tensor_unref(ctx, made[k]);
        tape_rewind(ctx, mark);
    } else {
        mark_blocked(&c, in);
        /* What was recorded for the inputs, such as broadcasting, is not used by any node. */
        if (!c.recording && place == PLACE_POOL && ctx->tape.newest != mark.newest)
            tape_rewind(ctx, mark);
        for (int k = 0; k < c.n_out; k++) out[k] = made[k];
    }
    if (status != TT_OK || place != PLACE_SCRATCH || c.recording)
        arena_rewind(&ctx->scratch, scratch);
    return status;
}

/* ---- the public entry ---- */

int tt_op_count(void) { return TT_OP_COUNT; }
static const tt_op *op_at(int op) { return op >= 0 && op < TT_OP_COUNT ? tt_ops[op] : NULL; }
const char *tt_op_name(int op) { return op_at(op) ? op_at(op)->name : ""; }
int tt_op_inputs(int op) { return op_at(op) ? op_at(op)->inputs : -1; }
int tt_op_outputs(int op)
{
    return op_at(op) ? (op_at(op)->outputs > 0 ? op_at(op)->outputs : 1) : -1;
}
const char *tt_op_attributes(int op)
{
    return op_at(op) && op_at(op)->attributes ? op_at(op)->attributes : "";
}
int tt_op_differentiable(int op) { return op_at(op) ? !(op_at(op)->flags & TT_NOGRAD) : 0; }

tt_status tt_apply(tt_ctx *ctx, int op, int n_in, const tt_handle *in, int n_ints,
                   const int64_t *ints, int n_reals, const double *reals, tt_handle *out)
{
    TT_TRY(ctx_enter(ctx, tt_op_name(op)));
    if (op_at(op) == NULL) return tt_fail(TT_ERR_ARG, "apply", "there is no operation %d", op);
    const char *name = tt_ops[op]->name;
    if (n_in < 0 || n_in > TT_MAX_IN || n_ints < 0 || n_ints > TT_MAX_INTS || n_reals < 0 ||
        n_reals > TT_MAX_REALS)
        return tt_fail(TT_ERR_ARG, name, "too many inputs (%d) or attributes (%d, %d)", n_in,
                       n_ints, n_reals);
    TT_NEED_LIST(name, n_in, in);
    TT_NEED_LIST(name, n_ints, ints);
    TT_NEED_LIST(name, n_reals, reals);
    TT_NEED(name, out);
    const bool full = ctx->step.chunks > 1 && ctx->step.used > ctx->tape.sweep_above;
    if ((full || ctx->tape.sweep_wanted) && ctx->tape.pass == NULL) release_sweep(ctx);
    tt_attrs attrs = {.n_ints = n_ints, .n_reals = n_reals};
    if (n_ints > 0) memcpy(attrs.ints, ints, (size_t)n_ints * sizeof ints[0]);
    if (n_reals > 0) memcpy(attrs.reals, reals, (size_t)n_reals * sizeof reals[0]);
    tt_tensor *inputs[TT_MAX_IN] = {NULL}, *outputs[TT_MAX_OUT] = {NULL};
    for (int i = 0; i < n_in; i++) {
        if (in[i] == 0) continue;
        inputs[i] = handle_tensor(ctx, in[i], name);
        if (inputs[i] == NULL) return TT_ERR_STALE;
    }
    TT_TRY(handle_reserve(ctx, name, TT_MAX_OUT));
    TT_TRY(apply_op(ctx, op, inputs, n_in, &attrs, PLACE_POOL, outputs));
    for (int k = 0; k < tt_op_outputs(op); k++) out[k] = handle_for(ctx, outputs[k]);
    /* Once per call: a scratch arena that had to grow becomes one chunk. */
    if (ctx->scratch.chunks > 1) arena_reset(&ctx->scratch);
    return TT_OK;
}
