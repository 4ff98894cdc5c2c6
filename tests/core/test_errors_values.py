"""Axes, indices and values that are not there: the exception, and what its message says."""

from __future__ import annotations

import contextlib
import gc

import numpy as np
import pytest

import tinytape as tt
from tinytape import nn
from tinytape.nn import functional as F

from ..support.given import I, W, X, attention
from .test_errors import SHAPES, STATES, TYPES

# ---- axes and indices ----------------------------------------------------------------------------

INDICES = {
    "sum": (lambda: X.sum(2), "sum: axis 2 .*2 dimensions"),
    "sum negative": (lambda: X.sum(-3), "sum: axis -3"),
    "sum 0-d": (lambda: tt.tensor(1.0).sum(1), "sum: axis 1"),
    "sum of one of several": (lambda: X.sum((0, 5)), "sum: axis 5"),
    "mean": (lambda: X.mean(2), "axis 2"),
    "softmax": (lambda: F.softmax(X, 2), "softmax: axis 2"),
    "softmax 0-d": (lambda: F.softmax(tt.tensor(1.0), 1), "softmax: axis 1"),
    "log_softmax": (lambda: F.log_softmax(X, -3), "log_softmax: axis -3"),
    "transpose": (lambda: X.transpose(0, 2), "transpose: axis 2"),
    "permute": (lambda: X.permute(0, 2), "permute: axis 2"),
    "unsqueeze": (lambda: X.unsqueeze(4), "unsqueeze: axis 4"),
    "squeeze": (lambda: X.squeeze(2), "squeeze: axis 2"),
    "flatten": (lambda: X.flatten(0, 2), "flatten: axis 2"),
    "split": (lambda: X.split(1, 2), "split: axis 2"),
    "narrow axis": (lambda: X.narrow(2, 0, 1), "narrow: axis 2"),
    "narrow": (lambda: X.narrow(1, 2, 2), "start 2.*length 2.*size 3"),
    "narrow before": (lambda: X.narrow(1, -4, 1), "length 1.*size 3"),
    "narrow negative": (lambda: X.narrow(1, 0, -1), "length -1.*size 3"),
    "narrow huge": (lambda: X.narrow(1, 2**62, 2**62), "size 3"),
    "index": (lambda: X[2], "index 2 .*axis 0 of size 2"),
    "index negative": (lambda: X[0, -4], "index -4 .*axis 1 of size 3"),
    "index huge": (lambda: X[2**70], "out of range"),
    "too many indices": (lambda: X[0, 0, 0], r"too many indices \(3\).*2 dimensions"),
    "index 0-d": (lambda: tt.tensor(1.0)[0], "too many indices"),
    "list index": (lambda: X[[0, 2]], "index 2 at position 1 .*axis 0 of size 2"),
    "array index": (lambda: X[:, np.array([[0, -4]])], "index -4 at position 1 .*axis 1 of size 3"),
    "mask index": (lambda: X[np.ones(3, bool)], r"mask of shape \(3,\).*\(2,\)"),
    "indices that do not broadcast": (lambda: X[[0, 1], [0, 1, 2]], r"\(2,\), \(3,\)"),
    "gather": (lambda: X.gather(1, I.view(2, 1) + 2), "gather: index 3 at position 1 .*size 3"),
    "gather axis": (lambda: X.gather(2, I.view(2, 1)), "gather: axis 2"),
    "scatter_add": (lambda: X.scatter_add(0, I.view(1, 2) - 1, X), "scatter_add: index -1"),
    "index_select": (lambda: X.index_select(1, I + 2), "index_select: index 3 at position 1"),
    "two ellipses": (lambda: X[..., ...], "Ellipsis"),
    "index of nothing": (lambda: tt.zeros(0, 2)[0], "index 0 .*size 0"),
    "size": (lambda: X.size(2), None),
    "embedding": (
        lambda: F.embedding(tt.tensor([[0, 3]]), tt.ones(3, 2)),
        "embedding: index 3 at position 1 .*3 rows",
    ),
    "embedding negative": (
        lambda: F.embedding(tt.tensor([-1]), tt.ones(3, 2)),
        "embedding: index -1",
    ),
    "embedding huge": (
        lambda: F.embedding(tt.tensor(2**62), tt.ones(3, 2)),
        f"embedding: index {2**62}",
    ),
    "embedding least": (
        lambda: F.embedding(tt.tensor(-(2**63)), tt.ones(3, 2)),
        "embedding: index -9223",
    ),
    "embedding of no rows": (
        lambda: F.embedding(tt.tensor(0), tt.ones(0, 2)),
        "embedding: index 0",
    ),
    "embedding strided": (
        lambda: F.embedding(tt.tensor([[0, 1], [2, 9]]).transpose(0, 1)[1], tt.ones(3, 2)),
        "index 9 at position 1",
    ),
    "cross_entropy": (
        lambda: F.cross_entropy(X, tt.tensor([0, 3])),
        "cross_entropy: target 3 at position 1 .*3 classes",
    ),
    "cross_entropy negative": (
        lambda: F.cross_entropy(X, tt.tensor([-1, 0])),
        "cross_entropy: target -1",
    ),
    "cross_entropy huge": (
        lambda: F.cross_entropy(X, tt.tensor([0, 2**62])),
        f"cross_entropy: target {2**62}",
    ),
    "nll_loss": (
        lambda: F.nll_loss(X, tt.tensor([0, 3])),
        "nll_loss: target 3 at position 1 .*3 classes",
    ),
    "cross_entropy -100": (
        lambda: F.cross_entropy(X, tt.tensor([0, -100]), ignore_index=5),
        "target -100",
    ),
}


