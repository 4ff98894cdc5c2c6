"""x[...] by integers, slices, lists, arrays, tensors and masks: values and gradients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinytape as tt

X = np.arange(2 * 3 * 4, dtype=np.float64).reshape(2, 3, 4) ** 1.5


def check(index, numpy_index=None, expected=None):
    """Values as numpy's; and for the gradient of <picked, w>, w added wherever it was picked."""
    plain = index if numpy_index is None else numpy_index
    wanted = X[plain] if expected is None else expected
    x = tt.tensor(X, requires_grad=True)
    y = x[index]
    np.testing.assert_array_equal(y.numpy(), wanted)
    w = np.random.default_rng(0).standard_normal(wanted.shape)
    for create_graph in (False, True):
        (g,) = tt.grad(x[index], x, tt.tensor(w), create_graph=create_graph)
        places = np.arange(X.size).reshape(X.shape)
        picked = places[plain] if expected is None else np.searchsorted(X.ravel(), expected)
        summed = np.zeros(X.size)
        np.add.at(summed, picked.ravel(), w.ravel())
        np.testing.assert_allclose(g.numpy(), summed.reshape(X.shape), rtol=1e-14)


INDICES = [
    [1, 0, 1],
    [],
    [-1],
    np.array([[0, 1], [1, -2]]),
    np.array(1),
    (slice(None), [2, 0]),
    (Ellipsis, [3, 0, 0]),
    (None, [1], None),
    ([0, 1, 1], [2, 0, -1]),
    ([[0], [1]], [[2, 0, 1]]),
    ([0, 1], slice(None), [3, 0]),
    ([0, 1], slice(1, None, 2), [3, 0]),
    (slice(None), [0, 1], [3, 0]),
    (slice(0, 1), None, [0, 1], [3, 0]),
    ([0, 1], None, [0, 2]),
    ([1], [2], [3]),
    (np.array([1], np.uint8), np.array([2], np.int16)),
    np.array([True, False]),
    (slice(None), np.array([True, False, True])),
    (slice(None), [True, False, True], [1, 2]),
    np.ones((2, 3), bool),
    X > 4,
    X < 0,
    (np.eye(2, 3) > 0, [1, 2]),
    np.zeros((0, 2), np.int64),
]


@pytest.mark.parametrize("index", INDICES, ids=range(len(INDICES)))
def test_picked_elements_and_their_gradient_are_numpys(index):
    check(index)


def test_tensors_index_like_arrays():
    rows = tt.tensor([1, 0, 1])
    check(rows, rows.numpy())
    check((slice(None), tt.tensor(np.array([2, -1], np.int32))), (slice(None), [2, -1]))
    mask = tt.tensor(X > 4)
    check(mask, X > 4)
    check((rows, tt.tensor([[2]])), (rows.numpy(), [[2]]))


def test_a_plain_integer_is_applied_first_as_in_pytorch():
    """numpy counts it among the arrays and would put their axes in front here."""
    check((0, slice(None), [1, 2]), expected=X[0][:, [1, 2]])
    check(([0, 1], slice(None), 3), expected=X[..., 3][[0, 1]])


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(st.data())
def test_any_mixture_of_slices_masks_and_arrays(data):
    parts = []
    shape = data.draw(st.sampled_from([(3,), (1, 3), (2, 1), ()]))
    for size in X.shape:
        kind = data.draw(st.sampled_from(["slice", "array", "mask"]))
        if kind == "slice":
            start = data.draw(st.integers(-size - 1, size + 1))
            stop = data.draw(st.none() | st.integers(-size - 1, size + 1))
            parts.append(slice(start, stop, data.draw(st.integers(1, 3))))
        elif kind == "array" or shape not in [(3,), (2, 1)]:
            seed = data.draw(st.integers(0, 99))
            parts.append(np.random.default_rng(seed).integers(-size, size, shape))
        else:  # as many as the arrays have along their last axis, or one, which broadcasts
            mask = np.zeros(size, bool)
            mask[: min(shape[-1], size)] = True
            parts.append(mask if mask.sum() in (1, shape[-1]) else np.arange(1))
    check(tuple(parts))


def test_integers_and_bool_are_picked_too():
    for values in (np.arange(6).reshape(2, 3), np.arange(6).reshape(2, 3) % 2 == 0):
        for kind in (tt.uint8, tt.int64, tt.bool):
            x = tt.tensor(values).to(kind)
            y = x[:, [2, 0]]
            assert y.dtype is kind
            np.testing.assert_array_equal(y.numpy(), x.numpy()[:, [2, 0]])
            np.testing.assert_array_equal(
                x.gather(1, tt.tensor([[2], [0]])).numpy(), x.numpy()[[0, 1], [2, 0]][:, None]
            )


