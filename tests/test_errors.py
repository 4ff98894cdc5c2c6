"""Misuse: the exception that users of PyTorch expect, the function's name, what was given, what was
expected. Everything runs in this process: a crash would be the worst answer of all."""

from __future__ import annotations

import contextlib
import gc
import threading

import numpy as np
import pytest

import tinytape as tt
from tinytape import _updates, errors, nn
from tinytape._ffi import OPS, ffi, lib
from tinytape.nn import functional as F

X = tt.ones(2, 3)
W = tt.ones(2, 3, requires_grad=True)
D = tt.ones(2, 3, dtype=tt.float64)
I = tt.tensor([0, 1])  # noqa: E741
ONES9 = (1,) * 9


def attention(q, k, v, **options):
    return F.scaled_dot_product_attention(tt.ones(*q), tt.ones(*k), tt.ones(*v), **options)


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
    "layer_norm": (lambda: F.layer_norm(X, 2), r"layer_norm: .*\(..., 2\).*\(2, 3\)"),
    "layer_norm no axes": (lambda: F.layer_norm(X, ()), "layer_norm: "),
    "layer_norm too many": (lambda: F.layer_norm(X, (1, 2, 3)), r"layer_norm: .*\(2, 3\)"),
    "layer_norm weight": (lambda: F.layer_norm(X, 3, tt.ones(2)), r"layer_norm: weight .*\(2,\)"),
    "layer_norm bias": (lambda: F.layer_norm(X, 3, None, tt.ones(1, 3)), r"layer_norm: bias"),
    "embedding": (lambda: F.embedding(I, tt.ones(3)), r"embedding: .*\(V, D\).*\(3,\)"),
    "cross_entropy": (lambda: F.cross_entropy(X, tt.tensor([1])), r"cross_entropy: .*\(1,\)"),
    "cross_entropy 3-d": (lambda: F.cross_entropy(tt.ones(2, 3, 4), I), r"cross_entropy: .*\(2, 3, 4\)"),
    "cross_entropy no class": (lambda: F.cross_entropy(tt.ones(2, 0), I), r"cross_entropy: .*\(2, 0\)"),
    "cross_entropy 0-d": (lambda: F.cross_entropy(tt.tensor(1.0), tt.tensor(0)), "cross_entropy: "),
    "attention width": (lambda: attention((1, 1, 2, 3), (1, 1, 2, 4), (1, 1, 2, 3)), r"attention: .*4\)"),
    "attention keys": (lambda: attention((1, 1, 2, 3), (1, 1, 2, 3), (1, 1, 4, 3)), "attention: "),
    "attention heads": (lambda: attention((1, 2, 2, 3), (1, 1, 2, 3), (1, 1, 2, 3)), "attention: "),
    "attention ranks": (lambda: attention((2, 3), (1, 2, 3), (1, 2, 3)), "attention: "),
    "attention vectors": (lambda: attention((3,), (3,), (3,)), "attention: "),
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
        lambda: F.embedding(tt.zeros(*[1] * 8, dtype=tt.int64), tt.ones(3, 2)), "embedding: "
    ),
    "copy_": (lambda: tt.zeros(3).copy_(X), r"copy_: .*\(2, 3\).*\(3,\)"),
    "ragged": (lambda: tt.tensor([[1.0], [1.0, 2.0]]), "tensor: .*regular"),
    "split 0-d": (lambda: tt.tensor(1.0).split(1), "split: "),
    "backward": (lambda: (W * 2).backward(tt.ones(3)), r"backward: .*\(2, 3\).*\(3,\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_that_do_not_fit(name):
    call, message = SHAPES[name]
    with pytest.raises(ValueError, match=message):
        call()


# ---- types ---------------------------------------------------------------------------------------

TYPES = {
    "add": (lambda: X + D, "add: .*float32 and float64"),
    "mul by an array": (lambda: X * np.ones(3), "mul: .*float32 and float64"),
    "matmul": (lambda: X @ tt.ones(3, 2, dtype=tt.float64), "matmul: .*float32 and float64"),
    "linear": (lambda: F.linear(X, D), "linear: .*float32 and float64"),
    "integers": (lambda: I + I, "add: .*float32 or float64, got int64"),
    "integers and number": (lambda: I * 2.5, "mul: .*int64"),
    "exp of integers": (lambda: I.exp(), "exp: .*int64"),
    "sum of integers": (lambda: I.sum(), "sum: .*int64"),
    "softmax of integers": (lambda: F.softmax(I, 0), "softmax: .*int64"),
    "embedding": (lambda: F.embedding(X, X), "embedding: .*int64, got float32"),
    "embedding of integers": (lambda: F.embedding(I, tt.zeros(3, 2, dtype=tt.int64)), "embedding: "),
    "cross_entropy": (lambda: F.cross_entropy(X, tt.ones(2)), "cross_entropy: .*int64, got float32"),
    "attention": (lambda: F.scaled_dot_product_attention(*[tt.arange(4).view(2, 2)] * 3), "attention: .*int64"),
    "requires_grad": (lambda: tt.tensor([1], requires_grad=True), "requires_grad_: .*int64"),
    "random integers": (lambda: tt.rand(2, dtype=tt.int64), "float32 or float64, got tinytape.int64"),
    "an unknown type": (lambda: tt.tensor([1.0], dtype=np.float32), "dtype must be tinytape"),
    "an unknown type of zeros": (lambda: tt.zeros(2, dtype="float32"), "dtype must be tinytape"),
    "to": (lambda: X.to("float64"), "to: expected a tinytape dtype"),
    "bool": (lambda: tt.tensor(True), "bool is not supported"),
    "bool array": (lambda: tt.tensor(np.zeros(2, bool)), "bool is not supported"),
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
    "too large an integer": (lambda: tt.tensor(2**70), "object is not supported"),
    "float16": (lambda: tt.tensor(np.zeros(2, np.float16)), "float16 is not supported"),
    "longdouble": (lambda: tt.tensor(np.zeros(2, np.longdouble)), "is not supported"),
    "operator with str": (lambda: X + "1", "add: .*str"),
    "operator with a list": (lambda: X * [1.0], "mul: .*list"),
    "operator with None": (lambda: X - None, "sub: .*NoneType"),
    "unary of an array": (lambda: tt.exp(np.ones(2)), "exp: expected a Tensor, got ndarray"),
    "matmul with an array": (lambda: X @ np.ones((3, 2)), "matmul: expected a Tensor, got ndarray"),
    "an array matmul": (lambda: np.ones((3, 2)) @ X, None),
    "linear of an array": (lambda: F.linear(np.ones((2, 3)), X), "linear: expected a Tensor"),
    "linear bias array": (lambda: F.linear(X, X, np.ones(2)), "linear: expected a Tensor"),
    "layer_norm weight": (lambda: F.layer_norm(X, 3, "w"), "layer_norm: expected a Tensor"),
    "embedding of a list": (lambda: F.embedding([0], X), "embedding: expected a Tensor, got list"),
    "cross_entropy of a list": (lambda: F.cross_entropy(X, [0, 1]), "cross_entropy: expected a Tensor"),
    "attention of None": (lambda: F.scaled_dot_product_attention(X, None, X), "expected a Tensor"),
    "a float size": (lambda: tt.zeros(2.0), "float"),
    "a float in reshape": (lambda: X.reshape(3.0, 2), "float"),
    "a float axis": (lambda: X.sum(1.0), None),
    "a float index": (lambda: X[1.0], "index .*float"),
    "a list index": (lambda: X[[0, 1]], "index .*list"),
    "a bool index": (lambda: X[True], "index .*bool"),
    "a tensor index": (lambda: X[I], "index .*Tensor"),
    "len 0-d": (lambda: len(tt.tensor(1.0)), "0-d"),
    "iter 0-d": (lambda: list(tt.tensor(1.0)), "0-d"),
    "backward gradient": (lambda: (W * 2).backward(D), "backward: .*float32.*float64"),
    "backward array": (lambda: (W * 2).backward(np.ones((2, 3))), "backward: expected a Tensor"),
    "copy_ of str": (lambda: tt.zeros(2).copy_("1"), "copy_: .*not supported"),
    "copy_ of None": (lambda: tt.zeros(2).copy_(None), "copy_: .*not supported"),
    "copy_ of complex": (lambda: tt.zeros(2).copy_(np.ones(2) * 1j), "copy_: .*not supported"),
}  # fmt: skip


@pytest.mark.parametrize("name", TYPES)
def test_types_that_do_not_fit(name):
    call, message = TYPES[name]
    with pytest.raises(TypeError, match=message):
        call()


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
    "two ellipses": (lambda: X[..., ...], "Ellipsis"),
    "index of nothing": (lambda: tt.zeros(0, 2)[0], "index 0 .*size 0"),
    "size": (lambda: X.size(2), None),
    "embedding": (lambda: F.embedding(tt.tensor([[0, 3]]), tt.ones(3, 2)), "embedding: index 3 at position 1 .*3 rows"),
    "embedding negative": (lambda: F.embedding(tt.tensor([-1]), tt.ones(3, 2)), "embedding: index -1"),
    "embedding huge": (lambda: F.embedding(tt.tensor(2**62), tt.ones(3, 2)), f"embedding: index {2**62}"),
    "embedding least": (lambda: F.embedding(tt.tensor(-(2**63)), tt.ones(3, 2)), "embedding: index -9223"),
    "embedding of no rows": (lambda: F.embedding(tt.tensor(0), tt.ones(0, 2)), "embedding: index 0"),
    "embedding strided": (
        lambda: F.embedding(tt.tensor([[0, 1], [2, 9]]).transpose(0, 1)[1], tt.ones(3, 2)), "index 9 at position 1"
    ),
    "cross_entropy": (lambda: F.cross_entropy(X, tt.tensor([0, 3])), "cross_entropy: target 3 at position 1 .*3 classes"),
    "cross_entropy negative": (lambda: F.cross_entropy(X, tt.tensor([-1, 0])), "cross_entropy: target -1"),
    "cross_entropy huge": (lambda: F.cross_entropy(X, tt.tensor([0, 2**62])), f"cross_entropy: target {2**62}"),
    "cross_entropy -100": (lambda: F.cross_entropy(X, tt.tensor([0, -100]), ignore_index=5), "target -100"),
}  # fmt: skip


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
    "reduction": (lambda: F.cross_entropy(X, I, reduction="avg"), "cross_entropy: .*'avg'"),
    "ignore_index": (lambda: F.cross_entropy(X, I, ignore_index=2**70), "cross_entropy: .*ignore_index"),
    "mask": (lambda: attention((1, 2, 3), (1, 2, 3), (1, 2, 3), attn_mask=X), "attn_mask must be None"),
    "attention dropout": (lambda: attention((2, 3), (2, 3), (2, 3), dropout_p=0.5), "dropout_p 0.0, got"),
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
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_values_out_of_range(name):
    W.grad = tt.ones(2, 3)
    call, message = VALUES[name]
    with pytest.raises(ValueError, match=message):
        call()


