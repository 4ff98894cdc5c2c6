"""x[...] by integers, slices, lists, arrays, tensors and masks: values and gradients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinytape as tt

from ..support.index_reference import indices, reference

KINDS = (np.float32, np.float64, np.int64, np.uint8, np.int16)
kinds = st.sampled_from(KINDS)

X = np.arange(2 * 3 * 4, dtype=np.float64).reshape(2, 3, 4) ** 1.5


def places_of(shape, index):
    return reference(np.arange(np.prod(shape)).reshape(shape), index)


def check(index, given=None, values=X):
    """Values as PyTorch's; and for the gradient of <picked, w>, w added wherever it was picked."""
    given = index if given is None else given
    wanted = reference(values, index)
    x = tt.tensor(values, requires_grad=True)
    y = x[given]
    assert y.shape == wanted.shape
    np.testing.assert_array_equal(y.numpy(), wanted)
    w = np.random.default_rng(0).standard_normal(wanted.shape)
    summed = np.zeros(values.size)
    np.add.at(summed, places_of(values.shape, index).ravel(), w.ravel())
    for create_graph in (False, True):
        (g,) = tt.grad(x[given], x, tt.tensor(w), create_graph=create_graph)
        np.testing.assert_allclose(g.numpy(), summed.reshape(values.shape), rtol=1e-14)


def as_tensors(index):
    """The same index with tensors for arrays."""
    if isinstance(index, tuple):
        return tuple(map(as_tensors, index))
    return tt.tensor(index) if isinstance(index, np.ndarray) else index


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
def test_picked_elements_and_their_gradient_are_pytorchs(index):
    check(index)


def test_tensors_index_like_arrays():
    rows = tt.tensor([1, 0, 1])
    check(rows.numpy(), rows)
    check((slice(None), [2, -1]), (slice(None), tt.tensor(np.array([2, -1], np.int32))))
    mask = tt.tensor(X > 4)
    check(X > 4, mask)
    check((rows.numpy(), [[2]]), (rows, tt.tensor([[2]])))


ONE = (1, np.int64(1), np.array(1), tt.tensor(1), tt.tensor(1, dtype=tt.int32))


@pytest.mark.parametrize("one", ONE, ids=map(repr, ONE))
def test_what_has_no_dimensions_is_an_integer_which_is_applied_first(one):
    """numpy counts it among the arrays and would put their axes in front here: PyTorch's values."""
    x = tt.arange(24).reshape(2, 3, 4)
    idx = tt.tensor([0, 2])
    assert x[one, :, idx].tolist() == [[12, 14], [16, 18], [20, 22]]
    assert x[None, one, :, idx].shape == (1, 3, 2)
    assert x[tt.tensor([0, 1]), :, one].tolist() == [[1, 5, 9], [13, 17, 21]]
    assert x[[0, 1], None, one].tolist() == [[[4, 5, 6, 7]], [[16, 17, 18, 19]]]
    assert x[[0, 1], one, [0, 1]].tolist() == [4, 17]
    assert x[..., one, idx].tolist() == [[4, 6], [16, 18]]
    assert x[-one, :, idx].tolist() == x[one, :, idx].tolist()
    assert x[one].shape == (3, 4) and x[one, one].tolist() == [16, 17, 18, 19]
    assert x[one, one, one].item() == 17 and x[:, one : one + 1].shape == (2, 1, 4)
    # and an assignment goes where the values are read
    x[one, :, idx] = tt.tensor([[1, 2], [3, 4], [5, 6]])
    assert x[1].tolist() == [[1, 13, 2, 15], [3, 17, 4, 19], [5, 21, 6, 23]]
    x[one] = 0
    assert x.sum().item() == sum(range(12))


def test_what_has_no_dimensions_gives_a_view():
    x = tt.zeros(2, 3)
    x[tt.tensor(1)].fill_(1)
    x[np.array(0), tt.tensor(-1)].fill_(2)
    assert x.tolist() == [[0, 0, 2], [1, 1, 1]]


YES = (True, np.array(True), tt.tensor(True), np.True_)


@pytest.mark.parametrize("yes", YES, ids=map(repr, YES))
def test_a_single_bool_picks_a_new_axis_or_nothing(yes):
    x = tt.arange(24).reshape(2, 3, 4)
    no = tt.tensor(False)
    assert x[yes].shape == (1, 2, 3, 4) and x[no].shape == (0, 2, 3, 4)
    assert x[:, yes].shape == (2, 1, 3, 4) and x[yes, 1].shape == (1, 3, 4)
    assert x[yes, [0, 1]].shape == (2, 3, 4) and x[[0, 1], yes, :, [0, 1]].shape == (2, 3)
    x[yes] = 1
    x[no] = 2
    assert x.sum().item() == 24
    y = tt.tensor(3.0)
    y[yes] = 4.0
    assert y.item() == 4.0 and y[yes].tolist() == [4.0] and y[no].shape == (0,)


@settings(max_examples=150, derandomize=True, deadline=None, database=None)
@given(indices(), st.booleans())
def test_any_mixture_is_read_as_pytorch_reads_it(drawn, tensors):
    shape, index = drawn
    values = np.arange(np.prod(shape), dtype=np.float64).reshape(shape) ** 1.5
    check(index, as_tensors(index) if tensors else index, values)


@settings(max_examples=150, derandomize=True, deadline=None, database=None)
@given(indices(), st.sampled_from(KINDS), st.data())
def test_any_mixture_is_written_as_numpy_writes_it(drawn, kind, data):
    """Values that broadcast, in any type and layout; where a place comes twice, the last stays."""
    shape, index = drawn
    before = np.arange(np.prod(shape)).reshape(shape).astype(kind)
    x = tt.tensor(before)
    if data.draw(st.booleans()):  # another layout
        x = tt.tensor(before.T.copy()).permute(*reversed(range(before.ndim)))
    places = places_of(shape, index)
    sizes = [data.draw(st.sampled_from([1, n])) for n in places.shape]
    sizes = data.draw(st.sampled_from([sizes, sizes[1:], [1, *sizes]]))
    values = np.random.default_rng(0).integers(0, 100, sizes).astype(data.draw(kinds))
    lead = values.ndim - places.ndim  # one of size 1 too many is passed over
    try:
        np.broadcast_to(values[0] if lead == 1 else values, places.shape)
        fits = True
    except ValueError:
        fits = False
    expected = before.ravel()
    given_values = data.draw(st.sampled_from([values, tt.tensor(values)]))
    if not fits:
        with pytest.raises(ValueError, match="index: "):
            x[index] = given_values
    else:
        x[as_tensors(index)] = given_values
        expected[np.atleast_1d(places)] = values.astype(kind)
    np.testing.assert_array_equal(x.numpy().ravel(), expected)
    assert x.dtype.name == np.dtype(kind).name


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
