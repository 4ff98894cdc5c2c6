"""Comparisons, logic, bits and where: values, types, operators, identity, and what is refused."""

from __future__ import annotations

import math
import operator

import numpy as np
import pytest

import tinytape as tt

NAN, INF = math.nan, math.inf
COMPARISONS = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}
compared = pytest.mark.parametrize("name", COMPARISONS)


def same(got: tt.Tensor, expected, dtype: tt.dtype = tt.bool) -> None:
    assert got.dtype is dtype
    np.testing.assert_array_equal(got.numpy(), np.asarray(expected, dtype.numpy))


# ---- comparisons ---------------------------------------------------------------------------------


@compared
@pytest.mark.parametrize("dtype", [tt.float32, tt.float64, tt.int64, tt.int8, tt.uint8, tt.bool])
def test_functions_operators_and_methods(name, dtype):
    f = COMPARISONS[name]
    values = [0.0, -0.0, 1.0, 2.0, -1.0]
    values += [NAN, INF, -INF] if dtype.is_floating_point else [3]
    if dtype in (tt.uint8, tt.bool):
        values = np.abs(values)
    x = np.array(values).astype(dtype.numpy)
    a, b = x[:, None], np.concatenate([x] * 3)
    s, t = tt.tensor(a), tt.tensor(b)
    for got in (f(s, t), getattr(tt, name)(s, t), getattr(s, name)(t), f(s, b), f(a, t)):
        same(got, f(a, b))
    same(f(t, 1), f(b, 1))
    same(f(1, t), f(1, b))
    same(f(t, 0.5), f(b.astype(np.float64), 0.5))
    same(f(t[::2], t[::2][:1]), f(b[::2], b[0]))


@compared
def test_comparisons_are_made_in_the_common_type(name):
    f = COMPARISONS[name]
    same(f(tt.tensor([1, 2]), tt.tensor([1.5, 2.0])), f(np.array([1, 2]), np.array([1.5, 2.0])))
    same(f(tt.tensor([300]), tt.tensor([44], dtype=tt.uint8)), f(np.array([300]), np.array([44])))
    same(f(tt.tensor([True]), 2), f(np.array([1]), 2))


def test_large_integers_are_compared_exactly():
    a = tt.tensor([2**62, 2**62 + 1])
    same(a == 2**62, [True, False])
    same(a[0] < a[1], True)


def test_what_is_no_number_equals_nothing_and_has_no_order():
    x = tt.ones(2)
    for other in (None, "a", [1.0, 1.0], object()):
        assert (x == other) is False and (x != other) is True
        assert (other == x) is False and (other != x) is True
    for name in ("lt", "le", "gt", "ge"):
        with pytest.raises(TypeError, match=f"^{name}: .* got (str|NoneType)"):
            COMPARISONS[name](x, None)
    with pytest.raises(tt.errors.ShapeError, match=r"^eq: shapes \(2,\) and \(3,\)"):
        x == tt.ones(3)  # noqa: B015


def test_a_tensor_is_hashed_by_identity():
    a, b = tt.ones(2), tt.ones(2)
    places = {a: "a", b: "b"}
    assert places[a] == "a" and places[b] == "b" and len({a, b, a}) == 2
    assert any(x is b for x in [a, b])
    p = tt.nn.Parameter(tt.ones(1))
    assert {p: 1}[p] == 1


def test_a_comparison_of_one_element_is_a_condition():
    x = tt.tensor(2.0, requires_grad=True)
    assert x > 1 and not x < 1 and 1 < x <= 2
    with pytest.raises(RuntimeError, match=r"shape \(2,\)"):
        bool(tt.ones(2) == tt.ones(2))


def test_a_comparison_has_no_gradient_and_says_so():
    x = tt.ones(3, requires_grad=True)
    below = x < 2
    assert not below.requires_grad
    with pytest.raises(RuntimeError, match="lt"):
        below.float().sum().backward()


# ---- questions and logic -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [tt.float32, tt.float64])
def test_what_numbers_are(dtype):
    x = tt.tensor([0.0, NAN, INF, -INF, 1.0, -0.0] * 7, dtype=dtype)
    same(x.isnan(), [0, 1, 0, 0, 0, 0] * 7)
    same(x.isinf(), [0, 0, 1, 1, 0, 0] * 7)
    same(x.isfinite(), [1, 0, 0, 0, 1, 1] * 7)
    largest = tt.tensor([np.finfo(dtype.numpy).max, np.finfo(dtype.numpy).tiny / 4], dtype=dtype)
    same(largest.isfinite(), [1, 1])
    same(x.logical_not(), [1, 0, 0, 0, 0, 1] * 7)
    same(x[::2].isnan(), [0, 0, 0] * 7)


def test_integers_are_finite():
    for values in ([0, 5, -(2**63)], [True, False, True]):
        x = tt.tensor(values)
        same(x.isnan(), [0, 0, 0])
        same(x.isinf(), [0, 0, 0])
        same(x.isfinite(), [1, 1, 1])