STATES = {
    "item": (lambda: X.item(), r"item: .*\(2, 3\)"),
    "float": (lambda: float(X), r"\(2, 3\)"),
    "bool": (lambda: bool(X), r"\(2, 3\)"),
    "bool of nothing": (lambda: bool(tt.zeros(0)), r"\(0,\)"),
    "backward": (lambda: X.sum().backward(), "backward: .*does not require grad"),
    "backward of many": (lambda: (W * 2).backward(), r"backward: .*scalar.*\(2, 3\)"),
    "backward of nothing": (lambda: (tt.zeros(0, requires_grad=True) * 2).backward(), r"\(0,\)"),
    "fill_": (lambda: (W * 2).fill_(0), "copy_: .*in place"),
}


@pytest.mark.parametrize("name", STATES)
def test_tensors_in_no_state_for_it(name):
    call, message = STATES[name]
    with pytest.raises(RuntimeError, match=message):
        call()


def test_errors_are_both_the_librarys_and_pythons():
    for kind, builtin in [
        (errors.ArgumentError, ValueError), (errors.ShapeError, ValueError), (errors.DTypeError, TypeError),
        (errors.OutOfRangeError, IndexError), (errors.OutOfMemoryError, MemoryError),
        (errors.StaleTensorError, RuntimeError), (errors.TapeStateError, RuntimeError),
        (errors.ThreadError, RuntimeError), (errors.NonFiniteError, FloatingPointError),
        (errors.InternalError, RuntimeError),
    ]:  # fmt: skip
        assert issubclass(kind, errors.TinytapeError) and issubclass(kind, builtin)
    with pytest.raises(errors.ShapeError):
        _ = X + tt.ones(4)
    with pytest.raises(errors.TinytapeError):
        F.embedding(tt.tensor(9), X)


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


