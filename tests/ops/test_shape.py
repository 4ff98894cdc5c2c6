"""Shapes, joining and rearranging, at their edges; the table of operations has the rest."""

from __future__ import annotations

import numpy as np
import pytest

import tinytape as tt

X = tt.ones(2, 3)
SCALAR = tt.tensor(1.0)
EIGHT = tt.zeros((1,) * 8)


def grid(*shape: int, dtype=np.float32) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


def equal(x: tt.Tensor, expected: np.ndarray) -> None:
    assert x.shape == expected.shape
    np.testing.assert_array_equal(x.numpy(), expected)


# ---- joining -------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 7, 8, 9, 64, 65, 130])
def test_cat_of_many(count):
    arrays = [grid(2, i % 3, 2) + i for i in range(count)]
    leaves = [tt.tensor(a, requires_grad=True) for a in arrays]
    out = tt.cat(leaves, 1)
    equal(out, np.concatenate(arrays, 1))
    seeds = grid(*out.shape)
    out.backward(tt.tensor(seeds))
    ends = np.cumsum([a.shape[1] for a in arrays])[:-1]
    for x, part in zip(leaves, np.split(seeds, ends, 1), strict=True):
        equal(x.grad, part)


def test_cat_passes_over_tensors_of_shape_0():
    empty, x = tt.zeros(0, requires_grad=True), tt.ones(2, 3, requires_grad=True)
    for parts in ([empty, x], [x, empty, x], [empty] * 9 + [x] * 9):
        out = tt.cat(parts, -1)
        assert out.shape == (2, 3 * sum(p is x for p in parts))
    gone, grad = tt.grad(out.sum(), [empty, x])
    assert gone.shape == (0,) and grad.tolist() == [[9.0] * 3] * 2
    (gone,) = tt.grad(tt.cat([x, empty], 1).sum(), empty, create_graph=True)
    assert gone.shape == (0,)
    assert tt.cat([empty, empty]).shape == (0,)
    assert tt.cat([empty, tt.ones(2)]).tolist() == [1.0, 1.0]
    assert tt.cat([tt.zeros(0, dtype=tt.float64), X]).dtype is tt.float64
    with pytest.raises(ValueError, match=r"cat: shapes \(2, 3\) and \(0, 4\)"):
        tt.cat([X, tt.zeros(0, 4)], 0)


def test_types_meet():
    kinds = (tt.bool, tt.uint8, tt.int8, tt.int64, tt.float32, tt.float64)
    for a in kinds:
        for b in kinds:
            x = tt.cat([tt.ones(2, dtype=a), tt.zeros(1, dtype=b)])
            expected = np.promote_types(a.numpy, b.numpy)
            if expected == np.float64 and tt.float64 not in (a, b):
                expected = np.float32  # as PyTorch: an integer takes the float's type
            assert x.dtype.numpy == expected and x.tolist() == [1, 1, 0]
            assert tt.stack([tt.ones((), dtype=a), tt.zeros((), dtype=b)]).dtype is x.dtype
    many = [tt.ones(1, dtype=tt.int8)] * 9 + [tt.ones(1, dtype=tt.uint8)] * 9
    assert tt.cat(many).dtype is tt.int16


def test_the_result_of_cat_is_a_copy():
    for make in (
        lambda x: tt.cat([x]),
        lambda x: x.repeat(1),
        lambda x: x.flip(),
        lambda x: x.roll(0),
        lambda x: x.tile(()),
    ):
        x = tt.zeros(3)
        make(x).fill_(7)
        assert x.tolist() == [0, 0, 0]


def test_stack_and_unbind_are_inverse():
    array = grid(2, 3, 4)
    for dim in range(-3, 3):
        parts = tt.tensor(array).unbind(dim)
        assert isinstance(parts, tuple) and len(parts) == array.shape[dim]
        equal(tt.stack(parts, dim), array)
    assert tt.zeros(0, 2).unbind() == ()
    assert tt.stack([SCALAR, SCALAR]).shape == (2,)
    base = tt.zeros(2, 3)
    base.unbind(1)[1].fill_(5)
    assert base.tolist() == [[0, 5, 0], [0, 5, 0]]  # views