def test_second_order_through_picked_elements():
    x = tt.tensor(X, requires_grad=True)
    y = x[[0, 0, 1], [1, 1, 2]]
    (g,) = tt.grad((y * y * y).sum(), x, create_graph=True)
    (h,) = tt.grad((g * g).sum(), x)
    counts = np.zeros(X.shape)
    np.add.at(counts, ([0, 0, 1], [1, 1, 2]), 1)
    np.testing.assert_allclose(h.numpy(), counts**2 * 36 * X**3, rtol=1e-12)


def test_assignment_overwrites_a_leaf_as_numpy_does():
    a = X.copy()
    x = tt.tensor(a)
    for index, value in [
        (0, 1.0),
        ((slice(None), 1), [1.0, 2.0, 3.0, 4.0]),
        ([1, 0], -1),
        ((1, Ellipsis, 2), np.arange(3.0)),
        (a > 5, 0),
    ]:
        x[index] = value
        a[index] = value
        np.testing.assert_array_equal(x.numpy(), a)
    x[tt.tensor([0])] = tt.zeros(3, 4)
    x[0, 0] = tt.ones(4, requires_grad=True).detach()
    assert x[0].sum().item() == 4


def test_assignment_that_would_lose_a_gradient_or_does_not_fit_is_refused():
    w = tt.ones(2, requires_grad=True)
    x = tt.zeros(2)
    for change in (
        lambda: w.__setitem__(0, 1.0),
        lambda: (w * 2).__setitem__(0, 1.0),
        lambda: x.__setitem__(slice(None), w),
    ):
        with pytest.raises(RuntimeError):
            change()
    with pytest.raises(IndexError):
        x[2] = 1.0
    with pytest.raises(ValueError, match="index: "):
        x[:] = [1.0, 2.0, 3.0]
    assert x.tolist() == [0, 0]
    with tt.no_grad():
        w[0] = 5.0
        x[:] = w
    assert w.tolist() == x.tolist() == [5.0, 1.0]


def test_gather_and_scatter_add_without_dimensions():
    x = tt.tensor(3.0, requires_grad=True)
    assert x.gather(0, tt.tensor([0, 0])).tolist() == [3.0, 3.0]
    assert x.gather(0, tt.tensor(0)).shape == ()
    y = x.scatter_add(0, tt.tensor(0), tt.tensor(2.0))
    assert y.shape == () and y.item() == 5.0
    assert x.index_select(0, tt.tensor([0])).shape == ()


def test_indices_that_change_before_backward_are_noticed():
    x, index = tt.ones(3, requires_grad=True), tt.tensor([0, 1])
    y = x.gather(0, index)
    index.copy_(np.array([2, 2]))
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()


def test_one_hot():
    index = tt.tensor([[0, 2], [1, 0]])
    hot = tt.nn.functional.one_hot(index)
    assert hot.dtype is tt.int64
    np.testing.assert_array_equal(hot.numpy(), np.eye(3, dtype=np.int64)[index.numpy()])
    assert tt.nn.functional.one_hot(tt.tensor(1), 4).tolist() == [0, 1, 0, 0]
    for bad, error in (([3], IndexError), ([-1], IndexError), ([0.5], TypeError)):
        with pytest.raises(error, match="one_hot: "):
            tt.nn.functional.one_hot(tt.tensor(bad), 3)
    with pytest.raises(ValueError, match="num_classes"):
        tt.nn.functional.one_hot(tt.zeros(0, dtype=tt.int64))


def test_masked_fill_keeps_the_type_and_refuses_what_it_cannot_hold():
    x, mask = tt.tensor([1, 2, 3]), tt.tensor([True, False, True])
    assert x.masked_fill(mask, 9).tolist() == [9, 2, 9]
    assert x.masked_fill(mask, True).dtype is tt.int64
    y = tt.ones(3).masked_fill(mask, -np.inf)
    assert y.dtype is tt.float32 and y.tolist() == [-np.inf, 1.0, -np.inf]
    for bad, error in (
        (lambda: x.masked_fill(mask, 0.5), TypeError),
        (lambda: x.masked_fill(x, 1), TypeError),
        (lambda: x.masked_fill(mask, tt.ones(3)), ValueError),
        (lambda: x.masked_fill(tt.tensor([True, False]), 1), ValueError),
    ):
        with pytest.raises(error):
            bad()