# ---- sizes ---------------------------------------------------------------------------------------


@pytest.fixture
def small_memory():
    """Far less memory than any test here asks for: what is refused was not touched."""
    lib.tt_set_memory_limit(tt.memory_stats()["system_bytes"] + (64 << 20))
    yield
    lib.tt_set_memory_limit(0)


SIZES = [2**31, 2**33, 2**40, 2**58, 2**59, 2**62, 2**63 - 1, 2**63, 2**70]


@pytest.mark.parametrize("size", SIZES)
def test_sizes_beyond_all_memory(small_memory, size):
    for call in (
        lambda: tt.zeros(size), lambda: tt.ones(size, dtype=tt.float64), lambda: tt.randn(size, 2),
        lambda: tt.zeros(2**31, size), lambda: tt.zeros(size, size), lambda: tt.full((1, size), 2.0),
        lambda: tt.zeros(1).expand(2**31, 2**31, size), lambda: tt.zeros(1).reshape(size),
    ):  # fmt: skip
        with pytest.raises((MemoryError, ValueError)):
            call()
    with pytest.raises((MemoryError, ValueError, IndexError)):
        X.narrow(0, 0, size)


@pytest.mark.parametrize("size", [2**31, 2**33, 2**40, 2**58])
def test_huge_views_are_refused_where_they_need_memory(small_memory, size):
    huge = tt.zeros(1, requires_grad=True).expand(size)
    assert huge.shape == (size,) and huge.stride() == (0,) and huge.numel() == size
    assert huge[size - 1].item() == huge[-1].item() == 0.0
    for call in (
        lambda: huge * 2, lambda: huge.clone(), lambda: huge.exp(), lambda: F.softmax(huge, 0),
        lambda: huge.reshape(2, -1) @ tt.ones(size // 2, 1), lambda: huge.expand(2**31, size),
        lambda: F.layer_norm(huge, size), lambda: huge.backward(huge.detach()), lambda: huge.detach() + 1,
        lambda: F.embedding(tt.zeros(1, dtype=tt.int64).expand(size), tt.ones(3, 2)),
    ):  # fmt: skip
        with pytest.raises((MemoryError, ValueError)):
            call()


# ---- numbers that are none -----------------------------------------------------------------------


def test_nan_and_infinity_pass_through():
    nan, inf = float("nan"), float("inf")
    for dtype in (tt.float32, tt.float64):
        x = tt.tensor([nan, inf, -inf, 0.0], dtype=dtype)
        for f, expected in [
            (tt.exp, [nan, inf, 0.0, 1.0]),
            (tt.tanh, [nan, 1.0, -1.0, 0.0]),
            (tt.erf, [nan, 1.0, -1.0, 0.0]),
            (tt.log, [nan, inf, nan, -inf]),
            (tt.sqrt, [nan, inf, nan, 0.0]),
            (tt.rsqrt, [nan, 0.0, nan, inf]),
            (tt.neg, [nan, -inf, inf, 0.0]),
            (lambda v: v + 1, [nan, inf, -inf, 1.0]),
            (lambda v: 1 / v, [nan, 0.0, 0.0, inf]),
            (lambda v: F.gelu(v)[:2], [nan, inf]),
        ]:
            np.testing.assert_array_equal(f(x).numpy(), np.array(expected, dtype.numpy))
        assert np.isnan(x.sum().item()) and tt.tensor([inf, 1.0], dtype=dtype).sum().item() == inf
        logits = tt.tensor([[0.0, nan, 1.0], [0.0, 1.0, 2.0], [-inf, 0.0, 0.0]], dtype=dtype)
        p = F.softmax(logits, 1).numpy()
        assert np.isnan(p[0]).all() and np.isfinite(p[1]).all()
        np.testing.assert_allclose(p[2], [0, 0.5, 0.5], rtol=1e-6)
        assert np.isnan(F.softmax(tt.full((2,), -inf, dtype=dtype), 0).numpy()).all()
        loss = F.cross_entropy(logits, tt.tensor([0, 1, 0]), reduction="none").numpy()
        assert np.isnan(loss[0]) and np.isfinite(loss[1]) and loss[2] == inf
        assert np.isnan((tt.tensor([[nan]], dtype=dtype) @ tt.tensor([[0.0]], dtype=dtype)).item())


def test_the_mean_over_nothing_is_nan():
    x = tt.zeros(0, 3, requires_grad=True)
    assert np.isnan(F.cross_entropy(x, tt.zeros(0, dtype=tt.int64)).item())
    y = tt.zeros(2, 3, requires_grad=True)
    loss = F.cross_entropy(y, tt.tensor([-100, -100]))
    assert np.isnan(loss.item())
    assert F.cross_entropy(y, tt.tensor([-100, -100]), reduction="sum").item() == 0.0


def test_large_logits_do_not_overflow():
    for dtype, big in (
        (tt.float32, 1e6),
        (tt.float64, 1e12),
        (tt.float32, 1e30),
        (tt.float64, 1e300),
    ):
        x = tt.tensor([[big, 0.0], [-big, -big]], dtype=dtype, requires_grad=True)
        loss = F.cross_entropy(x, tt.tensor([0, 1]), reduction="none")
        np.testing.assert_allclose(loss.numpy(), [0.0, np.log(2)], rtol=1e-6)
        loss.sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), [[0, 0], [0.5, -0.5]], atol=1e-6)
        np.testing.assert_allclose(F.softmax(x, 1).numpy(), [[1, 0], [0.5, 0.5]], atol=1e-6)


