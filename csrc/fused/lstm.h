/* lstm: functions that the vjps of lstm and lstm_scan share. A tensor (T, N, 4H) has the gates i,
 * f, g, o side by side. */
#ifndef TT_LSTM_H
#define TT_LSTM_H

/* The outputs of both, and the inputs of lstm_scan. */
enum { LSTM_H, LSTM_C };
enum { SCAN_S_H, SCAN_S_C, SCAN_K, SCAN_R, SCAN_F, SCAN_W, SCAN_INPUTS };

#ifndef TT_KERNELS

/* (T, N, 4H) from the four gates (T, N, H). */
static tt_tensor *lstm_gates(tt_ctx *ctx, tt_tensor *i, tt_tensor *f, tt_tensor *g, tt_tensor *o)
{
    tt_tensor *gate[4] = {i, f, g, o}, *sum = NULL;
    for (int k = 0; k < 4; k++) {
        if (gate[k] == NULL) return NULL;
        int64_t hidden = gate[k]->shape[2];
        tt_tensor *part = v_slice_backward(ctx, gate[k], 2, k * hidden, 4 * hidden);
        sum = k == 0 ? part : v_add(ctx, sum, part);
    }
    return sum;
}

/* x (T, N, H) moved one step later; at step 0 stands `first` (N, H), or zeros. */
static tt_tensor *lstm_delay(tt_ctx *ctx, tt_tensor *x, tt_tensor *first)
{
    if (x == NULL || x->shape[0] == 0) return x;
    int64_t steps = x->shape[0], one[3] = {1, x->shape[1], x->shape[2]};
    tt_tensor *later = v_slice(ctx, x, 0, 0, steps - 1);
    later = v_slice_backward(ctx, later, 0, 1, steps);
    if (first == NULL) return later;
    first = v_slice_backward(ctx, v_reshape(ctx, first, 3, one), 0, 0, steps);
    return v_add(ctx, first, later);
}

static tt_tensor *lstm_affine(tt_ctx *ctx, tt_tensor *x, tt_tensor *w, tt_tensor *b)
{
    const tt_attrs none = {0};
    return v_call(ctx, TT_OP_linear, INPUTS(x, w, b), &none);
}

static bool lstm_scan_call(tt_ctx *ctx, tt_tensor *const *in, bool reverse, tt_tensor **out)
{
    tt_tensor *inputs[SCAN_INPUTS];
    for (int i = 0; i < SCAN_INPUTS; i++) {
        inputs[i] = in[i];
        if (in[i] == NULL) return false;
    }
    return apply_op(ctx, TT_OP_lstm_scan, inputs, SCAN_INPUTS, ATTRS(lstm_scan, .reverse = reverse),
                    PLACE_STEP, out) == TT_OK;
}

#endif

#endif