def test_chunk_of_nothing_gives_as_many_as_asked():
    assert [p.shape for p in tt.zeros(2, 0).chunk(3, 1)] == [(2, 0)] * 3
    assert [p.shape for p in tt.zeros(0, 2).split(5)] == [(0, 2)]
    assert [p.shape[0] for p in tt.zeros(5).split(np.int64(2))] == [2, 2, 1]


# ---- axes and sizes ------------------------------------------------------------------------------


def test_zero_dimensions():
    for y in (
        SCALAR.flip(),
        SCALAR.flip(0),
        SCALAR.roll(3),
        SCALAR.roll(1, 0),
        SCALAR.squeeze(0),
        SCALAR.movedim(0, -1),
        SCALAR.T,
        SCALAR.t(),
        SCALAR.transpose(0, -1),
        SCALAR.repeat(),
    ):
        assert y.shape == () and y.item() == 1.0
    assert SCALAR.repeat(2, 3).shape == (2, 3) and SCALAR.flatten().shape == (1,)
    assert SCALAR.expand(0, 2).shape == (0, 2) and SCALAR.broadcast_to((3,)).shape == (3,)


def test_eight_dimensions():
    array = grid(2, 1, 3, 1, 2, 1, 1, 2)
    x = tt.tensor(array)
    equal(x.flip(0, -1), np.flip(array, (0, -1)))
    equal(x.roll((1, 1), (2, -1)), np.roll(array, (1, 1), (2, -1)))
    equal(x.repeat(2, 2, 1, 2, 1, 1, 3, 2), np.tile(array, (2, 2, 1, 2, 1, 1, 3, 2)))
    equal(tt.cat([x, x], -1), np.concatenate([array, array], -1))
    equal(x.movedim((0, 7), (7, 0)), np.moveaxis(array, (0, 7), (7, 0)))
    equal(x.diagonal(0, 0, -1), np.diagonal(array, 0, 0, -1))
    equal(x.tril(), np.tril(array))
    equal(x.mT, array.swapaxes(-2, -1))
    equal(x.squeeze((1, 3, -3)), array.squeeze((1, 3, -3)))
    for call in (
        lambda: tt.stack([EIGHT]),
        lambda: EIGHT.unsqueeze(0),
        lambda: EIGHT.repeat(*[1] * 9),
        lambda: EIGHT.unflatten(0, (1, 1)),
    ):
        with pytest.raises(ValueError, match="0 to 8 dimensions, got 9"):
            call()


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 3), (2, 0, 3)])
def test_nothing(shape):
    x = tt.zeros(shape, requires_grad=True)
    # Not formatted by ruff: with one element a line the table is hard to compare by eye.
    results = [
        x.flip(-1), x.roll(5), x.roll((1, 2), (0, -1)), x.repeat(*[2] * len(shape)), tt.cat([x, x]),
        tt.stack([x, x], -1), x.flatten(), x.clone(), x.unsqueeze(-1), x.T if x.ndim < 3 else x.mT,
    ]  # fmt: skip
    if x.ndim > 1:
        results += [x.tril(), x.triu(-2), x.diagonal(), x.diagonal(5, -1, -2), x.movedim(0, 1)]
    for y in results:
        assert y.numel() == 0
        (grad,) = tt.grad(y.sum(), x)
        assert grad.shape == shape
    assert x.repeat(*[0] * len(shape)).shape == (0,) * len(shape)