# ---- threads -------------------------------------------------------------------------------------


def made_elsewhere(make):
    """What another thread made, after it has ended."""
    box = []
    worker = threading.Thread(target=lambda: box.append(make()))
    worker.start()
    worker.join()
    return box.pop()


class Elsewhere:
    """Tensors of a thread that is still there."""

    def __enter__(self) -> tuple[tt.Tensor, ...]:
        self.ready, self.done = threading.Event(), threading.Event()

        def work() -> None:
            # More than one, so that their handles are also handles of the caller's context.
            decoys = [tt.full((2, 3), 7.0) for _ in range(50)]
            w = tt.ones(2, 3, requires_grad=True)
            self.made = (tt.ones(2, 3), w, w * 2, *decoys)
            del w, decoys
            self.ready.set()
            self.done.wait(30)

        self.worker = threading.Thread(target=work)
        self.worker.start()
        assert self.ready.wait(30)
        made, self.made = self.made, ()
        return made

    def __exit__(self, *exc_info: object) -> None:
        self.done.set()
        self.worker.join()


def test_tensors_of_another_thread_are_refused():
    with Elsewhere() as theirs:
        x, w, y = theirs[:3]
        mine = tt.ones(2, 3, requires_grad=True)
        calls = (
            lambda: x * 2, lambda: x + mine, lambda: mine + x, lambda: x.sum(), lambda: x[0],
            lambda: x.numpy(), lambda: x.detach(), lambda: x.copy_(0), lambda: x.requires_grad_(),
            lambda: x.requires_grad, lambda: x.is_leaf, lambda: w.grad, lambda: y.backward(tt.ones(2, 3)),
            lambda: tt.grad(y, w, tt.ones(2, 3)), lambda: tt.grad((mine * 2).sum(), [w]),
            lambda: (mine * 2).backward(x), lambda: tt.grad(mine * 2, mine, x), lambda: mine.copy_(x),
            lambda: F.linear(mine, x), lambda: F.linear(mine, mine, x), lambda: nn.Parameter(x),
            lambda: tt.tensor(x), lambda: repr(x), lambda: tt.nn.init.zeros_(x),
            lambda: _updates.sgd_([w], [x], None, lr=1.0, momentum=0.0, dampening=0.0, weight_decay=0.0,
                                  nesterov=False, maximize=False, first=False),
        )  # fmt: skip
        for i, call in enumerate(calls):
            try:
                call()
            except errors.ThreadError as error:
                assert "thread" in str(error) or "context" in str(error)
            else:
                pytest.fail(f"call {i} was not refused")
        assert mine.grad is None
        del x, w, y, theirs, call, calls


