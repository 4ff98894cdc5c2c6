"""Plain numbers beside tensors and in them: what they become, and which ones a type refuses.

Constants are PyTorch's values. Where PyTorch cuts a number to a narrow type before it compares or
divides by it, which is a wrong answer, the right one is asked for: that of Python's integers.
"""

from __future__ import annotations

import math
import operator

import numpy as np
import pytest

import tinytape as tt
from tinytape.errors import NumberError

INTEGERS = {
    tt.uint8: [0, 1, 200, 255],
    tt.int8: [-128, -3, 1, 127],
    tt.int16: [-32768, -3, 1, 32767],
    tt.int32: [-(2**31), 5, 2**31 - 1],
    tt.int64: [-(2**63), 7, 2**63 - 1],
}
NUMBERS = [0, 1, -1, 3, 127, 128, -129, 255, 256, -256, 300, 32768, 100_000, 2**31, -(2**40)]
NUMBERS += [2**63 - 1, -(2**63)]
OPERATORS = [operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod]
OPERATORS += [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]
OPERATORS += [operator.and_, operator.or_, operator.xor]
KINDS = pytest.mark.parametrize("kind", INTEGERS, ids=lambda d: d.name)


# ---- beside tensors ------------------------------------------------------------------------------


def test_a_division_is_promoted_before_the_number_is_converted():
    def div(kind, values, number):
        got = tt.tensor(values, dtype=kind) / number
        assert got.dtype is tt.float32
        return got.tolist()

    f32 = np.float32
    assert div(tt.uint8, [1, 255], 256) == [0.00390625, 0.99609375]
    assert div(tt.uint8, 5, 256) == 0.01953125
    assert div(tt.uint8, [1, 255], -129) == [f32(-1 / 129), f32(-255 / 129)]
    assert div(tt.int16, [1, 32767], 100_000) == [f32(1e-5), f32(0.32767)]
    assert div(tt.int8, [1, -128], 300) == [f32(1 / 300), f32(-128 / 300)]
    assert div(tt.int32, [2**31 - 1], 2**40) == [0.001953125]
    assert div(tt.bool, [True, False], 256) == [0.00390625, 0.0]
    assert (256 / tt.tensor([1, 255], dtype=tt.uint8)).tolist() == [256.0, f32(256 / 255)]
    assert (tt.tensor([1, 255], dtype=tt.uint8) / tt.tensor(256)).tolist() == [1 / 256, 255 / 256]


def exact(f, x, number, kind):
    """What Python makes of two integers, wrapped into the type; None for a division by zero."""
    try:
        result = f(x, number)
    except ZeroDivisionError:
        return None
    if isinstance(result, bool):
        return result
    bits = 8 * kind.itemsize
    result %= 1 << bits
    return result - (1 << bits) if result > kind.most else result


@KINDS
@pytest.mark.parametrize("f", OPERATORS, ids=lambda f: f.__name__)
def test_integers_meet_any_number_of_64_bits_as_pythons_integers_do(kind, f):
    for reverse in (False, True):
        g = (lambda a, b, f=f: f(b, a)) if reverse else f
        for number in NUMBERS:
            for given in (number, np.int64(number), tt.tensor(number)):
                for values in (INTEGERS[kind], INTEGERS[kind][-1]):
                    x = tt.tensor(values, dtype=kind)
                    flat = values if isinstance(values, list) else [values]
                    expected = [exact(g, v, number, kind) for v in flat]
                    if None in expected:
                        with pytest.raises(ValueError, match="divided by zero"):
                            g(x, given)
                        continue
                    if isinstance(given, tt.Tensor) and x.ndim == 0:
                        continue  # two tensors without dimensions meet in the wider type
                    got = g(x, given)
                    assert got.dtype is (tt.bool if isinstance(expected[0], bool) else kind)
                    assert got.reshape(-1).tolist() == expected, (number, given, x)


def test_a_number_does_not_raise_the_type_of_a_tensor_without_dimensions():
    x = tt.tensor(5, dtype=tt.uint8)
    assert (x + 300).dtype is tt.uint8 and (x + 300).item() == 49
    assert (x + np.int64(300)).item() == 49 and (x * 1.5).dtype is tt.float32
    assert (tt.tensor(True) + 300).dtype is tt.int64
    assert (x + tt.tensor(300)).dtype is tt.int64 and (x + tt.tensor(300)).item() == 305


def test_numbers_of_numpy_are_numbers():
    x = tt.tensor([1, 2], dtype=tt.int16)
    assert (x + np.float64(0.5)).dtype is tt.float32
    assert (x + np.int64(1)).dtype is (x ** np.int64(2)).dtype is tt.int16
    assert (x > 0).__and__(np.bool_(True)).dtype is tt.bool
    assert (tt.ones(2, dtype=tt.float64) * np.float32(0.1)).dtype is tt.float64


