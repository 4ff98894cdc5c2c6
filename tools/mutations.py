"""The mutations of tools/mutation_testing.py: each breaks one backward rule and nothing else.

``right`` is text that stands exactly once in the file: an expression, or statements that end with a
semicolon. Only one mutation is active at a time, so several may break the same operation.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    row: str  # the row of the test table that has to find it
    rule: str  # what is broken
    file: str  # under csrc/
    right: str
    wrong: str


def kernel(row: str, file: str, right: str, wrong: str) -> Mutation:
    return Mutation(row, "kernel", file, right, wrong)


def vjp(row: str, file: str, right: str, wrong: str) -> Mutation:
    return Mutation(row, "vjp", file, right, wrong)


MUTATIONS = (
    kernel("exp", "ops/exp.c", "d *b", "d *a"),
    vjp("exp", "ops/exp.c", "v_mul(ctx, dy[Y], node->out[Y])", "v_mul(ctx, dy[Y], node->in[X])"),
    kernel("mul", "ops/mul.c", "d *a", "d *b"),
    vjp("mul", "ops/mul.c", "v_mul(ctx, dy[Y], node->in[B])", "dy[Y]"),
    kernel("div", "ops/div.c", "-((SUM)d / (SUM)b)", "((SUM)d / (SUM)b)"),
    vjp("div", "ops/div.c", "v_mul(ctx, da, node->out[Y])", "da"),
    kernel("tanh", "ops/tanh.c", "1 - b * b", "1 - a * b"),
    kernel(
        "softmax",
        "ops/softmax.c",
        "y[i * stride] * (dy[i * stride] - s)",
        "y[i * stride] * dy[i * stride]",
    ),
    vjp("softmax", "ops/softmax.c", "v_mul(ctx, y, v_sub(ctx, dy[Y], total))", "weighted"),
    kernel(
        "log_softmax",
        "ops/softmax.c",
        "dy[i * stride] - tt_exp_negative(y[i * stride]) * s",
        "dy[i * stride] - tt_exp_negative(y[i * stride])",
    ),
    vjp("log_softmax", "ops/softmax.c", "v_unary(ctx, TT_OP_exp, y)", "y"),
    kernel(
        "layer_norm",
        "fused/layer_norm.c",
        "rstd * (g - sum_g - (x[i] - mean) * sum_gh)",
        "rstd * (g - sum_g)",
    ),
    kernel(
        "layer_norm",
        "fused/layer_norm.c",
        "(x[r * p->n + i] - mean[r]) * rstd[r]",
        "(x[r * p->n + i] - mean[r])",
    ),
    vjp("layer_norm", "fused/layer_norm.c", "v_mul(ctx, dy[Y], full)", "full"),
    vjp(
        "layer_norm",
        "fused/layer_norm.c",
        "norm_sum(ctx, dy[Y], &r)",
        "v_scale(ctx, norm_sum(ctx, dy[Y], &r), 1.001)",
    ),
    vjp(
        "rms_norm",
        "fused/layer_norm.c",
        "v_call(ctx, TT_OP_rms_norm, INPUTS(rows, NULL), attrs)",
        "v_call(ctx, TT_OP_layer_norm, INPUTS(rows, NULL, NULL), attrs)",
    ),
    kernel(
        "layer_norm_backward", "fused/layer_norm.c", "mean_dh * dx + h_factor * h", "mean_dh * dx"
    ),
    kernel(
        "layer_norm_backward", "fused/layer_norm.c", "d[i] - mean_d - h * mean_dh", "d[i] - mean_d"
    ),
    vjp(
        "layer_norm_backward",
        "fused/layer_norm.c",
        "v_mul(ctx, h, v_mul(ctx, h_factor, rstd))",
        "v_mul(ctx, h, h_factor)",
    ),
    vjp("layer_norm_backward", "fused/layer_norm.c", "v_mul(ctx, dg, norm_dy)", "dg"),
    kernel(
        "gelu",
        "loops/activations.h",
        "x * (T)INVERSE_SQRT_2PI * bell",
        "x * (T)INVERSE_SQRT_2PI * bell * bell",
    ),
    kernel(
        "gelu",
        "loops/activations.h",
        "3 * (T)GELU_TANH_CUBIC * x * x",
        "2 * (T)GELU_TANH_CUBIC * x * x",
    ),
    vjp("gelu", "ops/gelu.c", "times_slope(ctx, node, dy[Y], node->in[X])", "dy[Y]"),
    kernel("gelu_backward", "loops/activations.h", "2 - x2", "1 - x2"),
    kernel("gelu_backward", "loops/activations.h", "1 - 2 * s", "1 - s"),
    vjp(
        "gelu_backward",
        "ops/gelu.c",
        "v_mul(ctx, node->in[GELU_BACKWARD_DY], dy[Y])",
        "dy[Y]",
    ),
    vjp("gelu_backward", "ops/gelu.c", "v_mul(ctx, ds_du2, odd)", "ds_du2"),
    kernel("matmul", "ops/matmul.c", "c->acc[A]", "false"),
    vjp(
        "matmul",
        "ops/matmul.c",
        "v_matmul(ctx, v_transpose(ctx, a), dy[Y])",
        "v_neg(ctx, v_matmul(ctx, v_transpose(ctx, a), dy[Y]))",
    ),
    kernel(
        "linear",
        "fused/linear.c",
        "column_sums_block(arg, i, at_most(COLUMN_BLOCK, row + rows - i));",
        ";",
    ),
    kernel(
        "linear",
        "fused/linear.c",
        "column_sums(dz, rows, out, db, c->acc[LINEAR_BIAS]);",
        "column_sums(dz, rows, out, db, true);",
    ),
    kernel("linear_activation", "loops/activations.h", "s * (1 + x * (1 - s))", "s * (1 + x * s)"),
    kernel("linear_activation", "loops/activations.h", "y[i] <= 0 ? 0 : dy[i]", "dy[i]"),
    vjp(
        "linear",
        "fused/linear.c",
        "v_sum(ctx, g, 1, first_axis, false)",
        "v_constant(ctx, g->dtype, 1, node->in[2]->shape, 1.0)",
    ),
    kernel("sum", "ops/sum.c", "TT_ROW(sum_row_backward, a)", "TT_ROW(sum_row_backward, a + 1)"),
    kernel(
        "expand",
        "ops/expand.c",
        "reduce_sum(&dy, reduced, c->dx[X], x->numel, total, c->acc[X]);",
        "reduce_sum(&dy, reduced, c->dx[X], x->numel, total, false);",
    ),
    vjp(
        "expand",
        "ops/expand.c",
        "v_sum(ctx, dy[Y], n, dims, true)",
        "v_scale(ctx, v_sum(ctx, dy[Y], n, dims, true), 0.5)",
    ),
    kernel(
        "slice",
        "ops/slice.c",
        "memcpy(first, src, (size_t)p->run * sizeof(T));",
        "memcpy(row, src, (size_t)p->run * sizeof(T));",
    ),
    kernel(
        "split",
        "ops/slice.c",
        "dst[j] += src[i * p->run + j];",
        "dst[j] = src[i * p->run + j];",
    ),
    vjp(
        "slice",
        "ops/slice.c",
        "ATTRS(slice_backward, .axis = a.axis, .start = a.start, .step = a.step,\n"
        "                         .length = a.length, .size = size)",
        "ATTRS(slice_backward, .axis = a.axis, .start = 0, .step = a.step, .length = a.length, "
        ".size = size)",
    ),
    kernel("embedding", "ops/embedding.c", "dst[i] += src[i];", "dst[i] = src[i];"),
    vjp(
        "embedding",
        "ops/embedding.c",
        "v_call(ctx, TT_OP_embedding_backward, INPUTS(dy[Y], index), attrs)",
        "v_scale(ctx, v_call(ctx, TT_OP_embedding_backward, INPUTS(dy[Y], index), attrs), -1.0)",
    ),
    kernel(
        "scaled_dot_product_attention",
        "fused/attention.h",
        "x[k] * (g[k] - dot[k])",
        "x[k] * g[k]",
    ),
    kernel(
        "scaled_dot_product_attention",
        "fused/attention.h",
        "x[j] * (g[j] - dot)",
        "x[j] * g[j]",
    ),
    vjp(
        "scaled_dot_product_attention",
        "fused/scaled_dot_product_attention.c",
        "v_sub(ctx, dweights, mean)",
        "dweights",
    ),
    kernel(
        "scaled_dot_product_attention",
        "fused/attention.h",
        "if (keep != NULL) tile_drop(&t, ds, keep, keep_stride);",
        ";",
    ),
    kernel(
        "scaled_dot_product_attention",
        "fused/attention.h",
        "if (p->dmask != NULL) tile_dmask(p, &t, ds);",
        ";",
    ),
    vjp(
        "scaled_dot_product_attention",
        "fused/scaled_dot_product_attention.c",
        "attention_dropout(ctx, node, weights)",
        "weights",
    ),
    vjp(
        "scaled_dot_product_attention",
        "fused/scaled_dot_product_attention.c",
        "v_add(ctx, scores, mask)",
        "scores",
    ),
    kernel(
        "scaled_dot_product_attention",
        "fused/attention.h",
        "first < begin || p->dk.acc",
        "1",
    ),
    kernel(
        "scaled_dot_product_attention_qkvpacked",
        "fused/scaled_dot_product_attention_qkvpacked.c",
        "p.dy.data = as_writable(c->dy[Y]);",
        ";",
    ),
    vjp(
        "scaled_dot_product_attention_qkvpacked",
        "fused/scaled_dot_product_attention_qkvpacked.c",
        "v_slice(ctx, qkv, 2, i * channels, channels)",
        "v_slice(ctx, qkv, 2, (i > 0) * channels, channels)",
    ),
    kernel("cross_entropy", "fused/cross_entropy.c", "dx[p->target[r]] -= at_target;", ";"),
    kernel(
        "cross_entropy",
        "fused/cross_entropy.c",
        "g / p->total",
        "g / (double)p->rows",
    ),
    kernel(
        "cross_entropy",
        "fused/cross_entropy.c",
        "smoothing_each * p->w_sum * g",
        "smoothing_each * (SUM)p->n * g",
    ),
    vjp(
        "cross_entropy",
        "fused/cross_entropy.c",
        "v_sub(ctx, v_mul(ctx, row_weight, v_softmax(ctx, x, 1)), soft_target)",
        "v_mul(ctx, row_weight, v_softmax(ctx, x, 1))",
    ),
    kernel(
        "nll_loss",
        "fused/cross_entropy.c",
        "weight_of_row(p, r) * row_gradient(p, r)",
        "row_gradient(p, r)",
    ),
    vjp("nll_loss", "fused/cross_entropy.c", "v_neg(ctx, soft_target)", "soft_target"),
    kernel("gather", "ops/gather.c", "*at += part[i];", "*at = part[0];"),
    vjp(
        "scatter_add",
        "ops/gather.c",
        "v_call(ctx, TT_OP_gather, INPUTS(dy[Y], index), &node->attrs)",
        "v_scale(ctx, v_call(ctx, TT_OP_gather, INPUTS(dy[Y], index), &node->attrs), 2.0)",
    ),
    kernel(
        "causal_conv1d",
        "ops/causal_conv1d.c",
        "p->x[row + t - away] * p->g[row + t]",
        "p->x[row + t] * p->g[row + t]",
    ),
    kernel("lstm", "fused/lstm.c", "all_h * o[j] * (1 - tanh_c * tanh_c)", "all_h * o[j]"),
    kernel("lstm", "fused/lstm.c", "all_c * c_prev[j] * f[j] * (1 - f[j])", "all_c * c_prev[j]"),
    kernel("lstm", "fused/lstm.c", "p->h + (at - z->per_step) * n", "p->h + at * n"),
    vjp("lstm", "fused/lstm.c", "lstm_past_logistic(ctx, f, c_prev)", "c_prev"),
)
