"""Views of tensors: numpy is the judge, forward and backward."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytape as tt

from ..support.examples import drawn


def grid(*shape: int, dtype=np.float32) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


def equal(x: tt.Tensor, expected: np.ndarray) -> None:
    assert x.shape == expected.shape
    np.testing.assert_array_equal(x.numpy(), expected)


# ---- views ---------------------------------------------------------------------------------------

# Not formatted by ruff: with one element a line the table is hard to compare by eye.
INDICES = [
    0, -1, slice(None), slice(1, 3), slice(None, None, 2), slice(5, 2), slice(-2, None),
    slice(9, 12), None, ..., (), (0, 1), (0, slice(1, None)), (slice(None), 2), (..., 0),
    (..., None), (None, 0, ...), (0, ..., slice(1, 2)),
    (slice(1), None, slice(None, None, 3), -1), (slice(None), ..., None, 0),
    np.int64(1), (1, 2, 3), (slice(0), 1), slice(None, None, 2**62), slice(0, 2**63 - 1, 1),
]  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=repr)
@pytest.mark.parametrize("turned", [False, True])
def test_indexing_is_numpys(index, turned):
    array = grid(3, 4, 5)
    x = tt.tensor(array, requires_grad=True)
    if turned:
        array, view = array.transpose(2, 0, 1), x.permute(2, 0, 1)
    else:
        view = x
    got = view[index]
    equal(got, array[index])
    picked = np.zeros_like(array)
    picked[index] = 1
    (grad,) = tt.grad(got, x, tt.ones(*got.shape))
    equal(grad, picked.transpose(1, 2, 0) if turned else picked)


def test_views_show_what_the_leaf_holds():
    x = tt.tensor(grid(2, 3, 4))
    views = [
        x.reshape(6, 4),
        x.view(-1),
        x.transpose(0, 2),
        x.permute(1, 2, 0),
        x[1],
        x[:, ::2],
        x.unsqueeze(1),
        x.flatten(1),
        x.narrow(2, 1, 2),
        x.expand(5, 2, 3, 4),
        *x.split(1),
        x.detach(),
    ]
    before = [v.numpy() for v in views]
    x.copy_(x.numpy() + 100)
    for v, old in zip(views, before, strict=True):
        np.testing.assert_array_equal(v.numpy(), old + 100)
    x[0].fill_(-1)
    assert (x.numpy()[0] == -1).all() and (x.numpy()[1] != -1).all()
    kept = x.clone()
    x.zero_()
    assert (kept.numpy() != 0).any()


def test_contiguous():
    x = tt.tensor(grid(3, 4))
    assert x.contiguous() is x
    turned = x.transpose(0, 1)
    assert not turned.is_contiguous() and turned.stride() == (1, 4)
    dense = turned.contiguous()
    assert dense.is_contiguous() and dense.stride() == (3, 1)
    equal(dense, grid(3, 4).T)
    assert tt.zeros(1, 5).transpose(0, 1).is_contiguous()
    assert tt.zeros(0, 5).transpose(0, 1).is_contiguous()


def test_reshape_of_views_that_cannot_stay_views():
    array = grid(2, 3, 4)
    for order in itertools.permutations(range(3)):
        for target in ((24,), (4, 6), (2, 12), (3, 2, 4), (2, 1, 2, 3, 2), (8, -1)):
            got = tt.tensor(array).permute(order).reshape(target)
            equal(got, array.transpose(order).reshape(target))
    equal(tt.ones(1).expand(6).reshape(2, 3), np.ones((2, 3), np.float32))
    equal(tt.tensor(grid(2, 1, 3)).expand(2, 4, 3).reshape(8, 3), grid(2, 3).repeat(4, 0))


def test_shape_functions_are_numpys():
    array = grid(2, 1, 3, 1)
    x = tt.tensor(array)
    equal(x.squeeze(), array.squeeze())
    equal(x.squeeze(1), array.squeeze(1))
    equal(x.squeeze(-1), array.squeeze(-1))
    assert x.squeeze(0).shape == (2, 1, 3, 1)  # as PyTorch: not 1, so it stays
    for dim in range(-5, 5):
        equal(x.unsqueeze(dim), np.expand_dims(array, dim))
    equal(x.flatten(), array.reshape(-1))
    equal(x.flatten(1, 2), array.reshape(2, 3, 1))
    assert tt.tensor(1.0).flatten().shape == (1,)
    equal(x.transpose(0, -2), array.swapaxes(0, -2))
    equal(tt.ones(1, 3).expand(-1, -1), np.ones((1, 3), np.float32))
    equal(tt.ones(3).expand(2, -1), np.ones((2, 3), np.float32))
    equal(tt.zeros(0, 3).reshape(3, 0, 5), np.zeros((3, 0, 5), np.float32))


def test_split_and_chunk_are_pytorchs():
    array = grid(7, 3)
    x = tt.tensor(array)
    assert [p.shape[0] for p in x.split(3)] == [3, 3, 1]
    assert [p.shape[0] for p in x.split([2, 0, 5])] == [2, 0, 5]
    assert [p.shape[1] for p in x.split(2, dim=-1)] == [2, 1]
    assert [p.shape[0] for p in x.chunk(3)] == [3, 3, 1]
    assert [p.shape[0] for p in x.chunk(5)] == [2, 2, 2, 1]  # fewer than asked, as in PyTorch
    assert [p.shape[0] for p in x.chunk(9)] == [1] * 7
    assert [p.shape for p in tt.zeros(0, 3).split(2)] == [(0, 3)]
    np.testing.assert_array_equal(np.concatenate([p.numpy() for p in x.split(3)]), array)


@drawn(0.3)
@given(st.data())
def test_chains_of_views_are_numpys(data):
    """Any views of views, forward and backward."""
    array = grid(*data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)), dtype=np.float64)
    x = tt.tensor(array, requires_grad=True)
    y, expected, places = x, array, grid(*array.shape, dtype=np.int64)
    for _ in range(data.draw(st.integers(1, 5))):
        kind = data.draw(st.sampled_from(("turn", "slice", "flat", "new", "stretch", "first")))
        n = y.ndim
        if kind == "turn":
            order = tuple(data.draw(st.permutations(range(n)))) if n else ()
            steps = (lambda t, o=order: t.permute(o)), (lambda a, o=order: a.transpose(o))
        elif kind == "slice" and n:
            index = (*[slice(None)] * data.draw(st.integers(0, n - 1)),)
            index += (slice(data.draw(st.integers(0, 2)), None, data.draw(st.integers(1, 2))),)
            steps = (lambda t, i=index: t[i]), (lambda a, i=index: a[i])
        elif kind == "flat":
            steps = (lambda t: t.reshape(-1)), (lambda a: a.reshape(-1))
        elif kind == "new" and n < 6:
            at = data.draw(st.integers(0, n))
            steps = (lambda t, d=at: t.unsqueeze(d)), (lambda a, d=at: np.expand_dims(a, d))
        elif kind == "stretch" and n < 6:
            shape = (2, *y.shape)
            steps = (lambda t, s=shape: t.expand(s)), (lambda a, s=shape: np.broadcast_to(a, s))
        elif kind == "first" and n and y.shape[0]:
            steps = (lambda t: t[0]), (lambda a: a[0])
        else:
            continue
        y, expected, places = steps[0](y), steps[1](expected), steps[1](places)
    equal(y, expected)
    if y is x:
        return
    weight = np.random.default_rng(0).standard_normal(expected.shape)
    (grad,) = tt.grad(y, x, tt.tensor(weight))
    by_numpy = np.zeros(array.size)
    np.add.at(by_numpy, places.reshape(-1), weight.reshape(-1))
    np.testing.assert_allclose(grad.numpy(), by_numpy.reshape(array.shape), atol=1e-12)