def test_floats_beside_tensors_may_overflow_as_any_result_may():
    assert (tt.ones(2) * 1e40).tolist() == [math.inf, math.inf]
    assert (tt.ones(2, dtype=tt.uint8) + 1e300).tolist() == [math.inf, math.inf]
    assert (tt.tensor([1, 255], dtype=tt.uint8) < 1e10).tolist() == [True, True]
    assert (tt.tensor([1, 255], dtype=tt.uint8) == math.nan).tolist() == [False, False]
    assert (tt.ones(2) * 2**70).tolist() == [2.0**70] * 2


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30])
def test_integers_of_more_than_64_bits_are_refused_by_integers(number):
    for kind in (tt.bool, tt.uint8, tt.int64):
        x = tt.ones(2, dtype=kind)
        for f in (operator.add, operator.mul, operator.eq, operator.lt, operator.truediv):
            with pytest.raises(OverflowError, match=f"{number} does not fit into int64"):
                f(x, number)


# ---- in tensors ----------------------------------------------------------------------------------

M = tt.tensor([True, False, True, False])
STORED = {
    "tensor": lambda x, n: tt.tensor([n] * 4, dtype=x.dtype),
    "tensor of one": lambda x, n: tt.tensor(n, dtype=x.dtype).expand(4),
    "as_tensor": lambda x, n: tt.as_tensor([[0, n], [n, 0]], dtype=x.dtype)[0, 1:].expand(4),
    "full": lambda x, n: tt.full((4,), n, dtype=x.dtype),
    "full_like": tt.full_like,
    "fill_": lambda x, n: x.fill_(n),
    "copy_": lambda x, n: x.copy_(n),
    "masked_fill": lambda x, n: x.masked_fill(M, n)[::2].expand(2, 2).reshape(-1),
    "where": lambda x, n: tt.where(M, n, x)[::2].expand(2, 2).reshape(-1),
    "where not": lambda x, n: tt.where(M, x, n)[1::2].expand(2, 2).reshape(-1),
    "x[0] =": lambda x, n: changed(x, 0, n)[:1].expand(4),
    "x[:] =": lambda x, n: changed(x, slice(None), n),
    "x[[..]] =": lambda x, n: changed(x, [1, 3], n)[1::2].expand(2, 2).reshape(-1),
    "x[mask] =": lambda x, n: changed(x, M, n)[::2].expand(2, 2).reshape(-1),
    "x[:] = list": lambda x, n: changed(x, slice(None), [n, n, n, n]),
    "x[[..]] = list": lambda x, n: changed(x, [0, 1, 2, 3], [n] * 4),
}
storing = pytest.mark.parametrize("store", STORED.values(), ids=STORED)


def changed(x, index, value):
    x[index] = value
    return x


@storing
@pytest.mark.parametrize(
    ("kind", "number"),
    [
        (tt.uint8, 256),
        (tt.uint8, 300),
        (tt.uint8, -256),
        (tt.int8, 128),
        (tt.int8, -129),
        (tt.int16, 32768),
        (tt.int16, -40_000),
        (tt.int32, 2**31),
        (tt.int32, -(2**31) - 1),
        (tt.int64, 2**63),
        (tt.int64, -(2**63) - 1),
        (tt.int64, 2**70),
        (tt.uint8, np.int64(300)),
        (tt.int8, np.int16(200)),
    ],
)
def test_an_integer_that_does_not_fit_is_refused_and_nothing_changes(store, kind, number):
    x = tt.tensor([1, 2, 3, 4], dtype=kind)
    with pytest.raises(NumberError, match=f" does not fit into {kind.name}$"):
        store(x, number)
    assert x.tolist() == [1, 2, 3, 4]
    assert all(issubclass(NumberError, e) for e in (OverflowError, ValueError, RuntimeError))


