/* causal_conv1d: every channel filtered along time by taps of its own, from what came so far:
 *     y[b, c, t] = bias[c] + sum_k w[c, k] x[b, c, t - K + 1 + k],    x = 0 before the first step.
 * Inputs: x (B, C, T), w (C, K), bias (C) or absent. In reverse, it looks at what comes later,
 * x[b, c, t + K - 1 - k]: the gradient of x is that of dy. And causal_conv1d_weight, the gradient
 * of w: from x and g (B, C, T) to (C, K), for K taps the sums over b and t of
 * g[b, c, t] x[b, c, t - K + 1 + k]. Gradients of the two are the two again. */
#include "../op.h"

TT_ATTRS(causal_conv1d, reverse)
TT_ATTRS(causal_conv1d_weight, taps)
enum { CONV1D_X, CONV1D_WEIGHT, CONV1D_BIAS };
enum { CONV1D_WEIGHT_X, CONV1D_WEIGHT_G }; /* of causal_conv1d_weight */

#ifdef TT_KERNELS

typedef struct {
    const T *x, *w, *g, *bias; /* x and g (B, C, T), w (C, K), bias (C) */
    T *out;                    /* (B, C, T), or (C, K) */
    int64_t batch, channels, steps, taps, per_shard;
    bool reverse, acc;
} conv1d_plan;

/* Shards are rows (b, c). Tap k looks K - 1 - k steps away: not at all, if that is T or more. */
static void conv1d_shard(void *arg, int64_t shard)
{
    const conv1d_plan *p = arg;
    int64_t begin = shard * p->per_shard,
            end = at_most(begin + p->per_shard, p->batch * p->channels), n = p->steps;
    for (int64_t row = begin; row < end; row++) {
        int64_t channel = row % p->channels;
        T *y = p->out + row * n, bias = p->bias != NULL ? p->bias[channel] : 0;
        for (int64_t t = 0; t < n; t++) put(y + t, bias, p->acc);
        for (int64_t k = 0; k < p->taps; k++) {
            int64_t away = p->taps - 1 - k;
            if (away >= n) continue;
            const T *x = p->x + row * n + (p->reverse ? away : 0);
            T *restrict dst = y + (p->reverse ? 0 : away), w = p->w[channel * p->taps + k];
            for (int64_t t = 0; t < n - away; t++) dst[t] += w * x[t];
        }
    }
}

/* Shards are channels, so that the sum over the batch has one order. */
static void conv1d_weight_shard(void *arg, int64_t shard)
{
    const conv1d_plan *p = arg;
    int64_t begin = shard * p->per_shard, end = at_most(begin + p->per_shard, p->channels);
    for (int64_t i = begin * p->taps; i < end * p->taps; i++) {
        int64_t channel = i / p->taps, away = p->taps - 1 - i % p->taps;
        double sum = 0;
        for (int64_t b = 0; b < p->batch; b++) {
            int64_t row = (b * p->channels + channel) * p->steps;
            T dot = 0;
#pragma omp simd reduction(+ : dot)
            for (int64_t t = away; t < p->steps; t++) dot += p->x[row + t - away] * p->g[row + t];
            sum += (double)dot;
        }
        put(p->out + i, (T)sum, p->acc);
    }
}

static void conv1d_run(conv1d_plan p, const tt_tensor *x, int64_t taps)
{
    p.batch = x->shape[0];
    p.channels = x->shape[1];
    p.steps = x->shape[2];
    p.taps = taps;
    bool weight = p.g != NULL;
    p.per_shard = rows_per_shard((weight ? p.batch : 1) * p.steps * at_least_one(taps));
    int64_t rows = weight ? p.channels : p.batch * p.channels;
    parallel_for(shards_of(rows, p.per_shard), weight ? conv1d_weight_shard : conv1d_shard, &p);
}

static tt_status causal_conv1d_forward(tt_call *c)
{
    const tt_tensor *x = c->in[CONV1D_X], *w = c->in[CONV1D_WEIGHT];
    conv1d_run((conv1d_plan){.x = x->data,
                             .w = w->data,
                             .bias = data_of(c->in[CONV1D_BIAS]),
                             .out = c->out[Y]->data,
                             .reverse = causal_conv1d_read(c->attrs).reverse},
               x, w->shape[1]);
    return TT_OK;
}

static tt_status causal_conv1d_backward(tt_call *c)
{
    const tt_tensor *x = c->in[CONV1D_X], *w = c->in[CONV1D_WEIGHT];
    int64_t taps = w->shape[1], channels = x->shape[1];
    bool reverse = causal_conv1d_read(c->attrs).reverse;
    const T *dy = c->dy[Y];
    T *dbias = c->dx[CONV1D_BIAS];
    if (c->dx[CONV1D_X] != NULL)
        conv1d_run((conv1d_plan){.x = dy,
                                 .w = w->data,
                                 .out = c->dx[CONV1D_X],
                                 .reverse = !reverse,
                                 .acc = c->acc[CONV1D_X]},
                   x, taps);
    if (c->dx[CONV1D_WEIGHT] != NULL)
        conv1d_run((conv1d_plan){.x = reverse ? dy : x->data,
                                 .g = reverse ? x->data : dy,
                                 .out = c->dx[CONV1D_WEIGHT],
                                 .acc = c->acc[CONV1D_WEIGHT]},
                   x, taps);
    for (int64_t i = 0; dbias != NULL && i < channels; i++) {
        double sum = 0;
        for (int64_t b = 0; b < x->shape[0]; b++)
            sum += row_sum(dy + (b * channels + i) * x->shape[2], x->shape[2], 1);
        put(dbias + i, (T)sum, c->acc[CONV1D_BIAS]);
    }
    return TT_OK;
}
TT_KERNELS_OF(causal_conv1d, causal_conv1d_forward, causal_conv1d_backward)

