"""Functions of each element where the table does not look: NaN, infinities, signs of zero, ties,
integers, the types that meet, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinytape as tt
from tinytape import nn
from tinytape.nn import functional as F

NAN, INF = math.nan, math.inf
FLOATS = pytest.mark.parametrize("dtype", [tt.float32, tt.float64], ids=["float32", "float64"])


def same(got: tt.Tensor, expected, dtype: tt.dtype | None = None) -> None:
    """Equal bits: NaN is NaN, and -0.0 is not 0.0."""
    y, wanted = got.numpy(), np.asarray(expected)
    assert dtype is None or got.dtype is dtype
    np.testing.assert_array_equal(y, wanted.astype(y.dtype))
    if y.dtype.kind == "f":
        told = ~np.isnan(y)
        np.testing.assert_array_equal(np.signbit(y)[told], np.signbit(wanted)[told])


def slope(f, *values, dtype=tt.float64) -> list[list[float]]:
    """By the kernel, which has to be that of the vjp."""
    leaves = [tt.tensor(v, dtype=dtype, requires_grad=True) for v in values]
    y = f(*leaves).sum()
    raw = [g.tolist() for g in tt.grad(y, leaves, retain_graph=True)]
    by_vjp = [g.tolist() for g in tt.grad(y, leaves, create_graph=True)]
    np.testing.assert_array_equal(raw, by_vjp)
    return raw


# ---- NaN, infinities, zeros ----------------------------------------------------------------------

SINGLE = [
    (tt.abs, [-0.0, -INF, NAN, -3.0], [0.0, INF, NAN, 3.0]),
    (tt.sign, [0.0, -INF, INF, NAN], [0.0, -1.0, 1.0, 0.0]),
    (tt.relu, [-0.0, -INF, INF, NAN, -1.0], [0.0, 0.0, INF, NAN, 0.0]),
    (tt.square, [-0.0, -INF, NAN], [0.0, INF, NAN]),
    (tt.reciprocal, [0.0, -0.0, INF, -INF, NAN], [INF, -INF, 0.0, -0.0, NAN]),
    (tt.log1p, [-0.0, -1.0, INF, NAN], [-0.0, -INF, INF, NAN]),
    (tt.expm1, [-0.0, -INF, INF, NAN, 1e4], [-0.0, -1.0, INF, NAN, INF]),
    (tt.sin, [-0.0, 0.0], [-0.0, 0.0]),
    (tt.cos, [0.0, -0.0], [1.0, 1.0]),
    (tt.sigmoid, [0.0, INF, -INF, NAN, 1e4, -1e4], [0.5, 1.0, 0.0, NAN, 1.0, 0.0]),
    (F.softplus, [INF, -INF, NAN, 1e4, -1e4], [INF, 0.0, NAN, 1e4, 0.0]),
    (tt.floor, [-0.5, 2.5, -0.0, INF, NAN], [-1.0, 2.0, -0.0, INF, NAN]),
    (tt.ceil, [-0.5, 2.5, 0.0, -INF, NAN], [-0.0, 3.0, 0.0, -INF, NAN]),
    (tt.trunc, [-0.5, 2.5, -2.5, INF, NAN], [-0.0, 2.0, -2.0, INF, NAN]),
    (tt.round, [0.5, 1.5, 2.5, -0.5, -1.5, 1e30, NAN], [0.0, 2.0, 2.0, -0.0, -2.0, 1e30, NAN]),
]


@FLOATS
@pytest.mark.parametrize(("f", "x", "expected"), SINGLE, ids=[f[0].__name__ for f in SINGLE])
def test_special_values(f, x, expected, dtype):
    for n in (1, 9):  # a vector of them too
        same(f(tt.tensor(x * n, dtype=dtype)), np.array(expected * n, dtype.numpy), dtype)


@FLOATS
@pytest.mark.parametrize("f", [tt.sin, tt.cos, tt.log1p, F.silu, F.softplus, tt.sigmoid])
def test_nan_stays(f, dtype):
    assert f(tt.tensor([NAN] * 5, dtype=dtype)).isnan().numpy().all()


@FLOATS
def test_sine_and_cosine_of_large_numbers_beside_small_ones(dtype):
    eps = np.finfo(dtype.numpy).eps
    x = np.array([0.5, 1e5, 1e6, 1048577.0, 1e7, 1e9, -1e9, 3e20, 1e30], dtype.numpy)
    for f, exact in ((tt.sin, np.sin), (tt.cos, np.cos)):
        y = f(tt.tensor(x)).numpy()
        assert np.abs(y - exact(x.astype(np.float64))).max() <= 2 * eps
        assert y[0] == f(tt.tensor(x[:1])).numpy()[0]  # whatever stands beside it
        assert f(tt.tensor([INF, -INF, NAN], dtype=dtype)).isnan().numpy().all()


def test_sigmoid_and_silu_keep_small_values():
    x = np.array([-88.0, -90.0, -95.0])
    exact = np.exp(x) / (1 + np.exp(x))
    np.testing.assert_allclose(tt.sigmoid(tt.tensor(x, dtype=tt.float32)).numpy(), exact, 1e-4)
    np.testing.assert_allclose(tt.sigmoid(tt.tensor(x)).numpy(), exact, 1e-14)
    assert F.silu(tt.tensor([-1e4, 1e4])).tolist() == [0.0, 1e4]


# ---- extremes ------------------------------------------------------------------------------------


@FLOATS
def test_maximum_and_minimum_pass_nan_on_from_either_side(dtype):
    a = tt.tensor([1.0, NAN, 1.0, NAN, INF, -INF], dtype=dtype)
    b = tt.tensor([2.0, 1.0, NAN, NAN, 1.0, 1.0], dtype=dtype)
    same(tt.maximum(a, b), [2.0, NAN, NAN, NAN, INF, 1.0], dtype)
    same(tt.minimum(a, b), [1.0, NAN, NAN, NAN, 1.0, -INF], dtype)


def test_equals_share_the_gradient_of_maximum_and_minimum():
    a, b = [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]
    assert slope(tt.maximum, a, b) == [[0.5, 0, 1], [0.5, 1, 0]]
    assert slope(tt.minimum, a, b) == [[0.5, 1, 0], [0.5, 0, 1]]


def test_slopes_at_kinks():
    assert slope(tt.abs, [0.0, -0.0]) == [[0, 0]]
    assert slope(tt.relu, [0.0, -1.0, 1.0]) == [[0, 0, 1]]
    for f in (tt.sign, tt.floor, tt.ceil, tt.trunc, tt.round):
        assert slope(f, [0.3, -2.0, 5.5]) == [[0, 0, 0]]


# ---- clamp ---------------------------------------------------------------------------------------


def test_clamp_by_numbers():
    x = tt.tensor([-2.0, -1.0, 0.5, 1.0, 2.0, NAN, INF, -INF])
    same(x.clamp(-1, 1), [-1, -1, 0.5, 1, 1, NAN, 1, -1])
    same(x.clamp(min=0), [0, 0, 0.5, 1, 2, NAN, INF, 0])
    same(x.clamp(max=0.0), [-2, -1, 0, 0, 0, NAN, 0, -INF])
    same(x.clamp(1, -1), [-1, -1, -1, -1, -1, NAN, -1, -1])
    assert x.clamp(min=NAN).isnan().numpy().all() and x.clamp(max=NAN).isnan().numpy().all()


def test_the_gradient_of_clamp_includes_the_bounds():
    x = [-2.0, -1.0, 0.0, 1.0, 2.0]
    assert slope(lambda x: x.clamp(-1, 1), x) == [[0, 1, 1, 1, 0]]
    assert slope(lambda x: x.clamp(min=-1), x) == [[0, 1, 1, 1, 1]]
    assert slope(lambda x: x.clamp(max=1), x) == [[1, 1, 1, 1, 0]]


def test_the_gradients_of_bounds_are_those_of_torch():
    x, low, high = [0.0, 2.0, 0.5, 0.5, 1.0], [1.0, 0.0, 0.0, 3.0, 1.0], [3.0, 1.0, 1.0, 2.0, 1.0]
    assert slope(tt.clamp, x, low, high) == [[0, 0, 1, 0, 1], [1, 0, 0, 0, 0], [0, 1, 0, 1, 0]]


def test_clamp_of_integers():
    x = tt.tensor([-3, 0, 5])
    same(x.clamp(-1, 2), [-1, 0, 2], tt.int64)
    same(x.to(tt.int8).clamp(min=-1), [-1, 0, 5], tt.int8)
    same(x.clamp(max=1.5), [-3, 0, 1.5], tt.float32)
    same(x.clamp(tt.tensor([0, 1, 2])), [0, 1, 5], tt.int64)


def test_clamp_needs_a_bound_that_fits():
    with pytest.raises(ValueError, match=r"^clamp: expected min, max or both"):
        tt.ones(2).clamp()
    with pytest.raises(tt.errors.ShapeError, match=r"^clamp: shapes \(3,\) and \(2,\)"):
        tt.ones(3).clamp(max=tt.ones(2))
    with pytest.raises(TypeError, match=r"^clamp: .* got str"):
        tt.ones(3).clamp("0")
    with pytest.raises(tt.errors.DTypeError, match=r"^clamp: .* got bool"):
        (tt.ones(3) > 0).clamp(0, 1)


# ---- powers --------------------------------------------------------------------------------------

BASES = [0.0, -0.0, 1.0, -1.0, 0.5, -2.0, 3.0, INF, -INF, NAN]
POWERS = [0.0, -0.0, 1.0, 2.0, 3.0, -1.0, -2.0, 0.5, -0.5, 2.5, INF, -INF, NAN]


@FLOATS
@np.errstate(all="ignore")
def test_powers_of_special_values(dtype):
    a = np.array(BASES, dtype.numpy)[:, None]
    b = np.array(POWERS, dtype.numpy)
    got, exact = tt.pow(tt.tensor(a), tt.tensor(b)).numpy(), np.power(a, b)
    np.testing.assert_allclose(got, exact, 4 * np.finfo(dtype.numpy).eps)
    same(tt.tensor(np.signbit(got) & ~np.isnan(got)), np.signbit(exact) & ~np.isnan(exact))


@FLOATS
@pytest.mark.parametrize("p", [0, 1, 2, 3, 4, -1, -2, -3, 0.5, -0.5, 1.5, 7.25])
def test_a_number_as_the_power_is_the_tensor_of_it(p, dtype):
    x = tt.tensor(np.linspace(0.1, 5, 57), dtype=dtype)
    np.testing.assert_allclose((x**p).numpy(), (x ** tt.tensor(p * 1.0, dtype=dtype)).numpy(), 1e-6)
    assert (x**p).dtype is dtype


def test_gradients_of_powers_at_zero():
    at_zero = [0.0]
    assert slope(lambda x: x**0, [0.0, 2.0, INF, NAN]) == [[0, 0, 0, 0]]
    assert slope(lambda x: x**1, at_zero) == [[1]]
    assert slope(lambda x: x**2, at_zero) == [[0]]
    assert slope(lambda x: x**0.5, at_zero) == [[INF]]
    assert slope(tt.pow, at_zero, at_zero) == [[0], [0]]
    assert slope(tt.pow, at_zero, [2.0]) == [[0], [0]]
    assert slope(tt.pow, at_zero, [1.0]) == [[1], [0]]
    assert slope(lambda p: 0**p, [0.0, 3.0]) == [[0, 0]]
    assert slope(lambda p: 0**p, [-1.0]) == [[-INF]]


def test_second_order_of_powers_at_zero_is_finite():
    x = tt.tensor(0.0, dtype=tt.float64, requires_grad=True)
    p = tt.tensor(3.0, dtype=tt.float64, requires_grad=True)
    first = tt.grad(x**p, [x, p], create_graph=True)
    second = tt.grad(first[0] + first[1], [x, p])
    assert [g.item() for g in second] == [0.0, 0.0]
    zeroth = tt.tensor(0.0, dtype=tt.float64, requires_grad=True)
    base = tt.tensor(2.0, dtype=tt.float64, requires_grad=True)
    (by_base,) = tt.grad(base**zeroth, [base], create_graph=True)
    assert tt.grad(by_base, [zeroth])[0].item() == 0.5  # x^(p-1), not zero


def test_powers_of_integers():
    i = tt.tensor([-3, 0, 2])
    same(i**2, [9, 0, 4], tt.int64)
    same(i**0, [1, 1, 1], tt.int64)
    same(i**3.0, [-27.0, 0, 8], tt.float32)
    same(2 ** tt.tensor([0, 1, 10]), [1, 2, 1024], tt.int64)
    same(2.0 ** tt.tensor([0, 1, -1]), [1, 2, 0.5], tt.float32)
    same(tt.tensor([10], dtype=tt.int8) ** 3, [1000 - 1024], tt.int8)  # wraps around
    same(tt.tensor([True, False]) ** 2, [1, 0], tt.int64)
    same(tt.tensor([1, -1, -1, 5, 0]) ** tt.tensor([-2, -3, -2, -1, -1]), [1, -1, 1, 0, 0])
    same(tt.tensor([3]) ** tt.tensor([40]), [3**40], tt.int64)
    same(i.square(), [9, 0, 4], tt.int64)
    with pytest.raises(ValueError, match=r"^pow: integers cannot .* negative power -1"):
        i**-1
    with pytest.raises(TypeError, match=r"^pow: .* got str"):
        i ** "2"


# ---- % and // ------------------------------------------------------------------------------------


@FLOATS
def test_division_with_a_remainder_is_pythons(dtype):
    a = np.array([5.5, -5.5, 5.5, -5.5, 6.0, -6.0, 0.0, 1e-3, -1e-3, 1.0], dtype.numpy)
    b = np.array([2.0, 2.0, -2.0, -2.0, 3.0, 3.0, 7.0, 5.0, 5.0, 0.1], dtype.numpy)
    x, y = tt.tensor(a), tt.tensor(b)
    same(x // y, np.floor_divide(a, b), dtype)
    np.testing.assert_array_equal((x % y).numpy(), np.remainder(a, b))
    np.testing.assert_allclose((x % y + (x // y) * y).numpy(), a, 1e-6, 1e-6)
    same(5.5 % tt.tensor([2.0, -2.0], dtype=dtype), [1.5, -0.5])
    same(tt.tensor([5.5, -5.5], dtype=dtype) // 2, [2.0, -3.0])
    zero = tt.zeros(3, dtype=dtype)
    same(tt.tensor([1.0, -1.0, 0.0], dtype=dtype) // zero, [INF, -INF, NAN])
    assert (tt.ones(3, dtype=dtype) % zero).isnan().numpy().all()


def test_division_of_integers():
    a, b = np.meshgrid([-7, -6, 0, 6, 7], [-3, -1, 1, 3])
    same(tt.tensor(a) % tt.tensor(b), a % b, tt.int64)
    same(tt.tensor(a) // tt.tensor(b), a // b, tt.int64)
    same(7 % tt.tensor([2, -2]), [1, -1], tt.int64)
    same(tt.tensor([7, -7]) // 2.0, [3.0, -4.0], tt.float32)
    least = tt.tensor([-(2**63)])
    same(least // -1, least.numpy())  # wraps around, and does not trap
    same(least % -1, [0])
    for f in (tt.remainder, tt.floor_divide):
        with pytest.raises(
            ValueError, match=f"^{f.__name__}: an integer cannot be divided by zero"
        ):
            f(tt.tensor([[1, 2], [3, 4]]), tt.tensor([1, 0]))
        assert f(tt.zeros(0, dtype=tt.int64), 0).shape == (0,)
        with pytest.raises(tt.errors.DTypeError, match=f"^{f.__name__}: .* got bool"):
            f(tt.tensor([True]), tt.tensor([True]))


def test_gradients_of_remainder():
    assert slope(tt.remainder, [5.5, -5.5], [2.0, 2.0]) == [[1, 1], [-2, 3]]


# ---- types ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("f", [tt.sin, tt.cos, tt.sigmoid, tt.log1p, tt.expm1, tt.reciprocal])
def test_integers_and_bools_become_float32(f):
    for values in ([1, 2], [True, True]):
        got = f(tt.tensor(values))
        np.testing.assert_allclose(got.numpy(), f(tt.tensor(values).float()).numpy())
        assert got.dtype is tt.float32


@pytest.mark.parametrize("f", [tt.floor, tt.ceil, tt.trunc, tt.round, tt.abs, tt.sign, tt.relu])
def test_integers_stay(f):
    for dtype in (tt.int64, tt.int32, tt.uint8):
        same(f(tt.tensor([0, 1, 7], dtype=dtype)), f(tt.tensor([0.0, 1.0, 7.0])).numpy(), dtype)


def test_what_bools_and_integers_do_not_have():
    for f in (tt.abs, tt.floor, tt.ceil, tt.trunc, tt.round, tt.relu):
        with pytest.raises(tt.errors.DTypeError, match=f"^{f.__name__}: .* got bool"):
            f(tt.tensor([True]))
    for f in (F.silu, F.softplus):
        with pytest.raises(tt.errors.DTypeError, match=f"^{f.__name__}: .* got int64"):
            f(tt.tensor([1]))
    with pytest.raises(tt.errors.DTypeError, match=r"^round: decimals .* got int64"):
        tt.round(tt.tensor([12]), decimals=-1)
    with pytest.raises(TypeError, match=r"^sin: expected a Tensor, got float"):
        tt.sin(1.0)


def test_round_with_decimals():
    x = tt.tensor([1.25, -0.126, 15.0, 25.0], dtype=tt.float64)
    same(tt.round(x, decimals=1), [1.2, -0.1, 15.0, 25.0])
    same(tt.round(x, decimals=-1), [0.0, -0.0, 20.0, 20.0])


# ---- layers --------------------------------------------------------------------------------------


def test_activation_layers_are_their_functions():
    x = tt.tensor([-30.0, -1.0, 0.0, 0.5, 30.0])
    for layer, f in ((nn.ReLU(), F.relu), (nn.SiLU(), F.silu), (nn.Sigmoid(), F.sigmoid)):
        same(layer(x), f(x).numpy())
    same(nn.Softplus(2.0, 1.5)(x), F.softplus(x, 2.0, 1.5).numpy())
    assert repr(nn.Softplus()) == "Softplus(beta=1.0, threshold=20.0)"
    assert F.softplus(tt.tensor([0.75]), 2.0, 1.5).item() != 0.75  # above the threshold, not at it
    assert F.softplus(tt.tensor([0.76]), 2.0, 1.5).item() == np.float32(0.76)


def test_add_and_sub_scale_their_second_operand_by_alpha():
    x, y = tt.tensor([1.0, 2.0]), tt.tensor([3.0, 5.0], requires_grad=True)
    assert tt.add(x, y, alpha=2).tolist() == [7.0, 12.0]
    assert x.sub(3, alpha=0.5).tolist() == [-0.5, 0.5]
    tt.sub(x, y, alpha=4).sum().backward()
    assert y.grad.tolist() == [-4.0, -4.0]
