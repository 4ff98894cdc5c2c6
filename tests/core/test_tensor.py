"""Tensors: making them, what they say of themselves, their views, changing them in place.

Meaning and defaults are PyTorch's; where numpy has the same notion, it is the judge.
"""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import tinytape as tt

FLOATS = (tt.float32, tt.float64)


def grid(*shape: int, dtype=np.float32) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


def equal(x: tt.Tensor, expected: np.ndarray) -> None:
    assert x.shape == expected.shape
    np.testing.assert_array_equal(x.numpy(), expected)


# ---- making --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "dtype", "shape"),
    [
        (1, tt.int64, ()),
        (1.5, tt.float32, ()),
        ([1, 2], tt.int64, (2,)),
        ([1, 2.0], tt.float32, (2,)),
        ([[1.0, 2.0], [3.0, 4.0]], tt.float32, (2, 2)),
        ([], tt.float32, (0,)),
        ([[], []], tt.float32, (2, 0)),
        (np.float64(1.5), tt.float64, ()),
        (np.zeros(2), tt.float64, (2,)),
        ([np.zeros(2), np.zeros(2)], tt.float64, (2, 2)),
        (np.zeros(2, np.float32), tt.float32, (2,)),
        (np.zeros(2, np.int32), tt.int32, (2,)),
        (np.zeros(2, np.uint8), tt.uint8, (2,)),
        ([True, False], tt.bool, (2,)),
        ([True, 2], tt.int64, (2,)),
        (np.zeros(2, ">i2"), tt.int16, (2,)),
        (np.zeros((2, 3), bool).T, tt.bool, (3, 2)),
        (np.zeros((2, 0, 3)), tt.float64, (2, 0, 3)),
        (range(3), tt.int64, (3,)),
    ],
)
def test_type_and_shape_of_data(data, dtype, shape):
    x = tt.tensor(data)
    assert (x.dtype, x.shape) == (dtype, shape)
    equal(x, np.asarray(data, dtype=dtype.numpy))


@pytest.mark.parametrize("dtype", [tt.float32, tt.float64, tt.int64])
def test_a_wanted_type_converts(dtype):
    for data in ([1, 2], [1.0, 2.0], np.array([1.0, 2.0]), np.array([True, False]), tt.ones(2)):
        x = tt.tensor(data, dtype=dtype)
        assert x.dtype is dtype
        equal(x, np.asarray(data, dtype=dtype.numpy))


def test_any_layout_of_numpy_is_copied():
    base = grid(4, 6, dtype=np.float64)
    locked = base.copy()
    locked.setflags(write=False)
    for array in (
        base.T,
        base[::2, ::-1],
        base[:, 1],
        base[:0],
        np.asfortranarray(base),
        locked,
        base.astype(">f8"),
        base.astype(">f4"),
        base.astype(">i4"),
        np.broadcast_to(base[0], (3, 6)),
    ):
        equal(tt.tensor(array), array)
    source = np.zeros(3)
    x = tt.tensor(source)
    source[:] = 7
    assert x.tolist() == [0.0, 0.0, 0.0]


def test_a_tensor_of_a_tensor_is_a_new_leaf():
    x = tt.tensor([1.0, 2.0], requires_grad=True)
    y = tt.tensor(x * 2)
    assert y.is_leaf and not y.requires_grad
    equal(y, np.array([2.0, 4.0], np.float32))
    assert tt.tensor(tt.zeros(2, dtype=tt.float64)).dtype is tt.float64


def test_constants():
    for shape in ((), (3,), (2, 0), (2, 3, 4)):
        equal(tt.zeros(shape), np.zeros(shape, np.float32))
        equal(tt.ones(*shape, dtype=tt.float64), np.ones(shape))
        equal(tt.full(shape, 2.5), np.full(shape, 2.5, np.float32))
    assert tt.full((2,), 3).dtype is tt.int64
    assert tt.full((2,), 3, dtype=tt.float64).dtype is tt.float64
    assert tt.ones(2).dtype is tt.zeros(2).dtype is tt.float32
    like = tt.zeros(2, 3, dtype=tt.float64)
    assert tt.ones_like(like).dtype is tt.float64
    equal(tt.zeros_like(like, dtype=tt.int64), np.zeros((2, 3), np.int64))
    assert tt.zeros(2, requires_grad=True).requires_grad
    assert tt.ones(2, requires_grad=True).is_leaf


@pytest.mark.parametrize("args", [(5,), (2, 5), (0, 10, 3), (5, 0, -2), (3, 3), (0.0, 1.0, 0.25)])
def test_arange(args):
    x = tt.arange(*args)
    assert x.dtype is (tt.int64 if all(isinstance(a, int) for a in args) else tt.float32)
    equal(x, np.arange(*args).astype(x.dtype.numpy))