static tt_status causal_conv1d_weight_forward(tt_call *c)
{
    const tt_tensor *x = c->in[CONV1D_WEIGHT_X], *g = c->in[CONV1D_WEIGHT_G];
    conv1d_run((conv1d_plan){.x = x->data, .g = g->data, .out = c->out[Y]->data}, x,
               causal_conv1d_weight_read(c->attrs).taps);
    return TT_OK;
}

/* With v = dy as taps: what g meets is x filtered by v, and the other way round for x. */
static tt_status causal_conv1d_weight_backward(tt_call *c)
{
    const tt_tensor *x = c->in[CONV1D_WEIGHT_X];
    for (int i = CONV1D_WEIGHT_X; i <= CONV1D_WEIGHT_G; i++) {
        const tt_tensor *other = i == CONV1D_WEIGHT_X ? c->in[CONV1D_WEIGHT_G] : x;
        if (c->dx[i] != NULL)
            conv1d_run((conv1d_plan){.x = other->data,
                                     .w = c->dy[Y],
                                     .out = c->dx[i],
                                     .reverse = i == CONV1D_WEIGHT_X,
                                     .acc = c->acc[i]},
                       x, causal_conv1d_weight_read(c->attrs).taps);
    }
    return TT_OK;
}
TT_KERNELS_OF(causal_conv1d_weight, causal_conv1d_weight_forward, causal_conv1d_weight_backward)

#else

static tt_status causal_conv1d_infer(tt_call *c)
{
    const tt_tensor *x = c->in[CONV1D_X], *w = c->in[CONV1D_WEIGHT], *bias = c->in[CONV1D_BIAS];
    bool fits = causal_conv1d_complete(c->attrs) && x->ndim == 3 && w->ndim == 2 &&
                w->shape[0] == x->shape[1] &&
                (bias == NULL || (bias->ndim == 1 && bias->shape[0] == x->shape[1]));
    if (!fits)
        return tt_fail(TT_ERR_SHAPE, c->op->name,
                       "expected x (B, C, T), weight (C, K) and bias (C), got %s, %s and %s",
                       SHAPE_TEXT(x), SHAPE_TEXT(w), bias != NULL ? SHAPE_TEXT(bias) : "no bias");
    c->spec[Y] = (tt_spec){.dtype = x->dtype, .ndim = 3};
    memcpy(c->spec[Y].shape, x->shape, sizeof x->shape);
    return TT_OK;
}

static tt_tensor *conv1d_call(tt_ctx *ctx, tt_tensor *x, tt_tensor *w, bool reverse)
{
    return v_call(ctx, TT_OP_causal_conv1d, INPUTS(x, w, NULL),
                  ATTRS(causal_conv1d, .reverse = reverse));
}

static void causal_conv1d_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy,
                              const bool *need, tt_tensor **dx)
{
    bool reverse = causal_conv1d_read(&node->attrs).reverse;
    tt_tensor *x = node->in[CONV1D_X], *w = node->in[CONV1D_WEIGHT];
    int64_t others[2] = {0, 2};
    if (need[CONV1D_X]) dx[CONV1D_X] = conv1d_call(ctx, dy[Y], w, !reverse);
    if (need[CONV1D_WEIGHT])
        dx[CONV1D_WEIGHT] = v_call(ctx, TT_OP_causal_conv1d_weight,
                                   INPUTS(reverse ? dy[Y] : x, reverse ? x : dy[Y]),
                                   ATTRS(causal_conv1d_weight, .taps = w->shape[1]));
    if (need[CONV1D_BIAS]) dx[CONV1D_BIAS] = v_sum(ctx, dy[Y], 2, others, false);
}

static tt_status causal_conv1d_weight_infer(tt_call *c)
{
    const tt_tensor *x = c->in[CONV1D_WEIGHT_X], *g = c->in[CONV1D_WEIGHT_G];
    const int64_t taps = causal_conv1d_weight_read(c->attrs).taps;
    if (x->ndim != 3 || !tensor_same_shape(x, g) || !causal_conv1d_weight_complete(c->attrs) ||
        taps < 0)
        return tt_fail(TT_ERR_SHAPE, c->op->name, "expected two of shape (B, C, T), got %s and %s",
                       SHAPE_TEXT(x), SHAPE_TEXT(g));
    c->spec[Y] = (tt_spec){.dtype = x->dtype, .ndim = 2, .shape = {x->shape[1], taps}};
    return TT_OK;
}

static void causal_conv1d_weight_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy,
                                     const bool *need, tt_tensor **dx)
{
    tt_tensor *x = node->in[CONV1D_WEIGHT_X], *g = node->in[CONV1D_WEIGHT_G];
    if (need[CONV1D_WEIGHT_X]) dx[CONV1D_WEIGHT_X] = conv1d_call(ctx, g, dy[Y], true);
    if (need[CONV1D_WEIGHT_G]) dx[CONV1D_WEIGHT_G] = conv1d_call(ctx, x, dy[Y], false);
}

TT_OP(causal_conv1d, .inputs = 3, .attributes = causal_conv1d_names, .optional = BIT(CONV1D_BIAS),
      .keeps = BIT(CONV1D_X) | BIT(CONV1D_WEIGHT), .infer = causal_conv1d_infer,
      .vjp = causal_conv1d_vjp)
TT_OP(causal_conv1d_weight, .inputs = 2, .attributes = causal_conv1d_weight_names,
      .keeps = BIT(CONV1D_WEIGHT_X) | BIT(CONV1D_WEIGHT_G), .infer = causal_conv1d_weight_infer,
      .vjp = causal_conv1d_weight_vjp)

#endif