def test_a_gradient_of_another_thread_is_refused():
    """Its handle may well be one of this context too, but of another tensor."""
    with Elsewhere() as theirs:
        mine = [tt.zeros(2, 3) for _ in range(60)]
        for t in mine[:5]:
            for other in theirs[3:]:
                with pytest.raises(errors.ThreadError):
                    t.grad = other
            assert t.grad is None
        del theirs, other


def test_tensors_outlive_their_thread_but_stay_its_own():
    x = made_elsewhere(lambda: tt.ones(2, 3))
    with pytest.raises(errors.ThreadError):
        _ = x + X
    del x


def test_a_tensor_dropped_by_another_thread_is_released_by_its_owner(in_new_context):
    def body():
        for make in (lambda: tt.ones(2), lambda: tt.ones(2, requires_grad=True) * 2):
            box = [make() for _ in range(20)]
            before = tt.memory_stats()["live_handles"]
            assert before >= 20
            dropper = threading.Thread(target=box.clear)
            dropper.start()
            dropper.join()
            after = tt.memory_stats()
            assert after["live_handles"] == after["held_tensors"] == after["tape_nodes"] == 0

    in_new_context(body)


def test_garbage_in_cycles_with_a_dead_thread():
    """The collector may finalise the context before the tensors in it."""

    def work():
        cell = [tt.ones(3, requires_grad=True) for _ in range(50)]
        cell += [x * 2 for x in cell]
        cell.append(cell)

    for _ in range(10):
        made_elsewhere(work)
        gc.collect()
    assert (X * 2).sum().item() == 12.0