@pytest.mark.parametrize("number", [300.0, 255.0 + 1, -0.5, 1e10, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["tensor", "full", "full_like", "fill_", "x[0] =", "x[mask] ="])
def test_a_float_that_no_integer_of_the_type_is_near_is_refused(name, number):
    x = tt.tensor([1, 2, 3, 4], dtype=tt.uint8)
    with pytest.raises(NumberError, match=f"{number} does not fit into uint8"):
        STORED[name](x, number)
    assert x.tolist() == [1, 2, 3, 4]


@storing
@pytest.mark.parametrize(
    ("kind", "number", "value"),
    [
        (tt.uint8, 255, 255),
        (tt.uint8, -1, 255),  # the same bits, as PyTorch has it
        (tt.uint8, -255, 1),
        (tt.int8, -128, -128),
        (tt.int16, 32767, 32767),
        (tt.int32, -(2**31), -(2**31)),
        (tt.int64, 2**63 - 1, 2**63 - 1),
        (tt.int64, -(2**63), -(2**63)),
        (tt.int64, 2**53 + 1, 2**53 + 1),
        (tt.uint8, True, 1),
        (tt.float32, 2**70, 2.0**70),
        (tt.float64, -(2**63) - 1, -(2.0**63)),
        (tt.float32, math.inf, math.inf),
        (tt.float64, 1e40, 1e40),
        (tt.float32, 0.5, 0.5),
        (tt.int16, np.int64(7), 7),
    ],
)
def test_a_number_that_fits_is_stored_exactly(store, kind, number, value):
    got = store(tt.tensor([1, 2, 3, 4], dtype=kind), number)
    assert got.dtype is kind and got.tolist() == [value] * 4


@pytest.mark.parametrize("name", ["tensor", "full", "fill_", "x[0] =", "x[[..]] =", "x[mask] ="])
def test_a_float_loses_its_fraction_among_integers_and_bool_takes_anything(name):
    for kind, number, value in (
        (tt.int8, 127.9, 127),
        (tt.int8, -2.9, -2),
        (tt.uint8, 255.9, 255),
        (tt.int64, 2.0**53, 2**53),
        (tt.int64, 16777217.0, 16777217),
        (tt.bool, 0.5, True),
        (tt.bool, math.nan, True),
        (tt.bool, 300, True),
        (tt.bool, 0.0, False),
    ):
        assert STORED[name](tt.ones(4, dtype=kind), number).tolist() == [value] * 4


def test_a_float_beyond_float32_is_refused_where_it_is_stored_alone():
    for name in set(STORED) - {"tensor", "tensor of one", "as_tensor", "x[:] = list"}:
        if name.endswith("list"):
            continue
        for number in (1e40, -1e300, 3.4028235e38):
            with pytest.raises(NumberError, match="does not fit into float32"):
                STORED[name](tt.ones(4), number)
    assert tt.tensor([1e40]).tolist() == [math.inf]  # as PyTorch has it


def test_limits_must_be_values_of_the_type():
    for x in (tt.tensor([1, 255], dtype=tt.uint8), tt.tensor(7, dtype=tt.uint8)):
        for low, high in ((-5, 300), (0, 256), (-1, None), (None, 300), (0, np.int64(300))):
            with pytest.raises(NumberError, match=r"clamp: .* does not fit into uint8"):
                x.clamp(low, high)
        for f in (tt.maximum, tt.minimum):
            with pytest.raises(NumberError, match=f"{f.__name__}: 300 does not fit into uint8"):
                f(x, 300)
            with pytest.raises(NumberError, match=f"{f.__name__}: -1 does not fit into uint8"):
                f(-1, x)
    x = tt.tensor([1, 255], dtype=tt.uint8)
    assert x.clamp(0, 100).tolist() == [1, 100] and x.clamp(0, 100).dtype is tt.uint8
    assert x.clamp(-5.0, 100).tolist() == [1.0, 100.0]  # in float32, which holds all of them
    assert x.clamp(-5, 100.5).tolist() == [1.0, 100.5]
    assert x.clamp(tt.tensor(-0.5), 300).tolist() == [1.0, 255.0]
    assert tt.tensor([-100, 100], dtype=tt.int8).clamp(-128, 127).tolist() == [-100, 100]
    with pytest.raises(NumberError, match=r"clamp: 1e\+40 does not fit into float32"):
        tt.ones(2).clamp(max=1e40)
    assert tt.ones(2).clamp(max=math.inf).tolist() == [1, 1]


def test_two_numbers_meet_in_where():
    assert tt.where(M, 1, 300).dtype is tt.int64
    assert tt.where(M, 1, 2.5).tolist() == [1, 2.5, 1, 2.5]
    assert tt.where(M, 2.5, tt.tensor([1, 2, 3, 4], dtype=tt.uint8)).tolist() == [2.5, 2, 2.5, 4]
    for given in ((2**63, 1), (1, 2**63), (1e40, 1.0), (1.0, 1e40)):
        with pytest.raises(NumberError, match=r"where: .* does not fit into "):
            tt.where(M, *given)


def test_what_is_converted_wraps_around():
    """Arrays and tensors are converted like by to(); only single numbers are looked at."""
    big = np.array([300, -1, 65_536, 255])
    wrapped = [44, 255, 0, 255]
    assert tt.tensor(big, dtype=tt.uint8).tolist() == wrapped
    assert tt.tensor(big).to(tt.uint8).tolist() == wrapped
    x = tt.zeros(4, dtype=tt.uint8)
    for given in (big, tt.tensor(big)):
        assert x.zero_().copy_(given).tolist() == wrapped
        assert changed(x.zero_(), slice(None), given).tolist() == wrapped
        assert changed(x.zero_(), [0, 1, 2, 3], given).tolist() == wrapped
    assert x.fill_(tt.tensor(300)).tolist() == [44] * 4
    assert tt.where(M, x.zero_(), tt.tensor(300)).tolist() == [0, 44, 0, 44]
    with pytest.raises(NumberError, match="masked_fill: 300 does not fit into uint8"):
        x.masked_fill(M, tt.tensor(300))


def test_linspace_of_integers_ends_within_them():
    with pytest.raises(NumberError, match="linspace: 300 does not fit into uint8"):
        tt.linspace(0, 300, 3, dtype=tt.uint8)
    assert tt.linspace(0, 255, 2, dtype=tt.uint8).tolist() == [0, 255]
