"""Making tensors: PyTorch's names, defaults and types; numpy is the judge of the values."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinytape as tt
from tinytape._ffi import lib

FLOATS = (tt.float32, tt.float64)
INTEGERS = (tt.uint8, tt.int8, tt.int16, tt.int32, tt.int64)


def is_like(x: tt.Tensor, expected: np.ndarray, dtype: tt.dtype) -> None:
    assert x.dtype is dtype and x.shape == expected.shape
    np.testing.assert_array_equal(x.numpy(), expected.astype(dtype.numpy))


# ---- tensor --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (True, tt.bool),
        ([True, False], tt.bool),
        ([True, 2], tt.int64),
        ([True, 2.5], tt.float32),
        ([[1, 2], [3.5, 4]], tt.float32),
        ((1, (2)), tt.int64),
        ([[]], tt.float32),
        ([np.float64(1), 2.5], tt.float64),
        ([np.float32(1), np.float64(2)], tt.float64),
        ([np.int32(1), 2.5], tt.float32),
        ([np.int8(1), np.uint8(2)], tt.int16),
        ([np.int32(1), 2], tt.int64),
        ([np.bool_(True), np.int16(3)], tt.int16),
        (np.int16(3), tt.int16),
        (np.array(3, np.uint8), tt.uint8),
        ([np.zeros(2, np.int8), np.ones(2, np.float32)], tt.float32),
        ([np.zeros(2, np.int8), [1.5, 2]], tt.float32),
        (np.zeros((2, 0), bool), tt.bool),
        (np.arange(6, dtype=">i4").reshape(2, 3).T, tt.int32),
        (np.arange(6, dtype=">f8")[::-2], tt.float64),
        (range(4), tt.int64),
    ],
)
def test_the_type_of_data_is_pytorchs(data, dtype):
    is_like(tt.tensor(data), np.array(data), dtype)


def test_tensors_in_lists():
    a, b = tt.tensor(1.5, dtype=tt.float64), tt.tensor(2)
    assert tt.tensor([a, b]).dtype is tt.float64 and tt.tensor([a, b]).tolist() == [1.5, 2.0]
    assert tt.tensor([b, True]).dtype is tt.int64
    rows = tt.tensor([tt.zeros(2), tt.ones(2, requires_grad=True)])
    assert rows.tolist() == [[0, 0], [1, 1]] and not rows.requires_grad
    assert tt.tensor([tt.tensor(1.0), 2.5]).tolist() == [1.0, 2.5]


def test_python_numbers_beyond_int64():
    for data in ([-1, 2**63], [1, float("nan")], float("inf"), [1e30], -(2**63) - 2**12, [2**70]):
        with pytest.raises((ValueError, TypeError), match=r"tensor: .*(fit into int64|supported)"):
            tt.tensor(data, dtype=tt.int64)
    with pytest.raises(ValueError, match=r"tensor: 9\.2233.* does not fit into int64"):
        tt.tensor([-1, 2**63])
    assert tt.tensor([2**63 - 1, -(2**63)]).tolist() == [2**63 - 1, -(2**63)]
    assert tt.tensor([[2**70, -1]], dtype=tt.float32).tolist() == [[2.0**70, -1]]
    with pytest.raises(OverflowError, match="tensor: an integer of 1329 bits does not fit into"):
        tt.tensor([10**400], dtype=tt.float64)
    assert tt.tensor([2.9, -2.9], dtype=tt.int8).tolist() == [2, -2]
    assert tt.tensor([0.5, 0.0, math.nan], dtype=tt.bool).tolist() == [True, False, True]


def test_as_tensor_keeps_tensors_and_copies_the_rest():
    x = tt.ones(2, requires_grad=True)
    assert tt.as_tensor(x) is x and tt.as_tensor(x, dtype=tt.float32) is x
    (tt.as_tensor(x, dtype=tt.float64) * 3).sum().backward()
    assert x.grad.tolist() == [3, 3]
    array = np.zeros(2, np.int16)
    y, z = tt.as_tensor(array), tt.from_numpy(array)
    array[:] = 7
    assert y.dtype is z.dtype is tt.int16 and y.tolist() == z.tolist() == [0, 0]
    with pytest.raises(TypeError, match="from_numpy: expected a numpy array, got list"):
        tt.from_numpy([1.0])
    with pytest.raises(TypeError, match=r"from_numpy: .*complex128"):
        tt.from_numpy(np.zeros(2, complex))


# ---- constants -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [tt.bool, *INTEGERS, *FLOATS], ids=str)
def test_constants_of_every_type(dtype):
    like = tt.zeros(2, 3, dtype=dtype)
    for shape in ((), (3,), (2, 0), (1,) * 8):
        is_like(tt.zeros(shape, dtype=dtype), np.zeros(shape), dtype)
        is_like(tt.ones(shape, dtype=dtype), np.ones(shape), dtype)
        is_like(tt.full(shape, 1, dtype=dtype), np.ones(shape), dtype)
        is_like(tt.empty(shape, dtype=dtype), np.zeros(shape), dtype)
    is_like(tt.zeros_like(like), np.zeros((2, 3)), dtype)
    is_like(tt.ones_like(like), np.ones((2, 3)), dtype)
    is_like(tt.empty_like(like), np.zeros((2, 3)), dtype)
    is_like(tt.full_like(like, 1), np.ones((2, 3)), dtype)
    is_like(tt.full_like(like, 2.5, dtype=tt.float64), np.full((2, 3), 2.5), tt.float64)
    for n, m in ((3, None), (2, 4), (4, 2), (0, 3), (3, 0), (1, 1)):
        is_like(tt.eye(n, m, dtype=dtype), np.eye(n, m), dtype)
    if dtype.is_floating_point:
        assert tt.full_like(like, 2, requires_grad=True).requires_grad
        assert tt.eye(2, dtype=dtype, requires_grad=True).is_leaf
    else:
        with pytest.raises(TypeError, match="requires_grad"):
            tt.ones(2, dtype=dtype, requires_grad=True)


def test_the_type_of_full_is_its_values():
    for value, dtype in (
        (True, tt.bool),
        (2, tt.int64),
        (2.0, tt.float32),
        (np.float64(2), tt.float32),
        (np.int8(2), tt.int64),
        (tt.tensor(2), tt.int64),
    ):
        assert tt.full((2,), value).dtype is dtype
    for value in (None, "1", 1j, [1], np.zeros(2), tt.zeros(1)):
        with pytest.raises(TypeError, match="full: expected a number"):
            tt.full((2,), value)
    with pytest.raises(ValueError, match="full: nan does not fit into int32"):
        tt.full((2,), math.nan, dtype=tt.int32)


# ---- ranges --------------------------------------------------------------------------------------


# Not formatted by ruff: with one element a line the table is hard to compare by eye.
@pytest.mark.parametrize(
    "args",
    [
        (5,), (0,), (2.5,), (2, 5), (5, 2, -1), (0, 10, 3), (0, 1, 0.1), (1, 0, -0.25), (3, 3),
        (-2, 2.0), (0.5, 3), (0, 1, 7), (2**62, 2**62 + 3), (np.int64(4),), (np.float64(1.5), 4),
    ],
    ids=repr,
)  # fmt: skip
def test_arange_is_numpys(args):
    whole = all(isinstance(a, (int, np.integer)) for a in args)
    is_like(tt.arange(*args), np.arange(*args), tt.int64 if whole else tt.float32)
    if max(args) > 2**60:
        return  # where doubles, in which the numbers are counted, do not tell them apart
    for dtype in FLOATS:
        is_like(tt.arange(*args, dtype=dtype), np.arange(*args), dtype)
    if whole and max(args) < 100:
        for dtype in INTEGERS[1:]:
            is_like(tt.arange(*args, dtype=dtype), np.arange(*args), dtype)


def test_arange_cuts_floats_to_integers_as_pytorch_does():
    assert tt.arange(0.5, 3.9, 1.5, dtype=tt.int64).tolist() == [0, 1, 2]
    assert tt.arange(0.5, 3.9, 1.5, dtype=tt.int32).tolist() == [0, 1, 2]  # three of 0.5, 2, 3.5
    assert tt.arange(end=3).tolist() == tt.arange(tt.tensor(3)).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="arange: step must not be 0"):
        tt.arange(0, 3, 0.5, dtype=tt.int64)


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ((0, 1, 0), ValueError, "step must not be 0"),
        ((0, 1, -1), ValueError, "a step of -1 does not lead from 0 to 1"),
        ((1, 0), ValueError, "a step of 1 does not lead from 1 to 0"),
        ((math.inf,), ValueError, "must be finite, got 0 to inf"),
        ((0, 1, math.nan), ValueError, "must be finite"),
        (("3",), TypeError, "expected a number, got str"),
        ((None,), TypeError, "expected a number, got NoneType"),
        ((2**70, 2**70 + 1), ValueError, "does not fit into int64"),
        ((10**400,), ValueError, "is no number here"),
        ((1, 2**70, 2**64), ValueError, "does not fit into int64"),
    ],
)
def test_what_is_no_range(args, error, message):
    with pytest.raises(error, match=f"arange: .*{message}"):
        tt.arange(*args)


def test_arange_of_bool_and_gradients():
    with pytest.raises(TypeError, match=r"arange: .*bool"):
        tt.arange(2, dtype=tt.bool)
    assert tt.arange(2.0, requires_grad=True).requires_grad
    with pytest.raises(TypeError, match="requires_grad"):
        tt.arange(2, requires_grad=True)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("start", "end"), [(0, 1), (-3.5, 2), (2, -2), (1, 1), (0.1, 0.7)])
def test_linspace(start, end, dtype):
    for steps in (0, 1, 2, 3, 10, 101):
        x = tt.linspace(start, end, steps, dtype=dtype)
        assert x.dtype is dtype and x.shape == (steps,)
        np.testing.assert_allclose(x.numpy(), np.linspace(start, end, steps), rtol=1e-6, atol=1e-7)
        if steps > 1:
            assert x.tolist()[0] == dtype.numpy.type(start)
            assert x.tolist()[-1] == dtype.numpy.type(end)


def test_linspace_of_integers_and_misuse():
    assert tt.linspace(0, 10, 5, dtype=tt.int64).tolist() == [0, 2, 5, 7, 10]
    assert tt.linspace(3, 7, 1).tolist() == [3.0] and tt.linspace(0, 1, 3).dtype is tt.float32
    with pytest.raises(ValueError, match="linspace: steps must not be negative, got -1"):
        tt.linspace(0, 1, -1)
    with pytest.raises(ValueError, match="linspace: the ends must be finite, got 0 and inf"):
        tt.linspace(0, math.inf, 3, dtype=tt.int64)
    assert tt.arange(2**70, 2**70 + 2**60, 2**58, dtype=tt.float64).shape == (4,)
    with pytest.raises(TypeError, match="linspace: steps must be integers, got float"):
        tt.linspace(0, 1, 2.0)


# ---- random integers -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS], ids=str)
def test_randint(dtype):
    source = tt.Generator(3)
    x = tt.randint(2, 9, (50, 700), generator=source, dtype=dtype)
    assert x.dtype is dtype and x.shape == (50, 700) and source.offset == 35_000
    count = np.bincount(x.numpy().reshape(-1).astype(int), minlength=9)
    expected = 35_000 / 7
    assert count[:2].sum() == 0 and len(count) == 9
    assert ((count[2:] - expected) ** 2 / expected).sum() < 22.5  # chi squared, 1 in 1000
    again = tt.randint(2, 9, (35_000,), generator=tt.Generator(3), dtype=dtype)
    np.testing.assert_array_equal(again.numpy(), x.numpy().reshape(-1))


def test_randint_of_large_ranges_fills_them_evenly():
    for low, high in ((-(2**63), 2**63), (0, 3 * 2**61), (-(2**62), 2**62 + 5), (0, 2**32 + 1)):
        x = tt.randint(low, high, (20_000,), generator=tt.Generator(1)).numpy()
        share = (x.astype(np.float64) - low) / (high - low)
        assert x.min() >= low and x.max() <= high - 1
        assert (np.histogram(share, 10, (0, 1))[0] > 1800).all()
        assert 0.45 < (x % 2).mean() < 0.55


def test_the_high_word_is_exact():
    from tinytape.random_tensors import _high_word

    words = tt.random.philox_u64(0, 0, 0, 100)
    for n in (1, 2, 3, 2**32 - 1, 2**32, 2**32 + 1, 2**63 + 12345, 2**64 - 1, 2**64):
        assert _high_word(words, n).tolist() == [int(w) * n >> 64 for w in words.tolist()]


def test_the_ways_to_call_randint():
    for x in (
        tt.randint(3, (2, 2)),
        tt.randint(3, size=(2, 2)),
        tt.randint(high=3, size=[2, 2]),
        tt.randint(0, 3, (2, 2)),
        tt.randint(low=0, high=3, size=(2, 2)),
    ):
        assert x.dtype is tt.int64 and x.shape == (2, 2) and 0 <= x.numpy().min() <= 2
    assert tt.randint(5, 6, ()).item() == 5 and tt.randint(3, (0, 4)).shape == (0, 4)
    assert tt.randint(0, 2, (9,), dtype=tt.bool).dtype is tt.bool
    tt.manual_seed(1)
    x = tt.randint(1000, (5,)).tolist()
    assert tt.randint(1000, (5,)).tolist() != x
    tt.manual_seed(1)
    assert tt.randint(1000, (5,)).tolist() == x


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: tt.randint(3, 3, (2,)), ValueError, "low must be less than high, got 3 and 3"),
        (lambda: tt.randint(0, (2,)), ValueError, "low must be less than high, got 0 and 0"),
        (lambda: tt.randint(0, 2**63 + 1, (2,)), ValueError, "does not fit into int64"),
        (lambda: tt.randint(-1, 2, (2,), dtype=tt.uint8), ValueError, "does not fit into uint8"),
        (lambda: tt.randint(2**25, (2,), dtype=tt.float32), ValueError, "into float32"),
        (lambda: tt.randint(3), TypeError, "expected .high, size."),
        (lambda: tt.randint(0, 3, 2), TypeError, "expected size as a tuple, got int"),
        (lambda: tt.randint(0, 2.5, (2,)), TypeError, "low and high must be integers"),
        (lambda: tt.randint(3, (2,), generator=7), TypeError, "expected a Generator, got int"),
        (lambda: tt.randint(3, (-1,)), ValueError, "-1"),
        (lambda: tt.randint(3, (2**40, 2**40)), MemoryError, "too many"),
    ],
)
def test_misuse_of_randint(call, error, message):
    before = tt.default_generator.get_state()
    with pytest.raises(error, match=message):
        call()
    assert tt.default_generator.get_state() == before


def test_randperm():
    x = tt.randperm(1000, generator=tt.Generator(5))
    assert x.dtype is tt.int64 and sorted(x.tolist()) == list(range(1000))
    assert x.tolist() == tt.randperm(1000, generator=tt.Generator(5)).tolist()
    assert x.tolist() != tt.randperm(1000, generator=tt.Generator(6)).tolist()
    assert tt.randperm(0).shape == (0,) and tt.randperm(1).tolist() == [0]
    assert tt.randperm(9, dtype=tt.float32).dtype is tt.float32
    source, count = tt.Generator(0), np.zeros((4, 4))
    for _ in range(3000):
        count[np.arange(4), tt.randperm(4, generator=source).numpy()] += 1
    assert np.abs(count - 750).max() < 100  # each number as often in each place
    for n, message in ((-1, "got -1"), (300, "fit into uint8, got 300")):
        with pytest.raises(ValueError, match=f"randperm: .*{message}"):
            tt.randperm(n, dtype=tt.uint8)
    with pytest.raises(TypeError, match="randperm: n must be integers, got float"):
        tt.randperm(2.0)


def test_random_numbers_like_a_tensor():
    like = tt.zeros(3, 2, dtype=tt.float64)
    x, y = (f(like, generator=tt.Generator(1)) for f in (tt.rand_like, tt.randn_like))
    assert x.dtype is y.dtype is tt.float64
    equal = np.testing.assert_array_equal
    equal(x.numpy(), tt.rand(3, 2, generator=tt.Generator(1), dtype=tt.float64).numpy())
    equal(y.numpy(), tt.randn(3, 2, generator=tt.Generator(1), dtype=tt.float64).numpy())
    assert tt.rand_like(tt.arange(3), dtype=tt.float32, requires_grad=True).requires_grad
    with pytest.raises(TypeError, match=r"randn_like: .*int64"):
        tt.randn_like(tt.arange(3))


# ---- misuse of all -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["zeros", "ones", "empty", "rand", "randn"])
def test_sizes_that_are_none(name):
    make = getattr(tt, name)
    with pytest.raises(TypeError, match=f"{name}: sizes must be integers, got float"):
        make(2.0)
    with pytest.raises(ValueError, match="-1"):
        make(2, -1)
    with pytest.raises(ValueError, match="0 to 8 dimensions"):
        make((1,) * 9)
    with pytest.raises(MemoryError):
        make(2**70)
    with pytest.raises(TypeError, match="dtype must be one of tinytape's"):
        make(2, dtype="float32")


def test_a_size_beyond_the_memory_is_an_error():
    lib.tt_set_memory_limit(1 << 26)
    try:
        for make in (
            lambda: tt.arange(2**31),
            lambda: tt.arange(1e300),
            lambda: tt.arange(2**70),
            lambda: tt.linspace(0, 1, 2**31),
            lambda: tt.randperm(2**31),
            lambda: tt.zeros(2**31),
            lambda: tt.rand(2**31),
            lambda: tt.eye(2**16),
            lambda: tt.full((2**31,), 1),
            lambda: tt.randint(3, (2**31,)),
            lambda: tt.zeros(1).expand(2**31).clone(),
            lambda: tt.cat([tt.zeros(1).expand(2**31)] * 3),
            lambda: tt.zeros(1).expand(2**31).flip(0),
            lambda: tt.zeros(2).repeat(2**31),
            lambda: tt.zeros(1).expand(2**31).roll(1),
            lambda: tt.zeros(1, 1).expand(2**31, 2).tril(),
        ):
            with pytest.raises(MemoryError):
                make()
    finally:
        lib.tt_set_memory_limit(0)
    assert tt.ones(3).sum().item() == 3