# ---- the raw library: forged and stale handles ---------------------------------------------------


@pytest.fixture
def raw():
    """The library's pointer to a new context, freed afterwards."""
    context = lib.tt_ctx_new()
    yield context
    lib.tt_ctx_free(context)


def new_raw(context, pool=lib.TT_POOL_DATA, dtype=lib.TT_FLOAT32, shape=(2, 3)):
    out = ffi.new("tt_handle *")
    sizes = ffi.new("int64_t[]", shape or (0,))
    status = lib.tt_new(context, pool, dtype, len(shape), sizes, ffi.NULL, out)
    return status, out[0]


FORGED = [
    0,
    1,
    -1,
    2**31,
    2**32,
    2**32 + 1,
    2**33 + 1,
    2**62,
    2**63 - 1,
    -(2**63),
    -(2**32) + 1,
    257,
]


def test_forged_handles_are_refused_everywhere(raw):
    _, good = new_raw(raw)
    assert lib.tt_set_requires_grad(raw, good, 1) == lib.TT_OK
    out, info, number = ffi.new("tt_handle[3]"), ffi.new("int64_t[22]"), ffi.new("double *")
    space = ffi.new("char[1024]")
    ints, reals = ffi.new("int64_t[12]"), ffi.new("double[4]")
    one = ffi.new("tt_handle[]", [good] * 8)
    for forged in FORGED:
        if forged == good:
            continue
        bad = ffi.new("tt_handle[]", [forged] * 8)
        mixed = ffi.new("tt_handle[]", [good, forged])
        calls = [
            lib.tt_release(raw, forged),
            lib.tt_info(raw, forged, info),
            lib.tt_read(raw, forged, space, 24),
            lib.tt_write(raw, forged, space, 24),
            lib.tt_detach(raw, forged, out),
            lib.tt_copy_to_pool(raw, forged, 0, out),
            lib.tt_set_requires_grad(raw, forged, 1),
            lib.tt_get_grad(raw, forged, out),
            lib.tt_set_grad(raw, forged, 0),
            lib.tt_random_fill(raw, forged, 0, 0, 0, 0, 0.0, 1.0),
            lib.tt_backward(raw, 1, bad, ffi.NULL, 0, bad, 0, 0, out),
            lib.tt_backward(raw, 1, one, one, 1, bad, 0, 0, out),
            lib.tt_adam(raw, 1, one, bad, one, one, 1, 0.1, 0.9, 0.9, 1e-8, 0.0, 0, 0),
            lib.tt_adam(raw, 2, mixed, mixed, mixed, mixed, 1, 0.1, 0.9, 0.9, 1e-8, 0.0, 0, 0),
            lib.tt_sgd(raw, 1, one, one, bad, 0.1, 0.9, 0.0, 0.0, 0, 0, 0),
            lib.tt_grad_norm(raw, 1, bad, 2.0, number),
            lib.tt_scale(raw, 2, mixed, 2.0),
        ]
        if forged:
            calls.append(lib.tt_set_grad(raw, good, forged))
            calls.append(lib.tt_backward(raw, 1, one, bad, 0, one, 0, 0, out))
            calls += [
                lib.tt_apply(raw, op, lib.tt_op_inputs(op), bad, 0, ints, 0, reals, out)
                for op in OPS.values()
            ]
        assert set(calls) == {lib.TT_ERR_STALE}, forged
        assert lib.tt_error_code() == lib.TT_ERR_STALE