@pytest.mark.parametrize("name", ["logical_and", "logical_or", "logical_xor"])
def test_logic_of_what_is_not_zero(name):
    a, b = np.meshgrid([0.0, -0.0, 0.5, NAN, INF], [0, 3, -1])
    same(getattr(tt, name)(tt.tensor(a), tt.tensor(b)), getattr(np, name)(a, b))
    same(getattr(tt.tensor(b), name)(tt.tensor(b != 3)), getattr(np, name)(b, b != 3))


# ---- bits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("f", [operator.and_, operator.or_, operator.xor])
def test_bits_of_integers_and_bools(f):
    a, b = np.meshgrid([-8, -1, 0, 5, 255, 2**40], [-3, 0, 6, 1023])
    same(f(tt.tensor(a), tt.tensor(b)), f(a, b), tt.int64)
    same(f(tt.tensor(a), 6), f(a, 6), tt.int64)
    same(f(6, tt.tensor(a)), f(6, a), tt.int64)
    p, q = a > 0, b > 0
    same(f(tt.tensor(p), tt.tensor(q)), f(p, q))
    same(f(tt.tensor(p), True), f(p, True))
    same(f(True, tt.tensor(p)), f(True, p))
    small = tt.tensor([200], dtype=tt.uint8)
    same(f(small, tt.tensor([77], dtype=tt.uint8)), [f(200, 77)], tt.uint8)
    same(f(small, tt.tensor([True])), [f(200, 1)], tt.uint8)


def test_bits_turned_over():
    same(~tt.tensor([True, False]), [False, True])
    same(~tt.tensor([0, 5, -1]), [-1, -6, 0], tt.int64)
    same(~tt.tensor([0, 200], dtype=tt.uint8), [255, 55], tt.uint8)
    same(~tt.tensor([[True], [False]]).expand(2, 3), [[False] * 3, [True] * 3])


def test_floats_have_no_bits():
    x, i = tt.ones(2), tt.tensor([1, 2])
    for f in (tt.bitwise_and, tt.bitwise_or, tt.bitwise_xor):
        for pair in ((x, x), (x, i), (i, x), (i, 1.5)):
            with pytest.raises(tt.errors.DTypeError, match=f"^{f.__name__}: .* got float32"):
                f(*pair)
    with pytest.raises(tt.errors.DTypeError, match=r"^bitwise_not: .* got float32"):
        ~x  # noqa: B018


# ---- where ---------------------------------------------------------------------------------------


def test_where_takes_a_side():
    mask = tt.tensor([True, False, True])
    a, b = tt.tensor([1.0, 2.0, NAN]), tt.tensor([[NAN, INF, 5.0]])
    same(tt.where(mask, a, b), [[1.0, INF, NAN]], tt.float32)
    same(a.where(mask, 0), [1.0, 0.0, NAN], tt.float32)
    same(tt.where(mask[:1], a.double(), b), [[1.0, 2.0, NAN]], tt.float64)
    same(tt.where(mask, np.array([1, 2, 3]), 0), [1, 0, 3], tt.int64)


def test_the_type_of_where():
    mask, i = tt.tensor([True, False]), tt.tensor([7, 8])
    same(tt.where(mask, 1, 0), [1, 0], tt.int64)
    same(tt.where(mask, 1.5, 0), [1.5, 0], tt.float32)
    same(tt.where(mask, 0, 1.5), [0, 1.5], tt.float32)
    same(tt.where(mask, True, False), [True, False])
    same(tt.where(mask, i, 1.5), [7, 1.5], tt.float32)
    same(tt.where(mask, 2, i.to(tt.int8)), [2, 8], tt.int8)
    same(tt.where(mask, i, mask), [7, 0], tt.int64)


def test_where_stops_the_gradient_of_the_side_it_left():
    x = tt.tensor([0.0, 4.0], requires_grad=True)
    tt.where(x > 0, x * x, -x).sum().backward()
    assert x.grad.tolist() == [-1.0, 8.0]


def test_where_refuses():
    x = tt.ones(2)
    with pytest.raises(tt.errors.DTypeError, match=r"^where: .* must be bool, got float32"):
        tt.where(x, x, x)
    with pytest.raises(TypeError, match=r"^where: expected a Tensor, got bool"):
        tt.where(True, x, x)
    with pytest.raises(TypeError, match=r"^where: .* got str"):
        tt.where(x > 0, x, "a")
    with pytest.raises(TypeError, match=r"^where: .* got NoneType"):
        tt.where(x > 0, None, 1)
    with pytest.raises(tt.errors.ShapeError, match=r"^where: shapes \(2,\), \(2,\) and \(3,\)"):
        tt.where(x > 0, x, tt.ones(3))


def test_empty_tensors():
    x = tt.zeros(0, 3)
    assert (x == x).shape == tt.where(x > 0, x, 1.0).shape == (0, 3)
    assert tt.maximum(x, tt.zeros(1)).shape == (0, 3)