# ---- what it says of itself ----------------------------------------------------------------------


def test_attributes():
    x = tt.zeros(2, 3, 4, requires_grad=True)
    assert x.shape == x.size() == (2, 3, 4)
    assert (x.size(1), x.size(-1)) == (3, 4)
    assert x.ndim == x.dim() == 3
    assert x.numel() == x.nelement() == 24
    assert x.stride() == (12, 4, 1)
    assert x.is_contiguous() and not x.transpose(0, 1).is_contiguous()
    assert len(x) == 2
    assert x.is_leaf and x.requires_grad and x.grad is None
    y = x * 2
    assert not y.is_leaf and y.requires_grad and y.grad is None
    z = y.detach()
    assert z.is_leaf and not z.requires_grad
    assert repr(x.dtype) == "tinytape.float32"
    assert tt.float32.itemsize == 4 and tt.float32.is_floating_point
    assert not tt.int64.is_floating_point


def test_types_are_single_objects():
    for dtype in (tt.float32, tt.float64, tt.int64):
        assert copy.deepcopy(dtype) is dtype
        assert pickle.loads(pickle.dumps(dtype)) is dtype


def test_values_leave_as_copies():
    x = tt.tensor([1.0, 2.0])
    array = x.numpy()
    array[:] = 9
    assert x.tolist() == [1.0, 2.0]
    x.fill_(5)
    assert array.tolist() == [9.0, 9.0]
    assert np.asarray(x).tolist() == [5.0, 5.0]
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    for view in (
        tt.tensor(grid(3, 4)).transpose(0, 1),
        tt.tensor(grid(4))[1:3],
        tt.ones(1).expand(3),
    ):
        assert view.numpy().flags.owndata and view.numpy().flags.writeable