def test_stale_handles_are_refused_although_their_slot_is_in_use(raw):
    info = ffi.new("int64_t[22]")
    handles = []
    for _ in range(100):
        _, handle = new_raw(raw)
        assert handle not in handles
        handles.append(handle)
        assert lib.tt_info(raw, handle, info) == lib.TT_OK
        assert lib.tt_release(raw, handle) == lib.TT_OK
        assert lib.tt_release(raw, handle) == lib.TT_ERR_STALE
    _, alive = new_raw(raw)
    assert all(lib.tt_info(raw, h, info) == lib.TT_ERR_STALE for h in handles)
    assert lib.tt_info(raw, alive, info) == lib.TT_OK


def test_operations_called_with_anything(raw):
    """Every operation with every number of inputs and attributes: a status, never a crash."""
    made = [
        new_raw(raw, dtype=dtype, shape=shape)[1]
        for dtype in (lib.TT_FLOAT32, lib.TT_FLOAT64, lib.TT_INT64)
        for shape in ((), (3,), (2, 3), (0, 3), (1, 2, 2, 3), (1,) * 8)
    ]
    for h in made[:6]:
        assert lib.tt_set_requires_grad(raw, h, 1) == lib.TT_OK
    rng = np.random.default_rng(0)
    ints, reals = ffi.new("int64_t[12]"), ffi.new("double[4]")
    out = ffi.new("tt_handle[3]")
    values = [0, 1, -1, 2, 3, 7, -7, 100, 2**31, 2**32 + 1, 2**62, -(2**63), 2**63 - 1]
    succeeded = set()
    for _ in range(60):
        for name, op in OPS.items():
            n_in = int(rng.integers(0, 9)) if rng.random() < 0.2 else lib.tt_op_inputs(op)
            given = ffi.new("tt_handle[8]", [made[i] for i in rng.integers(0, len(made), 8)])
            if rng.random() < 0.5:  # one type, so that more is reached than the check of types
                given = ffi.new("tt_handle[8]", [made[i] for i in rng.integers(0, 6, 8)])
            small = rng.random() < 0.7
            for i in range(12):
                ints[i] = int(rng.integers(-1, 4)) if small else values[rng.integers(len(values))]
            for i in range(4):
                reals[i] = [0.0, 0.5, -1.0, 2.0, float("nan"), float("inf")][rng.integers(6)]
            n_ints, n_reals = (int(n) for n in (rng.integers(0, 13), rng.integers(0, 5)))
            status = lib.tt_apply(raw, op, n_in, given, n_ints, ints, n_reals, reals, out)
            assert lib.TT_ERR_INTERNAL < status <= 0, name
            if status == 0:
                succeeded.add(name)
                assert lib.tt_release(raw, out[0]) == lib.TT_OK
    assert len(succeeded) > len(OPS) // 2
    for n_in, n_ints, n_reals in ((9, 0, 0), (-1, 0, 0), (1, 13, 0), (1, -1, 0), (1, 0, 5)):
        status = lib.tt_apply(raw, 0, n_in, given, n_ints, ints, n_reals, reals, out)
        assert status == lib.TT_ERR_ARG
    for op in (-1, len(OPS), 2**31 - 1):
        assert lib.tt_apply(raw, op, 1, given, 0, ints, 0, reals, out) == lib.TT_ERR_ARG
        assert ffi.string(lib.tt_op_name(op)) == b""
        assert lib.tt_op_inputs(op) == lib.tt_op_outputs(op) == -1


