"""Misuse: the exception that users of PyTorch expect, the function's name, what was given, what was
expected. Everything runs in this process: a crash would be the worst answer of all."""

from __future__ import annotations

import numpy as np
import pytest

import tinytape as tt
from tinytape import errors
from tinytape.nn import functional as F

from ..support.given import ONES9, B, D, I, W, X, attention

# ---- shapes --------------------------------------------------------------------------------------

SHAPES = {
    "add": (lambda: X + tt.ones(4), r"add: .*\(2, 3\).*\(4,\)"),
    "sub": (lambda: X - tt.ones(2), r"sub: .*\(2, 3\).*\(2,\)"),
    "mul by an array": (lambda: X * np.ones((3, 2), np.float32), r"mul: .*\(2, 3\).*\(3, 2\)"),
    "div": (lambda: tt.div(tt.ones(0), tt.ones(2)), r"div: .*\(0,\).*\(2,\)"),
    "matmul": (lambda: X @ X, r"matmul: .*\(2, 3\).*\(2, 3\)"),
    "matmul vector": (lambda: X @ tt.ones(2), r"matmul: .*\(2, 3\)"),
    "matmul 0-d": (lambda: X @ tt.tensor(1.0), r"matmul: .*\(2, 3\).*\(\)"),
    "matmul batch": (lambda: tt.ones(2, 3, 4) @ tt.ones(3, 4, 5), r"matmul: .*\(2, 3, 4\)"),
    "linear": (lambda: F.linear(X, tt.ones(4, 2)), r"linear: .*\(2, 3\), \(4, 2\)"),
    "linear bias": (lambda: F.linear(X, tt.ones(4, 3), tt.ones(3)), r"linear: .*\(3,\)"),
    "linear 0-d": (lambda: F.linear(tt.tensor(1.0), tt.ones(4, 3)), r"linear: .*\(\)"),
    "linear weight": (lambda: F.linear(X, tt.ones(3)), r"linear: .*\(3,\)"),
    "linear_add residual": (
        lambda: F.linear_add(X, X, tt.ones(4, 3)),
        r"linear_add: expected a residual \(\.\.\., out\) .*\(4, 3\), got \(2, 3\)",
    ),
    "linear_add axes": (
        lambda: F.linear_add(tt.ones(1), X, tt.ones(1, 3)),
        r"linear_add: .*got \(1,\)",
    ),
    "linear_add weight": (
        lambda: F.linear_add(X, X, tt.ones(3, 2)),
        r"linear_add: .*\(2, 3\), \(3, 2\)",
    ),
    "linear_activation": (
        lambda: F.linear_activation(X, tt.ones(4, 2), activation="relu"),
        r"linear_activation: .*\(2, 3\), \(4, 2\)",
    ),
    "layer_norm": (lambda: F.layer_norm(X, 2), r"layer_norm: .*\(..., 2\).*\(2, 3\)"),
    "layer_norm no axes": (lambda: F.layer_norm(X, ()), "layer_norm: "),
    "layer_norm too many": (lambda: F.layer_norm(X, (1, 2, 3)), r"layer_norm: .*\(2, 3\)"),
    "layer_norm weight": (lambda: F.layer_norm(X, 3, tt.ones(2)), r"layer_norm: weight .*\(2,\)"),
    "layer_norm bias": (lambda: F.layer_norm(X, 3, None, tt.ones(1, 3)), r"layer_norm: bias"),
    "rms_norm": (lambda: F.rms_norm(X, 2), r"rms_norm: .*\(..., 2\).*\(2, 3\)"),
    "rms_norm weight": (lambda: F.rms_norm(X, 3, tt.ones(2)), r"rms_norm: weight .*\(2,\)"),
    "embedding": (lambda: F.embedding(I, tt.ones(3)), r"embedding: .*\(V, D\).*\(3,\)"),
    "cross_entropy": (lambda: F.cross_entropy(X, tt.tensor([1])), r"cross_entropy: .*\(1,\)"),
    "cross_entropy 3-d": (
        lambda: F.cross_entropy(tt.ones(2, 3, 4), I),
        r"cross_entropy: .*\(2, 3, 4\)",
    ),
    "cross_entropy no class": (
        lambda: F.cross_entropy(tt.ones(2, 0), I),
        r"cross_entropy: .*\(2, 0\)",
    ),
    "cross_entropy 3-d no class": (
        lambda: F.cross_entropy(tt.ones(2, 0, 4), tt.zeros(2, 4, dtype=tt.int64)),
        r"cross_entropy: .*0\)",
    ),
    "cross_entropy weight": (
        lambda: F.cross_entropy(X, I, tt.ones(2)),
        r"cross_entropy: .*each of the 3 classes, got shape \(2,\)",
    ),
    "cross_entropy probabilities": (
        lambda: F.cross_entropy(X, X, tt.ones(1, 3)),
        r"cross_entropy: .*each of the 3 classes, got shape \(1, 3\)",
    ),
    "cross_entropy probabilities no class": (
        lambda: F.cross_entropy(tt.ones(2, 0), tt.ones(2, 0)),
        r"cross_entropy: .*\(2, 0\)",
    ),
    "nll_loss": (lambda: F.nll_loss(X, tt.tensor([1])), r"nll_loss: .*\(2, 3\) and \(1,\)"),
    "nll_loss weight": (lambda: F.nll_loss(X, I, X), r"nll_loss: .*3 classes, got shape \(2, 3\)"),
    "bce": (
        lambda: F.binary_cross_entropy_with_logits(X, tt.ones(3)),
        r"binary_cross_entropy_with_logits: .*\(2, 3\), got \(3,\)",
    ),
    "bce weight": (
        lambda: F.binary_cross_entropy_with_logits(X, X, tt.ones(2)),
        r"logits: weight of shape \(2,\) cannot be broadcast to \(2, 3\)",
    ),
    "bce pos_weight": (
        lambda: F.binary_cross_entropy_with_logits(X, X, pos_weight=tt.ones(2)),
        r"logits: pos_weight of shape \(2,\) cannot be broadcast to \(2, 3\)",
    ),
    "mse_loss": (lambda: F.mse_loss(X, tt.ones(2)), r"mse_loss: .*\(2, 3\).*\(2,\)"),
    "mse_loss weight": (
        lambda: F.mse_loss(X, X, weight=tt.ones(3)),
        r"mse_loss: .*\(2, 3\), got \(3,\)",
    ),
    "cross_entropy 0-d": (lambda: F.cross_entropy(tt.tensor(1.0), tt.tensor(0)), "cross_entropy: "),
    "attention width": (
        lambda: attention((1, 1, 2, 3), (1, 1, 2, 4), (1, 1, 2, 3)),
        r"attention: .*4\)",
    ),
    "attention keys": (lambda: attention((1, 1, 2, 3), (1, 1, 2, 3), (1, 1, 4, 3)), "attention: "),
    "attention heads": (lambda: attention((1, 2, 2, 3), (1, 3, 2, 3), (1, 3, 2, 3)), "attention: "),
    "attention ranks": (lambda: attention((2, 3), (1, 2, 3), (3,)), "attention: "),
    "attention vectors": (lambda: attention((3,), (3,), (3,)), "attention: "),
    "attention leads": (
        lambda: attention((2, 3, 1, 2, 3), (3, 2, 1, 2, 3), (2, 3, 1, 2, 3)),
        r"attention: .*\(3, 2, 1, 2, 3\)",
    ),
    "attention mask": (
        lambda: attention((1, 2, 3), (1, 4, 3), (1, 4, 3), attn_mask=X),
        r"attention: attn_mask \(2, 3\) cannot be broadcast to the scores \(1, 2, 4\)",
    ),
    "attention mask of more axes": (
        lambda: attention((2, 3), (2, 3), (2, 3), attn_mask=tt.ones(1, 2, 2)),
        r"attention: attn_mask \(1, 2, 2\)",
    ),
    "attention mask of more heads": (
        lambda: attention(*[(1, 1, 2, 3)] * 3, attn_mask=tt.ones(2, 2, 2)),
        r"attention: attn_mask \(2, 2, 2\)",
    ),
    "attention packed": (
        lambda: F.scaled_dot_product_attention_qkvpacked(tt.ones(1, 2, 12), 3),
        r"qkvpacked: .*\(1, 2, 12\) and heads 3",
    ),
    "attention packed axes": (
        lambda: F.scaled_dot_product_attention_qkvpacked(X, 1),
        r"qkvpacked: .*\(2, 3\) and heads 1",
    ),
    "attention packed no heads": (
        lambda: F.scaled_dot_product_attention_qkvpacked(tt.ones(1, 2, 12), 0),
        "qkvpacked: .*heads 0",
    ),
    "attention cache": (
        lambda: F.scaled_dot_product_attention_with_kvcache(
            tt.ones(1, 2, 12), tt.zeros(1, 5, 12), 2, 0
        ),
        r"kvcache: .*\(1, 2, 12\), \(1, 5, 12\) and heads 2",
    ),
    "attention cache of another batch": (
        lambda: F.scaled_dot_product_attention_with_kvcache(
            tt.ones(1, 2, 12), tt.zeros(2, 5, 8), 2, 0
        ),
        r"kvcache: .*\(2, 5, 8\)",
    ),
    "attention groups": (
        lambda: attention((1, 4, 2, 3), (1, 3, 2, 3), (1, 3, 2, 3), enable_gqa=True),
        r"attention: .*enable_gqa.*\(1, 4, 2, 3\) and \(1, 3, 2, 3\)",
    ),
    "attention groups of no heads": (
        lambda: attention((1, 4, 2, 3), (1, 0, 2, 3), (1, 0, 2, 3), enable_gqa=True),
        r"attention: .*enable_gqa.*\(1, 0, 2, 3\)",
    ),
    "attention groups without heads": (
        lambda: attention((2, 3), (2, 3), (2, 3), enable_gqa=True),
        "attention: .*enable_gqa",
    ),
    "reshape": (lambda: X.reshape(4, 2), r"reshape: .*\(4, 2\).*\(2, 3\)"),
    "reshape two unknown": (lambda: X.reshape(-1, -1), r"reshape: .*\(-1, -1\)"),
    "reshape negative": (lambda: X.reshape(-2, -3), "reshape: "),
    "reshape of nothing": (lambda: tt.zeros(0, 3).reshape(-1, 0), "reshape: "),
    "expand": (lambda: X.expand(4, 3), r"expand: .*\(2, 3\).*\(4, 3\)"),
    "expand fewer": (lambda: X.expand(3), r"expand: .*\(2, 3\).*\(3,\)"),
    "expand new -1": (lambda: X.expand(-1, 2, 3), r"expand: .*\(-1, 2, 3\)"),
    "negative size": (lambda: tt.zeros(2, -1), r"\(2, -1\)"),
    "nine dimensions": (lambda: tt.zeros(*ONES9), "0 to 8 dimensions, got 9"),
    "nine of numpy": (lambda: tt.tensor(np.zeros(ONES9)), "0 to 8 dimensions, got 9"),
    "nine by reshape": (lambda: tt.zeros(1).reshape(ONES9), "0 to 8 dimensions, got 9"),
    "nine by expand": (lambda: tt.zeros(1).expand(*ONES9), "0 to 8 dimensions, got 9"),
    "nine by unsqueeze": (lambda: tt.zeros(*[1] * 8).unsqueeze(0), "0 to 8 dimensions, got 9"),
    "nine by None": (lambda: tt.zeros(*[1] * 8)[None], "0 to 8 dimensions, got 9"),
    "nine by embedding": (
        lambda: F.embedding(tt.zeros(*[1] * 8, dtype=tt.int64), tt.ones(3, 2)),
        "embedding: ",
    ),
    "copy_": (lambda: tt.zeros(3).copy_(X), r"copy_: .*\(2, 3\).*\(3,\)"),
    "ragged": (lambda: tt.tensor([[1.0], [1.0, 2.0]]), "tensor: .*regular"),
    "split 0-d": (lambda: tt.tensor(1.0).split(1), "split: "),
    "gather": (lambda: X.gather(0, I), r"gather: .*\(2,\).*\(2, 3\)"),
    "gather too far": (lambda: X.gather(0, tt.arange(8).view(2, 4)), r"gather: .*\(2, 4\)"),
    "scatter_add": (lambda: X.scatter_add(0, I.view(2, 1), X[:1]), r"scatter_add: .*\(1, 3\)"),
    "index_select": (lambda: X.index_select(0, I.view(2, 1)), r"index_select: .*\(2, 1\)"),
    "backward": (lambda: (W * 2).backward(tt.ones(3)), r"backward: .*\(2, 3\).*\(3,\)"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_that_do_not_fit(name):
    call, message = SHAPES[name]
    with pytest.raises(ValueError, match=message):
        call()


# ---- types ---------------------------------------------------------------------------------------

TYPES = {
    "matmul": (lambda: X @ tt.ones(3, 2, dtype=tt.float64), "matmul: .*float32 and float64"),
    "linear": (lambda: F.linear(X, D), "linear: .*float32 and float64"),
    "softmax of integers": (lambda: F.softmax(I, 0), "softmax: .*int64"),
    "embedding": (lambda: F.embedding(X, X), "embedding: .*int64, got float32"),
    "cross_entropy": (
        lambda: F.cross_entropy(X, tt.ones(2)),
        "cross_entropy: .*int64, got float32",
    ),
    "nll_loss": (lambda: F.nll_loss(X, tt.ones(2)), "nll_loss: .*int64, got float32"),
    "bce pos_weight": (
        lambda: F.binary_cross_entropy_with_logits(X, X, pos_weight=2.0),
        "binary_cross_entropy_with_logits: expected a Tensor, got float",
    ),
    "cross_entropy array": (
        lambda: F.cross_entropy(X, I, np.ones(3)),
        "cross_entropy: expected a Tensor, got ndarray",
    ),
    "attention": (
        lambda: F.scaled_dot_product_attention(*[tt.arange(4).view(2, 2)] * 3),
        "attention: .*int64",
    ),
    "attention mask": (
        lambda: attention(*[(2, 2)] * 3, attn_mask=tt.ones(2, 2, dtype=tt.float64)),
        "attention: attn_mask must be bool or tinytape.float32, got tinytape.float64",
    ),
    "attention mask of integers": (
        lambda: attention(*[(2, 2)] * 3, attn_mask=tt.ones(2, 2, dtype=tt.int64)),
        "attention: attn_mask must be bool or tinytape.float32, got tinytape.int64",
    ),
    "attention mask of an array": (
        lambda: attention(*[(2, 2)] * 3, attn_mask=np.ones((2, 2), bool)),
        "attention: expected a Tensor, got ndarray",
    ),
    "requires_grad": (lambda: tt.tensor([1], requires_grad=True), "requires_grad_: .*int64"),
    "random integers": (
        lambda: tt.rand(2, dtype=tt.int64),
        "float32 or float64, got tinytape.int64",
    ),
    "an unknown type": (lambda: tt.tensor([1.0], dtype=np.float32), "tensor: dtype must be one of"),
    "an unknown type of zeros": (
        lambda: tt.zeros(2, dtype="float32"),
        "zeros: dtype must be one of",
    ),
    "to": (lambda: X.to("float64"), "to: dtype must be one of"),
    "sub of bool": (lambda: B - B, "sub: input 0 must hold numbers, got bool"),
    "neg of bool": (lambda: -B, "neg: .*bool"),
    "bool indices": (lambda: F.embedding(B, X), "embedding: .*integers.*got bool"),
    "complex": (lambda: tt.tensor(1j), "complex128 is not supported"),
    "complex as float": (lambda: tt.tensor([1j], dtype=tt.float32), "complex128 is not supported"),
    "object": (lambda: tt.tensor([object()]), "object is not supported"),
    "None": (lambda: tt.tensor(None), "object is not supported"),
    "str": (lambda: tt.tensor("abc"), "U3 is not supported"),
    "str as float": (lambda: tt.tensor(["1.5"], dtype=tt.float32), "U3 is not supported"),
    "bytes": (lambda: tt.tensor(b"abc"), "S3 is not supported"),
    "datetime": (lambda: tt.tensor(np.zeros(2, "M8[s]")), "is not supported"),
    "structure": (lambda: tt.tensor(np.zeros(2, "f4,i4")), "is not supported"),
    "uint64": (lambda: tt.tensor(2**63), "uint64 is not supported"),
    "an object": (lambda: tt.tensor([2**70, None]), "object is not supported"),
    "float16": (lambda: tt.tensor(np.zeros(2, np.float16)), "float16 is not supported"),
    "longdouble": (lambda: tt.tensor(np.zeros(2, np.longdouble)), "is not supported"),
    "operator with str": (lambda: X + "1", "add: .*str"),
    "operator with a list": (lambda: X * [1.0], "mul: .*list"),
    "operator with None": (lambda: X - None, "sub: .*NoneType"),
    "unary of an array": (lambda: tt.exp(np.ones(2)), "exp: expected a Tensor, got ndarray"),
    "matmul with an array": (lambda: X @ np.ones((3, 2)), "matmul: expected a Tensor, got ndarray"),
    "an array matmul": (lambda: np.ones((3, 2)) @ X, None),
    "linear of an array": (lambda: F.linear(np.ones((2, 3)), X), "linear: expected a Tensor"),
    "linear_add of an array": (
        lambda: F.linear_add(np.ones((2, 2)), X, W),
        "linear_add: expected a Tensor",
    ),
    "attention packed heads": (
        lambda: F.scaled_dot_product_attention_qkvpacked(tt.ones(1, 2, 12), 2.0),
        "qkvpacked: heads must be integers, got float",
    ),
    "attention cache of an array": (
        lambda: F.scaled_dot_product_attention_with_kvcache(
            tt.ones(1, 2, 12), np.zeros((1, 5, 8)), 2, 0
        ),
        "kvcache: expected a Tensor, got ndarray",
    ),
    "linear bias array": (lambda: F.linear(X, X, np.ones(2)), "linear: expected a Tensor"),
    "layer_norm weight": (lambda: F.layer_norm(X, 3, "w"), "layer_norm: expected a Tensor"),
    "embedding of a list": (lambda: F.embedding([0], X), "embedding: expected a Tensor, got list"),
    "cross_entropy of a list": (
        lambda: F.cross_entropy(X, [0, 1]),
        "cross_entropy: expected a Tensor",
    ),
    "attention of None": (lambda: F.scaled_dot_product_attention(X, None, X), "expected a Tensor"),
    "a float size": (lambda: tt.zeros(2.0), "float"),
    "a float in reshape": (lambda: X.reshape(3.0, 2), "float"),
    "a float axis": (lambda: X.sum(1.0), None),
    "a float index": (lambda: X[1.0], "index: .*float"),
    "a list of floats as index": (lambda: X[[0.0, 1.0]], "index.*list.*float64"),
    "a string as index": (lambda: X["a"], "index: .*got str"),
    "a tensor of floats as index": (lambda: X[X], "index.*Tensor.*float32"),
    "gather by floats": (lambda: tt.gather(X, 0, X), "gather: .*integers.*float32"),
    "gather by bool": (lambda: tt.gather(B, 0, B), "gather: .*integers.*bool"),
    "scatter_add of two types": (
        lambda: tt.scatter_add(D, 0, I.view(1, 2), X),
        "scatter_add: .*float64 and float32",
    ),
    "index_select by floats": (lambda: X.index_select(0, X[0]), "index_select: .*float32"),
    "len 0-d": (lambda: len(tt.tensor(1.0)), "0-d"),
    "iter 0-d": (lambda: list(tt.tensor(1.0)), "0-d"),
    "backward gradient": (lambda: (W * 2).backward(D), "backward: .*float32.*float64"),
    "backward array": (lambda: (W * 2).backward(np.ones((2, 3))), "backward: expected a Tensor"),
    "copy_ of str": (lambda: tt.zeros(2).copy_("1"), "copy_: .*not supported"),
    "copy_ of None": (lambda: tt.zeros(2).copy_(None), "copy_: .*not supported"),
    "copy_ of complex": (lambda: tt.zeros(2).copy_(np.ones(2) * 1j), "copy_: .*not supported"),
}


@pytest.mark.parametrize("name", TYPES)
def test_types_that_do_not_fit(name):
    call, message = TYPES[name]
    with pytest.raises(TypeError, match=message):
        call()


STATES = {
    "item": (lambda: X.item(), r"item: .*\(2, 3\)"),
    "float": (lambda: float(X), r"\(2, 3\)"),
    "bool": (lambda: bool(X), r"\(2, 3\)"),
    "bool of nothing": (lambda: bool(tt.zeros(0)), r"\(0,\)"),
    "backward": (lambda: X.sum().backward(), "backward: .*does not require grad"),
    "backward of many": (lambda: (W * 2).backward(), r"backward: .*scalar.*\(2, 3\)"),
    "backward of nothing": (lambda: (tt.zeros(0, requires_grad=True) * 2).backward(), r"\(0,\)"),
    "fill_": (lambda: (W * 2).fill_(0), "fill_: .*in place"),
}


@pytest.mark.parametrize("name", STATES)
def test_tensors_in_no_state_for_it(name):
    call, message = STATES[name]
    with pytest.raises(RuntimeError, match=message):
        call()


def test_errors_are_both_the_librarys_and_pythons():
    for kind, builtin in [
        (errors.ArgumentError, ValueError),
        (errors.ShapeError, ValueError),
        (errors.DTypeError, TypeError),
        (errors.OutOfRangeError, IndexError),
        (errors.OutOfMemoryError, MemoryError),
        (errors.StaleTensorError, RuntimeError),
        (errors.TapeStateError, RuntimeError),
        (errors.ThreadError, RuntimeError),
        (errors.NonFiniteError, FloatingPointError),
        (errors.InternalError, RuntimeError),
    ]:
        assert issubclass(kind, errors.TinytapeError) and issubclass(kind, builtin)
    with pytest.raises(errors.ShapeError):
        _ = X + tt.ones(4)
    with pytest.raises(errors.TinytapeError):
        F.embedding(tt.tensor(9), X)