def test_numbers():
    assert tt.tensor([[2.5]]).item() == 2.5
    assert isinstance(tt.tensor(2).item(), int)
    assert float(tt.tensor(2.5)) == 2.5
    assert int(tt.tensor(2.5)) == 2
    assert bool(tt.tensor(1.0)) and not tt.tensor(0)
    assert tt.tensor(3).tolist() == 3
    assert tt.tensor([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]


def test_a_single_value_can_be_formatted():
    """As in PyTorch, where a progress line is f"{loss:.4f}"."""
    assert f"{tt.tensor(2.5):.3f}" == "2.500"
    assert f"{tt.tensor(3):04d}" == "0003"
    assert f"{tt.tensor([1.0])}" == str(tt.tensor([1.0]))


def test_repr_shows_values_type_and_gradient():
    assert repr(tt.tensor([1.0, 2.5])) == "tensor([1. , 2.5])"
    assert repr(tt.tensor(3)) == "tensor(3)"
    assert "float64" in repr(tt.tensor(1.0, dtype=tt.float64))
    x = tt.tensor(1.0, requires_grad=True)
    assert "requires_grad=True" in repr(x) and "requires_grad" not in repr(x.detach())
    assert repr(tt.zeros(0, 3))


def test_iteration():
    x = tt.tensor(grid(3, 2))
    assert [row.tolist() for row in x] == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    assert list(tt.zeros(0, 2)) == []
    a, b = tt.tensor([1.0, 2.0])
    assert (a.item(), b.item()) == (1.0, 2.0)


def test_conversions():
    x = tt.tensor([1.5, -2.5])
    assert x.to(tt.float32) is x and x.float() is x
    assert x.double().dtype is tt.float64 and x.double().tolist() == [1.5, -2.5]
    assert x.long().tolist() == [1, -2]
    w = tt.tensor([1.0], requires_grad=True)
    w.double().sum().backward()
    assert w.grad.dtype is tt.float32 and w.grad.tolist() == [1.0]
    assert x.to(w.double()).dtype is tt.float64


# ---- arithmetic with numbers and arrays ----------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
def test_operators_with_numbers_and_arrays(dtype):
    x = tt.tensor([1.0, 2.0, 4.0], dtype=dtype)
    a = x.numpy()
    two = np.asarray(2, dtype=dtype.numpy)
    for number in (2, 2.0, True, np.float64(2), np.float32(2), np.int64(2), two):
        n = dtype.numpy.type(number)
        for got, expected in [
            (x + number, a + n),
            (number + x, n + a),
            (x - number, a - n),
            (number - x, n - a),
            (x * number, a * n),
            (number * x, n * a),
            (x / number, a / n),
            (number / x, n / a),
        ]:
            assert isinstance(got, tt.Tensor) and got.dtype is dtype
            equal(got, expected)
    array = np.array([[1.0], [2.0]], dtype=dtype.numpy)
    equal(array * x, array * a)
    equal(x - array, a - array)
    equal(-x, -a)


def test_operators_in_place():
    """On a leaf they overwrite it, so that a hand-written update trains; never where recorded."""
    w = tt.tensor([1.0, 2.0], requires_grad=True)
    same = w
    with pytest.raises(RuntimeError, match=r"no_grad\(\)"):
        w += 1
    with tt.no_grad():
        w += 1
        w *= 4
        w -= tt.tensor([2.0, 4.0])
        w /= 2
    assert w is same and w.requires_grad and w.tolist() == [3.0, 4.0]
    y = w * 1
    before = y
    y += 1  # a result gets a new name, and the graph stays right
    assert y is not before and before.tolist() == [3.0, 4.0]
    (y * before).sum().backward()
    assert w.grad.tolist() == [7.0, 9.0]


def test_mean_is_the_sum_over_the_count():
    for n in (1, 3, 41, 97, 1000):
        assert tt.ones(n).mean().item() == 1.0
    x = tt.tensor(grid(2, 3, 4))
    for dim in (None, 0, -1, (0, 2), (0, 1, 2)):
        for keepdim in (False, True):
            np.testing.assert_allclose(
                x.mean(dim, keepdim).numpy(), x.numpy().mean(dim, keepdims=keepdim), rtol=1e-6
            )
    assert np.isnan(tt.zeros(0).mean().item())
    assert np.isnan(tt.zeros(2, 0).mean(1).numpy()).all()
    assert tt.zeros(0, 2).mean(1).shape == (0,)


def test_sums_of_many_float32_are_good():
    n = 1_000_000
    x = tt.full((n,), 0.1)
    exact = n * float(np.float32(0.1))
    assert abs(x.sum().item() - exact) <= 1e-7 * exact
    rows = tt.full((n // 4, 4), 0.1).sum(0)
    assert np.abs(rows.numpy() - exact / 4).max() <= 1e-7 * exact / 4


# ---- in place ------------------------------------------------------------------------------------


def test_in_place_writes():
    x = tt.zeros(2, 3)
    assert x.copy_(tt.tensor([1.0, 2.0, 3.0])) is x
    equal(x, np.array([[1, 2, 3]] * 2, np.float32))
    x.transpose(0, 1).copy_(grid(3, 2))
    equal(x, grid(3, 2).T)
    x[1, ::2].copy_(tt.tensor([7.0, 8.0]))
    assert x.tolist() == [[0.0, 2.0, 4.0], [7.0, 3.0, 8.0]]
    assert x.fill_(1.5).tolist() == [[1.5] * 3] * 2
    assert x.zero_().tolist() == [[0.0] * 3] * 2
    x.copy_(np.float64(3))
    assert x.dtype is tt.float32 and x.tolist() == [[3.0] * 3] * 2
    i = tt.zeros(2, dtype=tt.int64)
    assert i.copy_([5, 6]).tolist() == [5, 6]
    tt.zeros(0).copy_(np.zeros(0))


def test_copy_between_overlapping_views():
    x = tt.tensor(grid(6))
    x[1:].copy_(x[:-1])
    assert x.tolist() == [0.0, 0.0, 1.0, 2.0, 3.0, 4.0]


def test_in_place_where_it_cannot_be():
    x = tt.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"fill_.*recorded"):
        (x * 2).fill_(1)
    with pytest.raises(RuntimeError, match=r"copy_.*gradient"):
        tt.zeros(3).copy_(x * 2)
    with pytest.raises(RuntimeError, match=r"copy_.*expanded"):
        tt.zeros(1).expand(3).copy_(tt.ones(3))
    with pytest.raises(ValueError, match=r"copy_.*\(2, 3\).*\(3,\)"):
        tt.zeros(3).copy_(np.zeros((2, 3)))
    with tt.no_grad():
        tt.zeros(3).copy_(x * 2)
    assert x.fill_(2).tolist() == [2.0] * 3  # a leaf may be changed; it is not recorded


def test_a_copy_has_a_handle_of_its_own():
    """A second Python object with the same handle would release it twice."""
    x = tt.tensor([1.0, 2.0], requires_grad=True)
    for made in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert made._handle != x._handle and made.requires_grad and made.dtype is x.dtype
        made.detach().zero_()
        assert x.tolist() == [1.0, 2.0]
    with pytest.raises(RuntimeError, match="only leaf tensors"):
        copy.deepcopy(x * 2)
    with pytest.raises(TypeError, match=r"tinytape\.tensor"):
        tt.Tensor([1.0])
