"""Sizes beyond all memory, and numbers that are none."""

from __future__ import annotations

import numpy as np
import pytest

import tinytape as tt
from tinytape._ffi import lib
from tinytape.nn import functional as F

X = tt.ones(2, 3)


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
        lambda: tt.zeros(size),
        lambda: tt.ones(size, dtype=tt.float64),
        lambda: tt.randn(size, 2),
        lambda: tt.zeros(2**31, size),
        lambda: tt.zeros(size, size),
        lambda: tt.full((1, size), 2.0),
        lambda: tt.zeros(1).expand(2**31, 2**31, size),
        lambda: tt.zeros(1).reshape(size),
    ):
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
        lambda: huge * 2,
        lambda: huge.clone(),
        lambda: huge.exp(),
        lambda: F.softmax(huge, 0),
        lambda: huge.reshape(2, -1) @ tt.ones(size // 2, 1),
        lambda: huge.expand(2**31, size),
        lambda: F.layer_norm(huge, size),
        lambda: huge.backward(huge.detach()),
        lambda: huge.detach() + 1,
        lambda: F.embedding(tt.zeros(1, dtype=tt.int64).expand(size), tt.ones(3, 2)),
    ):
        with pytest.raises((MemoryError, ValueError)):
            call()


@pytest.mark.parametrize("size", [2**40, 2**52, 2**57])
def test_shapes_without_an_element_cost_nothing(size):
    x = tt.zeros(size, 2, 0, requires_grad=True)
    q, k = tt.ones(1, 1, 2, 0, requires_grad=True), x.permute(1, 0, 2)[:1, None]
    for z in (
        x @ tt.zeros(size, 0, 0),
        x.cumsum(1),
        x[:, 1:],
        x.prod(0),
        x.tril(),
        x.logsumexp((0, 1)),
        F.scaled_dot_product_attention(q, k, k),
        F.scaled_dot_product_attention(*3 * [x[:, None]]),
    ):
        z.sum().backward()
    assert x.grad.shape == x.shape and q.grad.shape == q.shape


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


def test_gelu_is_straight_far_away():
    far = np.array([1e5, 1e9, 1e12, 1e18], np.float32)
    for approximate in ("none", "tanh"):
        x = tt.tensor(np.concatenate([far, -far]), requires_grad=True)
        (slope,) = tt.grad(F.gelu(x, approximate).sum(), [x], create_graph=True)
        np.testing.assert_array_equal(slope.numpy(), [1.0] * len(far) + [0.0] * len(far))
        for create_graph in (False, True):
            (bend,) = tt.grad(slope.sum(), [x], retain_graph=True, create_graph=create_graph)
            np.testing.assert_array_equal(bend.numpy(), 0.0)


def test_the_mean_over_nothing_is_nan():
    x = tt.zeros(0, 3, requires_grad=True)
    assert np.isnan(F.cross_entropy(x, tt.zeros(0, dtype=tt.int64)).item())
    y = tt.zeros(2, 3, requires_grad=True)
    for f in (F.cross_entropy, F.nll_loss):
        loss = f(y, tt.tensor([-100, -100]))
        assert np.isnan(loss.item())
        loss.backward()
        assert y.grad.tolist() == [[0.0] * 3] * 2
    assert np.isnan(F.cross_entropy(x, x).item())
    assert np.isnan(F.mse_loss(x, x).item())
    assert np.isnan(F.binary_cross_entropy_with_logits(x, x).item())
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
