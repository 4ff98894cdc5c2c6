"""Attention on a packed projection and with a cache, beyond their rows in the table: sizes of
several tiles, keys of one head shared by threads, what is written where."""

from __future__ import annotations

import numpy as np
import pytest

import tinytape as tt
from tinytape.nn import functional as F

from ..support.leaves import RNG, leaf

TOGETHER = F.scaled_dot_product_attention_qkvpacked
DECODE = F.scaled_dot_product_attention_with_kvcache


def apart(qkv, heads, dropout_p=0.0, is_causal=False, scale=None, *, generator=None):
    """What the packed form stands for, by the operations that it saves."""
    B, T, width = qkv.shape
    q, k, v = (
        part.reshape(B, T, heads, width // 3 // heads).transpose(1, 2)
        for part in qkv.split(width // 3, dim=2)
    )
    y = F.scaled_dot_product_attention(
        q, k, v, None, dropout_p, is_causal, scale, generator=generator
    )
    return y.transpose(1, 2).reshape(B, T, width // 3)


def close(a: tt.Tensor, b: tt.Tensor, tolerance: float = 1e-11) -> None:
    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dropout_p", [0.0, 0.4])
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("positions", [31, 65, 129, 300, 600])
def test_packed_is_taken_apart_and_joined(positions, is_causal, dropout_p):
    """Also the gradient of the gradient, and from 512 keys on the threads share a head's keys."""
    qkv = leaf(1, positions, 2 * 3 * 3)
    u, w = (tt.tensor(RNG.standard_normal((1, positions, n))) for n in (6, 18))
    results = []
    for function in (TOGETHER, apart):
        source = tt.Generator(5)
        y = function(qkv, 2, dropout_p, is_causal, 0.7, generator=source)
        (raw,) = tt.grad(y, [qkv], [u], retain_graph=True)
        (first,) = tt.grad(y, [qkv], [u], create_graph=True)
        (second,) = tt.grad((first * w).sum(), [qkv])
        results.append((y, raw, first, second))
        assert source.offset == (2 * positions**2 if dropout_p else 0)
    for a, b in zip(*results, strict=True):
        close(a, b, 1e-10)


def test_the_keys_of_a_head_shared_by_threads():
    """Fewer queries than keys, so that some keys are seen by none; and with a mask's gradient."""
    q, k, v = leaf(1, 1, 70, 3), leaf(1, 1, 700, 3), leaf(1, 1, 700, 2)
    for is_causal, mask in ((True, None), (False, leaf(70, 700))):
        inputs = [q, k, v] if mask is None else [q, k, v, mask]
        u = tt.tensor(RNG.standard_normal((1, 1, 70, 2)))
        y = F.scaled_dot_product_attention(*inputs, is_causal=is_causal)
        raw = tt.grad(y, inputs, u, retain_graph=True)
        nan = tt.full((1, 1, 700, 3), float("nan"), dtype=tt.float64, requires_grad=True) * 1.0
        del nan  # in free memory: what the kernel does not write shows
        for a, b in zip(raw, tt.grad(y, inputs, u, create_graph=True), strict=True):
            close(a, b)
        if is_causal:
            assert not raw[1].numpy()[0, 0, 70:].any() and raw[1].numpy()[0, 0, 69].any()


def test_a_gradient_that_is_there_already():
    qkv = leaf(2, 40, 18)
    u = tt.tensor(RNG.standard_normal((2, 40, 6)))
    (alone,) = tt.grad(TOGETHER(qkv, 3, is_causal=True), [qkv], [u])
    ones = tt.ones(2, 40, 18, dtype=tt.float64)
    (both,) = tt.grad([TOGETHER(qkv, 3, is_causal=True), 3.0 * qkv], [qkv], [u, ones])
    close(both, alone + 3.0)


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
def test_packed_of_any_strides(axes):
    shape = [(2, 9, 12)[a] for a in axes]
    kept = leaf(*(2 * n for n in shape))
    qkv = kept[tuple(slice(1, None, 2) for _ in axes)].permute(*np.argsort(axes).tolist())
    close(TOGETHER(qkv, 2), apart(qkv, 2))
    rows = leaf(2, 20, 12)[:, 3:12]  # rows that are dense, with gaps between the texts
    close(TOGETHER(rows, 2), apart(rows, 2))


def test_packed_is_recorded_as_one_operation():
    """What is recorded is the output, of each query and head two numbers, and the node."""
    qkv = tt.ones(2, 256, 96, requires_grad=True)
    before = tt.memory_stats()["step_used"]
    y = TOGETHER(qkv, 4, is_causal=True)
    numbers = 2 * 256 * 32 + 2 * 2 * 4 * 256
    assert tt.memory_stats()["step_used"] - before < 4 * numbers + 4096
    assert y.requires_grad


# ---- with a cache --------------------------------------------------------------------------------


def test_a_cache_takes_what_is_new_and_keeps_the_rest():
    cache = tt.tensor(RNG.standard_normal((2, 7, 8)))
    old, qkv = cache.numpy(), tt.tensor(RNG.standard_normal((2, 2, 12)))
    version_guard = leaf(2, 7, 8) * cache  # its backward would read the cache
    y = DECODE(qkv, cache, 2, 3)
    assert y.shape == (2, 2, 4) and not y.requires_grad
    np.testing.assert_array_equal(cache.numpy()[:, 3:5], qkv.numpy()[:, :, 4:])
    np.testing.assert_array_equal(np.delete(cache.numpy(), [3, 4], 1), np.delete(old, [3, 4], 1))
    with pytest.raises(RuntimeError, match="changed in place"):
        version_guard.sum().backward()


def test_a_cache_that_cannot_be_written():
    qkv, cache = tt.ones(1, 2, 12), tt.zeros(1, 5, 8)
    refused = [leaf(1, 5, 8, dtype=tt.float32) * 1.0]
    refused += [tt.zeros(1, 8, 5).transpose(1, 2), tt.zeros(1, 5, 16)[:, :, :8]]
    for wrong in refused:
        with pytest.raises(tt.errors.TapeStateError, match="kvcache: the cache is written in"):
            DECODE(qkv, wrong, 2, 0)
    shared = tt.zeros(1, 9, 8)
    with pytest.raises(tt.errors.TapeStateError, match="must not share its memory"):
        DECODE(shared.reshape(-1)[:24].reshape(1, 2, 12), shared, 2, 0)
    for length in (4, 5, -1, 2**63 - 1):
        with pytest.raises(ValueError, match=f"{length} positions and 2 more do not fit a cache"):
            DECODE(qkv, cache, 2, length)
    assert not cache.numpy().any()