@pytest.mark.parametrize("name", INDICES)
def test_axes_and_indices_that_do_not_exist(name):
    call, message = INDICES[name]
    with pytest.raises(IndexError, match=message):
        call()


# ---- values --------------------------------------------------------------------------------------

VALUES = {
    "dropout": (lambda: F.dropout(X, 1.5), "dropout: .*between 0 and 1, got 1.5"),
    "dropout negative": (lambda: F.dropout(X, -0.1), "dropout: .*got -0.1"),
    "dropout nan": (lambda: F.dropout(X, float("nan")), "dropout: .*nan"),
    "gelu": (lambda: F.gelu(X, "fast"), "gelu: .*'none' or 'tanh', got 'fast'"),
    "attention packed dropout": (
        lambda: F.scaled_dot_product_attention_qkvpacked(tt.ones(1, 2, 12), 2, 1.5),
        "qkvpacked: dropout_p must be between 0 and 1, got 1.5",
    ),
    "linear_activation": (
        lambda: F.linear_activation(X, W, activation="elu"),
        "linear_activation: .*relu, gelu, .*got 'elu'",
    ),
    "linear_activation none": (
        lambda: F.linear_activation(X, W, activation="none"),
        "linear_activation: .*got 'none'",
    ),
    "reduction": (lambda: F.cross_entropy(X, I, reduction="avg"), "cross_entropy: .*'avg'"),
    "reduction None": (lambda: F.mse_loss(X, X, reduction=None), "mse_loss: reduction .*None"),
    "reduction list": (lambda: F.nll_loss(X, I, reduction=["sum"]), "nll_loss: reduction .*sum"),
    "size_average": (
        lambda: F.cross_entropy(X, I, size_average=True),
        "cross_entropy: size_average .*got True and None",
    ),
    "reduce": (lambda: nn.MSELoss(reduce=False), "MSELoss: size_average .*None and False"),
    "label_smoothing": (
        lambda: F.cross_entropy(X, I, label_smoothing=1.5),
        "cross_entropy: label_smoothing .*got 1.5",
    ),
    "class weight": (
        lambda: F.cross_entropy(X, I, tt.ones(3, requires_grad=True)),
        "cross_entropy: the weight .*constant",
    ),
    "ignore_index of probabilities": (
        lambda: F.cross_entropy(X, X, ignore_index=1),
        "cross_entropy: ignore_index 1 ",
    ),
    "ignore_index": (
        lambda: F.cross_entropy(X, I, ignore_index=2**70),
        "cross_entropy: .*ignore_index",
    ),
    "attention mask and causal": (
        lambda: attention(*[(1, 2, 3)] * 3, attn_mask=tt.ones(2, 2), is_causal=True),
        "attention: expected attn_mask or is_causal=True, got both",
    ),
    "attention dropout": (
        lambda: attention((2, 3), (2, 3), (2, 3), dropout_p=1.5),
        "attention: dropout_p must be between 0 and 1, got 1.5",
    ),
    "attention dropout negative": (
        lambda: attention((2, 3), (2, 3), (2, 3), dropout_p=-0.5),
        "attention: dropout_p .*got -0.5",
    ),
    "attention dropout nan": (
        lambda: attention((2, 3), (2, 3), (2, 3), dropout_p=float("nan")),
        "attention: dropout_p .*got nan",
    ),
    "sum the same twice": (lambda: X.sum((0, -2)), "sum: axis 0 .*once"),
    "sum of too many": (lambda: X.sum([0] * 20), "sum: axis 0 .*once"),
    "permute twice": (lambda: X.permute(0, 0), r"permute: \(0, 0\)"),
    "permute too few": (lambda: X.permute(0), r"permute: \(0,\)"),
    "flatten": (lambda: X.flatten(1, 0), "flatten: start_dim 1"),
    "step": (lambda: X[::-1], "step must be positive, got -1"),
    "step 0": (lambda: X[::0], "step must be positive, got 0"),
    "split": (lambda: X.split(0), "split: .*positive, got 0"),
    "split negative": (lambda: X.split(-1), "split: .*got -1"),
    "split sum": (lambda: X.split([1, 2]), r"split: sizes \[1, 2\].*2"),
    "chunk": (lambda: X.chunk(0), "chunk: .*positive, got 0"),
    "threads": (lambda: tt.set_num_threads(0), "set_num_threads: .*at least 1, got 0"),
    "threads float": (lambda: tt.set_num_threads(1.5), "set_num_threads: .*1.5"),
    "philox": (lambda: tt.random.philox_u64(0, 0, 0, -1), "philox_u64: .*-1"),
    "generator": (lambda: tt.Generator().set_state({"seed": 1}), "seed, stream and offset"),
    "norm": (lambda: nn.utils.clip_grad_norm_([W], 1.0, norm_type=0), "norm_type|clip_grad_norm_"),
    "arange": (lambda: tt.arange(0, 1, 0), "arange: .*step"),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_out_of_range(name):
    W.grad = tt.ones(2, 3)
    call, message = VALUES[name]
    with pytest.raises(ValueError, match=message):
        call()


def test_an_error_hurts_nothing():
    W.grad = None
    y = W * 3
    gc.collect()
    before = tt.memory_stats()
    for table in (SHAPES, TYPES, INDICES, VALUES, STATES):
        for call, _ in table.values():
            with contextlib.suppress(Exception):  # which one is the business of the other tests
                call()
    gc.collect()
    after = tt.memory_stats()
    for key in ("live_handles", "held_tensors"):
        assert after[key] == before[key], key
    y.sum().backward()
    assert W.grad.tolist() == [[3.0] * 3] * 2
    W.grad = None