def test_bad_arguments_of_the_raw_library(raw):
    _, h = new_raw(raw)
    one, out = ffi.new("tt_handle[]", [h]), ffi.new("tt_handle[1]")
    space, number = ffi.new("char[64]"), ffi.new("double *")
    assert new_raw(raw, pool=-1)[0] == new_raw(raw, pool=3)[0] == lib.TT_ERR_ARG
    assert new_raw(raw, dtype=-1)[0] == new_raw(raw, dtype=3)[0] == lib.TT_ERR_DTYPE
    assert new_raw(raw, shape=(1,) * 9)[0] == new_raw(raw, shape=(2, -1))[0] == lib.TT_ERR_SHAPE
    assert new_raw(raw, shape=(2**31, 2**31, 2**31))[0] == lib.TT_ERR_NOMEM
    for n in (-1, 0, 23, 25, 2**62):
        assert lib.tt_read(raw, h, space, n) == lib.tt_write(raw, h, space, n) == lib.TT_ERR_SHAPE
    assert lib.tt_copy_to_pool(raw, h, 7, out) == lib.TT_ERR_ARG
    for n in (-1, 0, 1 << 20):
        assert lib.tt_backward(raw, n, one, ffi.NULL, 0, one, 0, 0, out) == lib.TT_ERR_ARG
    assert lib.tt_backward(raw, 1, one, ffi.NULL, -1, one, 0, 0, out) == lib.TT_ERR_ARG
    assert lib.tt_grad_norm(raw, -1, one, 2.0, number) == lib.TT_ERR_ARG
    for norm in (0.0, -1.0, float("nan")):
        assert lib.tt_grad_norm(raw, 1, one, norm, number) == lib.TT_ERR_ARG
    assert (
        lib.tt_adam(raw, 1, one, one, one, one, 0, 0.1, 0.9, 0.9, 1e-8, 0.0, 0, 0) == lib.TT_ERR_ARG
    )
    assert lib.tt_set_num_threads(0) == lib.tt_set_num_threads(-5) == -1
    lib.tt_ctx_free(ffi.NULL)
    assert lib.tt_release(raw, h) == lib.TT_OK


def test_the_raw_library_refuses_another_thread(raw):
    _, h = new_raw(raw)
    assert made_elsewhere(lambda: lib.tt_release(raw, h)) == lib.TT_ERR_THREAD
    assert made_elsewhere(lambda: new_raw(raw)[0]) == lib.TT_ERR_THREAD
    assert lib.tt_release(raw, h) == lib.TT_OK