def test_large_numbers():
    x = tt.tensor(grid(3))
    assert x.roll(2**80 + 1).tolist() == np.roll(grid(3), (2**80 + 1) % 3).tolist()
    matrix = tt.tensor(grid(2, 3))
    equal(matrix.tril(2**80), grid(2, 3))
    equal(matrix.triu(2**80), np.zeros((2, 3)))
    equal(matrix.tril(-(2**80)), np.zeros((2, 3)))
    assert matrix.diagonal(2**60).shape == (0,)
    huge = tt.zeros(1).expand(2**31)
    assert huge.reshape(2**16, 2**15)[5, 7].item() == 0
    assert [p.shape for p in huge.chunk(2)] == [(2**30,)] * 2


def test_triangles_do_not_multiply():
    x = tt.tensor([[1.0, np.nan], [np.inf, 2.0]], requires_grad=True)
    assert x.triu(1).tril().tolist() == [[0, 0], [0, 0]]
    assert tt.tensor([[True, True]] * 2).tril().tolist() == [[True, False], [True, True]]


def test_views_share_storage():
    base = tt.zeros(3, 4)
    for view in (
        base.T,
        base.mT,
        base.t(),
        base.swapaxes(0, 1),
        base.movedim(0, 1),
        base.unflatten(1, (2, 2)),
        base.diagonal(1),
        base.view_as(tt.zeros(12)),
        base.expand_as(tt.zeros(2, 3, 4)),
        base.squeeze((0, 1)),
    ):
        base.zero_()
        if view.numel() <= 12:
            view.fill_(1)
            assert base.sum().item() == view.numel()
        else:
            base.fill_(1)
            assert view.sum().item() == view.numel()


# ---- misuse --------------------------------------------------------------------------------------

