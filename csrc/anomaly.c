/* anomaly: finding the first value that is not finite, while the caller asks for it.
 *
 * The caller gives each line of its code a number. A node has the number of the line that recorded
 * it, and a node that a vjp records has the number of the node being differentiated. An error
 * returns the number. */
#include "anomaly.h"

#include <math.h>
#include <stdio.h>

#include "pass.h"

int tt_get_anomaly(const tt_ctx *ctx)
{
    if (ctx == NULL || !ctx->anomaly.on) return TT_ANOMALY_OFF;
    return ctx->anomaly.checks ? TT_ANOMALY_CHECKS : TT_ANOMALY_LINES;
}

tt_status tt_set_anomaly(tt_ctx *ctx, int mode, int *before)
{
    TT_TRY(ctx_enter(ctx, "detect_anomaly"));
    if (mode < TT_ANOMALY_OFF || mode > TT_ANOMALY_CHECKS)
        return tt_fail(TT_ERR_ARG, "detect_anomaly", "unknown mode %d", mode);
    if (before != NULL) *before = tt_get_anomaly(ctx);
    ctx->anomaly.on = mode != TT_ANOMALY_OFF;
    ctx->anomaly.checks = mode == TT_ANOMALY_CHECKS;
    ctx->anomaly.origin = 0;
    return TT_OK;
}

tt_status tt_set_origin(tt_ctx *ctx, int origin)
{
    TT_TRY(ctx_enter(ctx, "detect_anomaly"));
    ctx->anomaly.origin = ctx->anomaly.on ? origin : 0;
    return TT_OK;
}

tt_status anomaly_name_line(const tt_ctx *ctx, int origin, tt_status status)
{
    const bool missed = origin == 0 && status == TT_ERR_NONFINITE;
    if (ctx->anomaly.on) error_set_origin(missed ? -1 : origin);
    return status;
}

/* The offset of element i of a tensor of these strides, and its index as text. */
static int64_t locate(const tt_tensor *t, int64_t i, const char **text)
{
    int64_t index[TT_MAX_DIMS], offset = 0;
    for (int d = t->ndim - 1; d >= 0; d--) {
        index[d] = i % t->shape[d];
        offset += index[d] * t->strides[d];
        i /= t->shape[d];
    }
    if (text != NULL) *text = shape_text(t->ndim, index);
    return offset;
}

/* The first element that is not finite; -1: there is none. data: contiguous, NULL: the tensor's. */
static int64_t first_bad(const tt_tensor *t, const void *data, double *value)
{
    if (!dtype_is_float(t->dtype)) return -1;
    bool dense = data != NULL || t->contiguous;
    const void *from = data != NULL ? data : t->data;
    for (int64_t i = 0; i < t->numel; i++) {
        *value = dtype_float_at(t->dtype, from, dense ? i : locate(t, i, NULL));
        if (!isfinite(*value)) return i;
    }
    return -1;
}

enum { TEXT = 160 };

/* "has shape (2, 3) and is not finite: nan at index (0, 1)" */
static void describe(char *text, const tt_tensor *t, int64_t bad, double value)
{
    const char *index = "";
    locate(t, bad, &index);
    const char *what = isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
    snprintf(text, TEXT, "has shape %s and is not finite: %s at index %s", SHAPE_TEXT(t), what,
             index);
}

static const char *direction(const tt_pass *p)
{
    return p != NULL && p->order > 0 ? "double backward" : "backward";
}

/* Whether an input had such a value already, such as a mask of infinities: then the operation is
 * only the first that met it. */
static void describe_source(char *text, const tt_call *c)
{
    text[0] = '\0';
    for (int i = 0; i < c->n_in; i++) {
        double value = 0;
        if (c->in[i] == NULL || first_bad(c->in[i], NULL, &value) < 0) continue;
        snprintf(text, TEXT, " (so was input %d)", i);
        return;
    }
}

tt_status anomaly_check_outputs(const tt_call *c)
{
    const tt_node *source = c->ctx->anomaly.differentiating;
    for (int k = 0; k < c->n_out; k++) {
        double value = 0;
        int64_t bad = first_bad(c->out[k], NULL, &value);
        if (bad < 0) continue;
        char what[TEXT], given[TEXT];
        describe(what, c->out[k], bad, value);
        describe_source(given, c);
        if (source == NULL)
            tt_fail(TT_ERR_NONFINITE, c->op->name, "forward: output %d %s%s", k, what, given);
        else
            tt_fail(TT_ERR_NONFINITE, source->op->name,
                    "%s with create_graph: output %d of its operation %s %s%s",
                    direction(c->ctx->tape.pass), k, c->op->name, what, given);
        return anomaly_name_line(c->ctx, source != NULL ? source->origin : c->ctx->anomaly.origin,
                                 TT_ERR_NONFINITE);
    }
    return TT_OK;
}

tt_status anomaly_check_gradients(const tt_pass *p, const tt_node *node)
{
    for (int i = 0; i < node->n_in; i++) {
        const tt_tensor *t = node->in[i];
        double value = 0;
        if (!pass_wants_input(p, node, i) || !pass_has_cot(p, t)) continue;
        int64_t bad = first_bad(t, t->pass.cot, &value);
        if (bad < 0) continue;
        char what[TEXT];
        describe(what, t, bad, value);
        return tt_fail(TT_ERR_NONFINITE, tape_node_name(node), "%s: the gradient of input %d %s",
                       direction(p), i, what);
    }
    return TT_OK;
}

tt_status anomaly_check_value(const tt_ctx *ctx, const char *name, const char *what, int i,
                              const tt_tensor *t, int origin)
{
    double value = 0;
    int64_t bad = ctx->anomaly.checks ? first_bad(t, NULL, &value) : -1;
    if (bad < 0) return TT_OK;
    char text[TEXT];
    describe(text, t, bad, value);
    return anomaly_name_line(ctx, origin,
                             tt_fail(TT_ERR_NONFINITE, name, "%s %d %s", what, i, text));
}
