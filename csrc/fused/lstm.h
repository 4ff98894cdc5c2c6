/* lstm: the words that the rules of lstm and lstm_scan share. What is (T, N, 4H) has the gates i,
 * f, g, o side by side. */
#ifndef TT_LSTM_H
#define TT_LSTM_H

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

/* x (T, N, H) one step later; `first` (N, H) at step 0, or zeros. */
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
    tt_tensor *in[3] = {x, w, b};
    tt_attrs none = {0};
    return v_call(ctx, TT_OP_linear, in, 3, &none);
}

static bool lstm_scan_call(tt_ctx *ctx, tt_tensor *const *in, int64_t reverse, tt_tensor **out)
{
    tt_tensor *inputs[6];
    tt_attrs attrs = {.n_ints = 1, .ints = {reverse}};
    for (int i = 0; i < 6; i++) {
        inputs[i] = in[i];
        if (in[i] == NULL) return false;
    }
    return apply_op(ctx, TT_OP_lstm_scan, inputs, 6, &attrs, PLACE_STEP, out) == TT_OK;
}

#endif
