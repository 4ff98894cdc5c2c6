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
    vjp("exp", "ops/exp.c", "v_mul(ctx, dy[0], node->out[0])", "v_mul(ctx, dy[0], node->in[0])"),
    kernel("mul", "ops/mul.c", "d *a", "d *b"),
    vjp("mul", "ops/mul.c", "v_mul(ctx, dy[0], node->in[1])", "dy[0]"),
    kernel("div", "ops/div.c", "-((SUM)d / (SUM)b)", "((SUM)d / (SUM)b)"),
    vjp("div", "ops/div.c", "v_mul(ctx, da, node->out[0])", "da"),
    kernel("tanh", "ops/tanh.c", "1 - b * b", "1 - a * b"),
    kernel(
        "softmax",
        "ops/softmax.c",
        "y[i * stride] * (dy[i * stride] - s)",
        "y[i * stride] * dy[i * stride]",
    ),
    vjp("softmax", "ops/softmax.c", "v_mul(ctx, y, v_sub(ctx, dy[0], total))", "weighted"),
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
    vjp("layer_norm", "fused/layer_norm.c", "v_mul(ctx, dy[0], full)", "full"),
    vjp(
        "layer_norm",
        "fused/layer_norm.c",
        "norm_sum(ctx, dy[0], &r)",
        "v_scale(ctx, norm_sum(ctx, dy[0], &r), 1.001)",
    ),
    vjp(
        "rms_norm",
        "fused/layer_norm.c",
        "v_call(ctx, TT_OP_rms_norm, in, 2, &attrs)",
        "v_call(ctx, TT_OP_layer_norm, in, 3, &attrs)",
    ),
    kernel("layer_norm_backward", "fused/layer_norm.c", "of_dh * dx + bend * h", "of_dh * dx"),
    kernel("layer_norm_backward", "fused/layer_norm.c", "d[i] - of_d - h * of_dh", "d[i] - of_d"),
    vjp(
        "layer_norm_backward",
        "fused/layer_norm.c",
        "v_mul(ctx, h, v_mul(ctx, bend, rstd))",
        "v_mul(ctx, h, bend)",
    ),
    vjp("layer_norm_backward", "fused/layer_norm.c", "v_mul(ctx, dg, node->in[2])", "dg"),
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
    vjp("gelu", "ops/gelu.c", "times_slope(ctx, node, dy[0], node->in[0])", "dy[0]"),
    kernel("gelu_backward", "loops/activations.h", "2 - x2", "1 - x2"),
    kernel("gelu_backward", "loops/activations.h", "1 - 2 * s", "1 - s"),
    vjp("gelu_backward", "ops/gelu.c", "v_mul(ctx, node->in[0], dy[0])", "dy[0]"),
    vjp("gelu_backward", "ops/gelu.c", "v_mul(ctx, steep, odd)", "steep"),
    kernel("matmul", "ops/matmul.c", "c->acc[0]", "false"),
    vjp(
        "matmul",
        "ops/matmul.c",
        "v_matmul(ctx, v_transpose(ctx, a), dy[0])",
        "v_neg(ctx, v_matmul(ctx, v_transpose(ctx, a), dy[0]))",
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
        "column_sums(dz, rows, out, c->dx[2], c->acc[2]);",
        "column_sums(dz, rows, out, c->dx[2], true);",
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
        "reduce_sum(&dy, reduced, c->dx[0], x->numel, total, c->acc[0]);",
        "reduce_sum(&dy, reduced, c->dx[0], x->numel, total, false);",
    ),
    vjp(
        "expand",
        "ops/expand.c",
        "v_sum(ctx, dy[0], n, dims, true)",
        "v_scale(ctx, v_sum(ctx, dy[0], n, dims, true), 0.5)",
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
    vjp("slice", "ops/slice.c", "attrs.n_ints = 5;", "attrs.n_ints = 5, attrs.ints[1] = 0;"),
    kernel("embedding", "ops/embedding.c", "dst[i] += src[i];", "dst[i] = src[i];"),
    vjp(
        "embedding",
        "ops/embedding.c",
        "v_call(ctx, TT_OP_embedding_backward, in, 2, &attrs)",
        "v_scale(ctx, v_call(ctx, TT_OP_embedding_backward, in, 2, &attrs), -1.0)",
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
        "p.dy.data = as_writable(c->dy[0]);",
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
        "share * p->w_sum * g",
        "share * (SUM)p->n * g",
    ),
    vjp(
        "cross_entropy",
        "fused/cross_entropy.c",
        "v_sub(ctx, v_mul(ctx, share, v_softmax(ctx, x, 1)), certain)",
        "v_mul(ctx, share, v_softmax(ctx, x, 1))",
    ),
    kernel(
        "nll_loss",
        "fused/cross_entropy.c",
        "weight_of_row(p, r) * row_gradient(p, r)",
        "row_gradient(p, r)",
    ),
    vjp("nll_loss", "fused/cross_entropy.c", "v_neg(ctx, certain)", "certain"),
    kernel("gather", "ops/gather.c", "*at += part[i];", "*at = part[0];"),
    vjp(
        "scatter_add",
        "ops/gather.c",
        "v_call(ctx, TT_OP_gather, in, 2, &node->attrs)",
        "v_scale(ctx, v_call(ctx, TT_OP_gather, in, 2, &node->attrs), 2.0)",
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
