"""Element types: how values pass from one to another, and in which type operands meet."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import tinytape as tt

DTYPES = [tt.bool, tt.uint8, tt.int8, tt.int16, tt.int32, tt.int64, tt.float32, tt.float64]
IDS = [d.name for d in DTYPES]
pairs = pytest.mark.parametrize("b", DTYPES, ids=IDS)


def promoted(a: tt.dtype, b: tt.dtype) -> tt.dtype:
    """torch.promote_types, which differs from numpy where an integer meets a float."""
    floats = [d for d in (a, b) if d.is_floating_point]
    if floats:
        return tt.float64 if tt.float64 in floats else tt.float32
    return next(d for d in DTYPES if d.numpy == np.promote_types(a.numpy, b.numpy))


# ---- conversion ----------------------------------------------------------------------------------


@pairs
@pytest.mark.parametrize("a", DTYPES, ids=IDS)
def test_every_type_converts_to_every_other_as_numpy_does(a, b):
    values = np.random.default_rng(0).integers(-300, 300, (3, 700)).astype(a.numpy)
    if a.is_floating_point:
        values += np.asarray(0.25, a.numpy)
    x = tt.tensor(values)
    assert x.dtype is a
    through_int64 = (
        values.astype(np.int64) if a.is_floating_point and not b.is_floating_point else values
    )
    expected = (values != 0) if b is tt.bool else through_int64.astype(b.numpy)
    for given, wanted in ((x, expected), (x.transpose(0, 1), expected.T)):
        y = given.to(b)
        assert y.dtype is b
        np.testing.assert_array_equal(y.numpy(), wanted)


def test_what_no_integer_holds_becomes_the_least_one_and_no_error():
    x = tt.tensor([np.nan, np.inf, -np.inf, 1e30, -2.9, 2.9])
    least = -(2**63)
    assert x.long().tolist() == [least, least, least, least, -2, 2]
    assert x.int().tolist() == [0, 0, 0, 0, -2, 2]
    assert x.bool().tolist() == [True] * 6


@pytest.mark.parametrize("size", [0, 1, 511, 513, 40_000])
def test_long_conversions(size):
    x = np.arange(size) % 251 - 100
    np.testing.assert_array_equal(tt.tensor(x).to(tt.int8).numpy(), x.astype(np.int8))
    np.testing.assert_array_equal(tt.tensor(x).double().numpy(), x.astype(np.float64))


def test_a_gradient_passes_a_conversion_and_comes_back_in_the_tensors_own_type():
    x = tt.tensor([1.5, -2.0], requires_grad=True)
    y = x.double()
    (g,) = tt.grad((y * y * y).sum() + (x * 3).sum(), x, create_graph=True)
    assert g.dtype is tt.float32
    assert g.tolist() == [3 * 2.25 + 3, 12 + 3]
    (h,) = tt.grad(g.sum(), x)
    assert h.dtype is tt.float32
    assert h.tolist() == [9.0, -12.0]
    for _ in range(2):
        (x.double() * 2).sum().backward()
    assert x.grad.tolist() == [4.0, 4.0]


def test_types_are_one_object_each():
    for d in DTYPES:
        assert copy.deepcopy(d) is d
        assert pickle.loads(pickle.dumps(d)) is d
        assert repr(d) == f"tinytape.{d.name}" and getattr(tt, d.name) is d


# ---- promotion -----------------------------------------------------------------------------------


@pairs
@pytest.mark.parametrize("a", DTYPES, ids=IDS)
def test_operands_meet_in_their_common_type(a, b):
    x, y = np.array([1, 0, 1]).astype(a.numpy), np.array([[1], [0]]).astype(b.numpy)
    total, product = tt.tensor(x) + tt.tensor(y), tt.tensor(x) * tt.tensor(y)
    kind = promoted(a, b)
    assert total.dtype is kind and product.dtype is kind
    np.testing.assert_array_equal(total.numpy(), x.astype(kind.numpy) + y.astype(kind.numpy))
    np.testing.assert_array_equal(product.numpy(), x.astype(kind.numpy) * y.astype(kind.numpy))
    ratio = tt.tensor(x) / tt.tensor(np.ones_like(y))
    assert ratio.dtype is (kind if kind.is_floating_point else tt.float32)


@pytest.mark.parametrize(
    ("sized", "single", "expected"),
    [
        (tt.int8, tt.int64, tt.int8),
        (tt.float32, tt.float64, tt.float32),
        (tt.float32, tt.int64, tt.float32),
        (tt.int64, tt.float32, tt.float32),
        (tt.int64, tt.float64, tt.float64),
        (tt.bool, tt.uint8, tt.uint8),
        (tt.bool, tt.float64, tt.float64),
        (tt.uint8, tt.bool, tt.uint8),
    ],
)
def test_a_tensor_without_dimensions_counts_only_if_its_kind_is_higher(sized, single, expected):
    one = tt.ones((), dtype=single)
    assert (tt.ones(2, dtype=sized) + one).dtype is expected
    assert (one * tt.ones(2, dtype=sized)).dtype is expected


@pytest.mark.parametrize(
    ("like", "number", "expected"),
    [
        (tt.bool, True, tt.bool),
        (tt.bool, 2, tt.int64),
        (tt.uint8, True, tt.uint8),
        (tt.uint8, 2, tt.uint8),
        (tt.int32, 2, tt.int32),
        (tt.int32, 2.0, tt.float32),
        (tt.bool, 2.0, tt.float32),
        (tt.float64, 2, tt.float64),
        (tt.float32, 2.5, tt.float32),
    ],
)
def test_python_numbers_take_the_tensors_type_unless_their_kind_is_higher(like, number, expected):
    for shape in ((2,), ()):
        x = tt.ones(*shape, dtype=like)
        assert (x + number).dtype is expected and (number * x).dtype is expected


def test_integers_wrap_around():
    x = tt.tensor(np.array([250, 3], np.uint8))
    assert (x + x).tolist() == [244, 6] and (-x).tolist() == [6, 253]
    assert (tt.tensor(2**63 - 1) + 1).item() == -(2**63)
    assert (tt.tensor([2**62, 2**62]).sum() + 0).item() == -(2**63)


def test_sums_of_integers_and_bool_are_int64():
    for d in (tt.bool, tt.uint8, tt.int16):
        total = tt.ones(300, 2, dtype=d).sum(0)
        assert total.dtype is tt.int64 and total.tolist() == [300, 300]
    exact = tt.tensor([2**60, 1, 2**60])
    assert exact.sum().item() == 2**61 + 1


@pytest.mark.parametrize("a", DTYPES[:6], ids=IDS[:6])
def test_functions_of_integers_are_float32(a):
    for f in (tt.exp, tt.sqrt, tt.tanh, tt.erf, tt.log, tt.rsqrt):
        y = f(tt.ones(3, dtype=a))
        assert y.dtype is tt.float32
        assert y.tolist() == f(tt.ones(3)).tolist()


def test_promotion_converts_the_gradients_back():
    w = tt.tensor([2.0, 3.0], requires_grad=True)
    d = tt.tensor(np.array([0.5, 4.0]), requires_grad=True)
    y = w * d * tt.tensor([1, 2])
    assert y.dtype is tt.float64
    y.sum().backward()
    assert w.grad.dtype is tt.float32 and w.grad.tolist() == [0.5, 8.0]
    assert d.grad.dtype is tt.float64 and d.grad.tolist() == [2.0, 6.0]


# ---- what has no gradient ------------------------------------------------------------------------


def test_asking_for_a_gradient_through_integers_names_the_operation():
    x = tt.ones(3, requires_grad=True)
    for y in (x.long().sum(), (x.bool() * tt.ones(3)).sum(), x.int().reshape(3, 1)[0].sum()):
        assert not y.requires_grad
        with pytest.raises(RuntimeError, match="computed through to, which has no gradient"):
            y.backward()
    with pytest.raises(RuntimeError, match=r"does not require grad and does not have a grad_fn"):
        tt.ones(3).sum().backward()


# ---- shapes and storage of narrow types ----------------------------------------------------------


@pytest.mark.parametrize("a", DTYPES, ids=IDS)
def test_views_copies_and_pickles_of_every_type(a):
    values = (np.arange(24) % 5).astype(a.numpy).reshape(2, 3, 4)
    x = tt.tensor(values)
    np.testing.assert_array_equal(
        x.permute(2, 0, 1).contiguous().numpy(), values.transpose(2, 0, 1)
    )
    np.testing.assert_array_equal(x[:, 1:, ::3].numpy(), values[:, 1:, ::3])
    np.testing.assert_array_equal(x.transpose(0, 2).reshape(6, 4).numpy(), values.T.reshape(6, 4))
    np.testing.assert_array_equal(
        x[0, 0].expand(5, 4).numpy(), np.broadcast_to(values[0, 0], (5, 4))
    )
    again = pickle.loads(pickle.dumps(x))
    assert again.dtype is a
    np.testing.assert_array_equal(again.numpy(), values)
    x.copy_(np.ones((2, 3, 4)))
    assert x.tolist() == np.ones((2, 3, 4)).tolist()
