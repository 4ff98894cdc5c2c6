"""Randomness is a function of three integers; and it looks random."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinytape as tt
from tinytape import sampling
from tinytape.data import RandomWindows
from tinytape.nn import functional as F
from tinytape.random import philox_u64

FLOATS = (tt.float32, tt.float64)


def philox_4x32(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x32-10 as the paper gives it (Salmon et al., SC 2011, section 3.3)."""
    mask = (1 << 32) - 1
    x0, x1, x2, x3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * x0, 0xCD9E8D57 * x2
        x0, x1, x2, x3 = (p1 >> 32) ^ x1 ^ k0, p1 & mask, (p0 >> 32) ^ x3 ^ k1, p0 & mask
        k0, k1 = (k0 + 0x9E3779B9) & mask, (k1 + 0xBB67AE85) & mask
    return [x0, x1, x2, x3]


def halves(n: int) -> list[int]:
    return [n & 0xFFFFFFFF, n >> 32]


# ---- the generator -------------------------------------------------------------------------------


def test_the_reference_gives_the_published_numbers():
    assert philox_4x32([0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    ones = 0xFFFFFFFF
    assert philox_4x32([ones] * 4, [ones] * 2) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**64 - 1, -1])
@pytest.mark.parametrize("stream", [0, 7, 2**63])
@pytest.mark.parametrize("offset", [0, 5, 2**33 + 1, 2**64 - 3])
def test_philox_is_philox(seed, stream, offset):
    got = philox_u64(seed, stream, offset, 6)
    for i, value in enumerate(got.tolist()):
        at = (offset + i) % 2**64
        words = philox_4x32(halves(at // 2) + halves(stream), halves(seed % 2**64))
        low, high = words[2 * (at % 2) : 2 * (at % 2) + 2]
        if offset + i < 2**64:
            assert value == low | high << 32


def test_an_element_depends_on_its_place_only():
    whole = philox_u64(3, 1, 0, 500)
    for start, n in ((0, 1), (1, 7), (33, 100), (499, 1), (500, 0)):
        np.testing.assert_array_equal(philox_u64(3, 1, start, n), whole[start : start + n])
    for make in (tt.rand, tt.randn):
        for dtype in FLOATS:
            whole = make(1001, generator=tt.Generator(5), dtype=dtype).numpy()
            for start, n in ((1, 10), (37, 500), (1000, 1)):
                generator = tt.Generator(5)
                generator.take(start)
                part = make(n, generator=generator, dtype=dtype).numpy()
                np.testing.assert_array_equal(part, whole[start : start + n])


def test_seeds_and_streams_differ():
    drawn = {
        tuple(philox_u64(seed, stream, 0, 4).tolist())
        for seed in (0, 1, 2**32, 2**63)
        for stream in (0, 1, 2**32, 2**63)
    }
    assert len(drawn) == 16


def test_generators():
    a, b = tt.Generator(3), tt.Generator(3)
    x = tt.rand(5, generator=a)
    np.testing.assert_array_equal(x.numpy(), tt.rand(5, generator=b).numpy())
    assert (tt.rand(5, generator=a).numpy() != x.numpy()).all()
    assert a.manual_seed(3) is a and a.initial_seed() == 3
    np.testing.assert_array_equal(x.numpy(), tt.rand(5, generator=a).numpy())
    assert tt.Generator(-1).seed == 2**64 - 1
    assert "seed=3" in repr(a)


SEEDED = {
    "manual_seed": lambda seed: tt.manual_seed(seed).seed,
    "Generator": lambda seed: tt.Generator(seed).seed,
    "stream": lambda seed: tt.Generator(0, stream=seed).stream,
    "Generator.manual_seed": lambda seed: tt.Generator(7).manual_seed(seed).initial_seed(),
    "philox_u64": lambda seed: philox_u64(seed, 0, 0, 2).tolist(),
    "windows": lambda seed: (
        RandomWindows(np.arange(9), batch_size=1, context=2, seed=seed).batch(0)[0].tolist()
    ),
    "sampling": lambda seed: sampling.uniform(seed, 0, 2),
}


@pytest.mark.parametrize("where", SEEDED)
def test_seeds_are_those_of_pytorch(where):
    """torch.manual_seed(-1).initial_seed() is 2**64 - 1; what does not fit 64 bits is an error."""
    seeded = SEEDED[where]
    for seed in (-(2**63), -1):
        assert seeded(seed) == seeded(seed + 2**64)
    for seed in (0, 2**63, 2**64 - 1, np.int64(5), np.uint64(2**64 - 1), True):
        seeded(seed)
    before = tt.default_generator.get_state()
    for seed in (2**64, -(2**63) - 1, 10**20, 2**128 + 1, 10**5000, -(10**5000)):
        with pytest.raises(ValueError, match=r"expected an integer from -2\*\*63 to 2\*\*64 - 1"):
            seeded(seed)
    for seed in (1.0, 2.5, "3", None, math.inf, [1]):
        with pytest.raises(TypeError, match="expected an integer, got"):
            seeded(seed)
    assert tt.default_generator.get_state() == before


def test_a_generator_that_refuses_a_seed_is_as_it_was():
    generator = tt.Generator(3, stream=4)
    generator.take(5)
    for wrong in (2**64, 0.5):
        with pytest.raises((TypeError, ValueError)):
            generator.manual_seed(wrong)
    assert generator.get_state() == {"seed": 3, "stream": 4, "offset": 5}


def test_sampling_refuses_a_seed_at_the_call():
    with pytest.raises(ValueError, match="expected an integer from"):
        sampling.generate(tt.nn.Module(), [0], 1, seed=2**64)


def test_state_continues_where_it_was_taken():
    a = tt.Generator(11, stream=2)
    tt.randn(3, generator=a)
    state = a.get_state()
    assert state == {"seed": 11, "stream": 2, "offset": 3}
    expected = [tt.randn(4, generator=a).tolist(), tt.rand(2, generator=a).tolist()]
    b = tt.Generator()
    b.set_state(state)
    assert [tt.randn(4, generator=b).tolist(), tt.rand(2, generator=b).tolist()] == expected
    before = b.get_state()
    wrong = ({"seed": -1}, {"offset": 2**64}, {"stream": 1.0})
    for bad in ({}, None, {"seed": 1}, *({**state, **change} for change in wrong)):
        with pytest.raises(ValueError, match="seed, stream and offset"):
            b.set_state(bad)
    assert b.get_state() == before


def test_the_default_generator():
    assert tt.manual_seed(4) is tt.default_generator
    x = tt.randn(3).tolist(), tt.rand(3).tolist(), F.dropout(tt.ones(50)).tolist()
    assert tt.randn(3).tolist() != x[0]
    tt.manual_seed(4)
    assert (tt.randn(3).tolist(), tt.rand(3).tolist(), F.dropout(tt.ones(50)).tolist()) == x
    tt.manual_seed(5)
    assert tt.randn(3).tolist() != x[0]


# ---- distributions -------------------------------------------------------------------------------

N = 200_000


def below(samples: np.ndarray, distribution) -> float:
    """The statistic of Kolmogorov and Smirnov."""
    x = np.sort(samples.astype(np.float64))
    expected = distribution(x)
    steps = np.arange(len(x) + 1) / len(x)
    return max((steps[1:] - expected).max(), (expected - steps[:-1]).max())


LIMIT = 1.95 / math.sqrt(N)  # one in a thousand; the seeds are fixed


@pytest.mark.parametrize("dtype", FLOATS)
def test_uniform(dtype):
    x = tt.rand(N, generator=tt.Generator(1), dtype=dtype)
    assert x.dtype is dtype
    x = x.numpy()
    assert x.min() >= 0 and x.max() < 1
    assert below(x, lambda v: v) < LIMIT
    assert abs(np.corrcoef(x[:-1], x[1:])[0, 1]) < 4 / math.sqrt(N)
    assert (x == 0).sum() <= 1 and len(np.unique(x)) > (0.98 * N if dtype is tt.float32 else N - 1)


@pytest.mark.parametrize("dtype", FLOATS)
def test_normal(dtype):
    x = tt.randn(N, generator=tt.Generator(1), dtype=dtype)
    assert x.dtype is dtype
    x = x.numpy().astype(np.float64)
    cdf = np.vectorize(lambda v: 0.5 * math.erfc(-v / math.sqrt(2)))
    assert below(x, cdf) < LIMIT
    assert abs(x.mean()) < 4 / math.sqrt(N)
    assert abs(x.var() - 1) < 4 * math.sqrt(2 / N)
    assert abs((x**4).mean() - 3) < 4 * math.sqrt(96 / N)
    assert 4 < np.abs(x).max() < 6
    assert abs(np.corrcoef(x[::2], x[1::2])[0, 1]) < 6 / math.sqrt(N)  # the pairs of Box and Muller


def test_sizes_of_random_tensors():
    assert tt.rand(2, 3).shape == tt.randn((2, 3)).shape == (2, 3)
    assert tt.rand(()).shape == () and tt.randn(0, 5).shape == (0, 5)
    assert tt.rand(2, requires_grad=True).requires_grad
    assert tt.randn(3, generator=tt.Generator(0)).dtype is tt.float32


# ---- dropout -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout(dtype, p):
    x = tt.ones(N, dtype=dtype, requires_grad=True)
    y = F.dropout(x, p, generator=tt.Generator(2))
    kept = y.numpy() != 0
    np.testing.assert_allclose(y.numpy()[kept], 1 / (1 - p), rtol=1e-6)
    assert abs(kept.mean() - (1 - p)) < 4 * math.sqrt(p * (1 - p) / N)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.numpy())  # the same mask


def test_dropout_at_its_ends():
    x = tt.ones(100, requires_grad=True)
    assert F.dropout(x, 0.0) is x
    assert F.dropout(x, 0.5, training=False) is x
    y = F.dropout(x, 1.0)
    assert y.tolist() == [0.0] * 100
    y.sum().backward()
    assert x.grad.tolist() == [0.0] * 100
    assert F.dropout(tt.tensor([float("inf")]), 1.0).item() == 0.0


def test_dropout_draws_a_new_mask_each_time_and_keeps_it_for_backward():
    tt.manual_seed(0)
    x = tt.ones(64, requires_grad=True)
    masks = [F.dropout(x, 0.5) for _ in range(3)]
    assert len({tuple(m.tolist()) for m in masks}) == 3
    expected = sum(m.numpy() for m in masks)
    total = masks[0] + masks[1] + masks[2]
    tt.rand(1000)  # whatever is drawn in between
    total.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), expected)


def test_dropout_of_large_seeds():
    for seed in (2**63, 2**64 - 1):
        generator = tt.Generator(seed, stream=seed)
        generator.offset = 2**64 - 10
        y = F.dropout(tt.ones(1000), 0.5, generator=generator)
        assert 400 < (y.numpy() != 0).sum() < 600
        assert generator.offset == 990