MISUSE = {
    "cat of nothing": (lambda: tt.cat([]), ValueError, "cat: expected at least one"),
    "cat of a tensor": (lambda: tt.cat(X), TypeError, "cat: expected a list .*got Tensor"),
    "cat of arrays": (lambda: tt.cat([X, X.numpy()]), TypeError, "cat: .*got ndarray"),
    "cat of scalars": (lambda: tt.cat([SCALAR, SCALAR]), ValueError, "cat: .*use stack"),
    "cat of ranks": (lambda: tt.cat([X, tt.ones(2)]), ValueError, r"cat: shapes .*\(2,\)"),
    "cat of shapes": (lambda: tt.cat([X, tt.ones(3, 2)]), ValueError, r"except along axis 0"),
    "cat axis": (lambda: tt.cat([X, X], 2), IndexError, "cat: axis 2"),
    "cat float axis": (lambda: tt.cat([X], 0.0), TypeError, "cat: axes must be integers"),
    "stack of shapes": (lambda: tt.stack([X, tt.ones(2)]), ValueError, "stack: shapes"),
    "stack of nothing": (lambda: tt.stack([]), ValueError, "stack: expected at least one"),
    "stack axis": (lambda: tt.stack([X], 3), IndexError, "stack: axis 3 .*3 dimensions"),
    "unbind": (lambda: SCALAR.unbind(), ValueError, "unbind: "),
    "unbind axis": (lambda: X.unbind(2), IndexError, "unbind: axis 2"),
    "split float": (lambda: X.split(1.5), TypeError, "split: sizes must be integers, got float"),
    "split negative": (lambda: X.split([-1, 3]), ValueError, "split: sizes"),
    "chunk 0-d": (lambda: SCALAR.chunk(1), ValueError, "chunk: "),
    "chunk float": (lambda: X.chunk(1.0), TypeError, "chunk: .*float"),
    "flip twice": (lambda: X.flip(0, -2), ValueError, "flip: axis 0 appears more than once"),
    "flip axis": (lambda: X.flip(2), IndexError, "flip: axis 2"),
    "flip of an array": (lambda: tt.flip(X.numpy(), 0), TypeError, "flip: expected a Tensor"),
    "fliplr": (lambda: tt.ones(2).fliplr(), ValueError, r"fliplr: .*\(2,\)"),
    "flipud": (lambda: SCALAR.flipud(), ValueError, "flipud: "),
    "roll number": (lambda: X.roll((1, 2), 0), ValueError, "roll: .*differ in number"),
    "roll several": (lambda: X.roll((1, 2)), ValueError, "roll: expected one shift"),
    "roll axis": (lambda: X.roll(1, 2), IndexError, "roll: axis 2"),
    "roll float": (lambda: X.roll(1.5), TypeError, "roll: shifts must be integers, got float"),
    "repeat too few": (lambda: X.repeat(2), ValueError, r"repeat: .*\(2,\) for shape \(2, 3\)"),
    "repeat negative": (lambda: X.repeat(2, -1), ValueError, "repeat: "),
    "tile negative": (lambda: X.tile(-1), ValueError, "tile: "),
    "tril": (lambda: tt.ones(3).tril(), ValueError, r"tril: .*\(3,\)"),
    "triu float": (lambda: X.triu(0.5), TypeError, "triu: the diagonal must be integers"),
    "diagonal": (lambda: tt.ones(3).diagonal(), ValueError, r"diagonal: .*\(3,\)"),
    "diagonal axes": (lambda: X.diagonal(0, 1, -1), ValueError, "diagonal: axis 1 .*once"),
    "T": (lambda: EIGHT.T, ValueError, "T: expected at most 2 dimensions"),
    "mT": (lambda: tt.ones(3).mT, ValueError, "mT: expected at least 2 dimensions"),
    "t": (lambda: EIGHT.t(), ValueError, "t: expected at most 2 dimensions"),
    "movedim number": (lambda: X.movedim((0, 1), 0), ValueError, "movedim: .*differ in number"),
    "movedim twice": (lambda: X.movedim((0, 0), (0, 1)), ValueError, "movedim: axis 0 .*once"),
    "unflatten": (lambda: X.unflatten(1, (2, 2)), ValueError, r"unflatten: .*\(2, 2\).* 3"),
    "unflatten -1": (lambda: X.unflatten(1, (-1, -1)), ValueError, "unflatten: "),
    "unflatten of 0": (lambda: tt.zeros(0).unflatten(0, (-1, 0)), ValueError, "unflatten: "),
    "unflatten none": (lambda: tt.ones(1).unflatten(0, ()), ValueError, "unflatten: "),
    "unflatten signs": (lambda: tt.ones(4).unflatten(0, (-2, -2)), ValueError, "unflatten: "),
    "squeeze twice": (lambda: EIGHT.squeeze((0, 0)), ValueError, "squeeze: axis 0 .*once"),
    "narrow": (lambda: X.narrow(1, 2, 2), IndexError, "narrow: start 2, length 2 .* size 3"),
    "narrow negative": (lambda: X.narrow(1, -4, 1), IndexError, "narrow: start -4"),
    "narrow 0-d": (lambda: SCALAR.narrow(0, 0, 1), ValueError, "narrow: "),
    "narrow huge": (lambda: X.narrow(0, 2**80, 2**80), IndexError, "narrow: "),
    "narrow float": (lambda: X.narrow(0, 0.0, 1), TypeError, "narrow: start and length"),
    "expand_as": (lambda: X.expand_as(tt.ones(3, 3)), ValueError, r"expand: .*\(3, 3\)"),
    "expand_as tuple": (lambda: X.expand_as((2, 3)), TypeError, "expand_as: expected a Tensor"),
    "view of turned": (lambda: X.T.view(6), ValueError, "view|reshape"),
    "reshape huge": (lambda: X.reshape(2**70), ValueError, "reshape: "),
    "expand huge": (lambda: X.expand(2**63, 2, 3), ValueError, "expand: "),
    "repeat huge": (lambda: X.repeat(2**50, 2**50), MemoryError, "out of memory"),
}


@pytest.mark.parametrize("name", MISUSE)
def test_misuse(name):
    call, error, message = MISUSE[name]
    with pytest.raises(error, match=message):
        call()
