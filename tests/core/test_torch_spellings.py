"""Calls as PyTorch spells them: keywords, builtins, operators in place, and what they refuse."""

import numpy as np
import pytest

import tinytape as tt
from tinytape.nn import functional as F

X = tt.arange(6.0).reshape(2, 3)
BY_KEYWORD = {
    "reshape": (lambda: tt.reshape(X, shape=(3, 2)), lambda: X.reshape(3, 2)),
    "view": (lambda: X.view(size=(3, 2)), lambda: X.view(3, 2)),
    "expand": (lambda: X[:1].expand(size=(4, 3)), lambda: X[:1].expand(4, 3)),
    "permute": (lambda: tt.permute(X, dims=(1, 0)), lambda: X.permute(1, 0)),
    "flip": (lambda: tt.flip(X, dims=(0,)), lambda: X.flip(0)),
    "repeat": (lambda: X.repeat(repeats=(2, 1)), lambda: X.repeat(2, 1)),
    "tile": (lambda: tt.tile(X, dims=(2,)), lambda: X.tile(2)),
    "split": (lambda: X.split(split_size=2, dim=1)[0], lambda: tt.split(X, 2, 1)[0]),
    "zeros": (lambda: tt.zeros(size=(2, 3)), lambda: tt.zeros(2, 3)),
    "ones": (lambda: tt.ones(size=[2]), lambda: tt.ones(2)),
    "softmax": (lambda: F.softmax(X, dim=1, dtype=tt.float64), lambda: X.double().softmax(1)),
    "log_softmax": (
        lambda: X.long().log_softmax(1, dtype=tt.float32),
        lambda: tt.log_softmax(X, 1),
    ),
    "no sizes": (lambda: X.sum().reshape(shape=()), lambda: X.sum().reshape()),
}


@pytest.mark.parametrize("name", BY_KEYWORD)
def test_keywords(name):
    made, expected = (call() for call in BY_KEYWORD[name])
    assert made.dtype is expected.dtype and made.tolist() == expected.tolist()


def test_sizes_are_given_once():
    with pytest.raises(TypeError, match=r"^reshape: .*both"):
        X.reshape(6, shape=(6,))
    with pytest.raises(TypeError, match=r"^rand: .*both"):
        tt.rand(2, size=(2,))


@pytest.mark.parametrize("function", [tt.Tensor.repeat, tt.Tensor.tile])
def test_what_is_repeated_is_a_copy(function):
    """An axis of size 1 too, though stretching it would do to read it."""
    source = tt.ones(1, 2)
    made = function(source, 3, 1)
    made[0, 0] = 5.0
    source.fill_(7.0)
    assert made.tolist() == [[5.0, 1.0], [1.0, 1.0], [1.0, 1.0]]


def test_writing_chooses_what_reading_does():
    """An integer among arrays takes no part in their broadcasting, as in PyTorch."""
    values = np.arange(18.0).reshape(2, 3, 3)
    at = np.array([2, 0])
    x = tt.tensor(values)
    x[1, :, at] = x[1, :, at] + 100.0
    expected = values.copy()
    for column in at:
        expected[1, :, column] += 100.0
    assert np.array_equal(x.numpy(), expected)
    with pytest.raises(IndexError, match=r"^index: index 5 .*axis 0 of size 2"):
        x[5] = 0.0
    with pytest.raises(ValueError, match=r"^index: .*\(4,\).*\(3, 3\)"):
        x[0] = tt.ones(4)
    with pytest.raises(TypeError, match=r"^index: "):
        x[0] = "1"


IN_PLACE = {
    "**=": (lambda x: x.__ipow__(2), [4.0, 9.0]),
    "//=": (lambda x: x.__ifloordiv__(2), [1.0, 1.0]),
    "%=": (lambda x: x.__imod__(2), [0.0, 1.0]),
    "/=": (lambda x: x.__itruediv__(2), [1.0, 1.5]),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_operators_change_a_leaf_in_place(name):
    change, expected = IN_PLACE[name]
    x = tt.tensor([2.0, 3.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="requires grad"):
        change(x)
    with tt.no_grad():
        assert change(x) is x
    assert x.tolist() == expected and x.requires_grad


def test_bits_change_in_place():
    mask = kept = tt.tensor([True, True, False])
    mask &= tt.tensor([True, False, False])
    mask |= tt.tensor([False, False, True])
    mask ^= tt.tensor([True, True, True])
    assert mask is kept and mask.tolist() == [False, True, False]


def test_a_result_that_does_not_fit_is_not_stored():
    """It would lose its fraction without a word."""
    whole = tt.tensor([1, 2])
    for change in (
        lambda: whole.__iadd__(1.5),
        lambda: whole.__itruediv__(2),
        lambda: tt.tensor([True]).__iadd__(1),
    ):
        with pytest.raises(TypeError, match="cannot be stored"):
            change()
    with pytest.raises(ValueError, match=r"^mul: .*\(3, 2\).*\(2,\)"):
        whole *= tt.ones(3, 2, dtype=tt.int64)
    assert whole.tolist() == [1, 2]
    small = tt.tensor([1, 2], dtype=tt.int8)
    small += tt.tensor([1, 1])  # an integer of another width is stored, as in PyTorch
    assert small.dtype is tt.int8 and small.tolist() == [2, 3]


def test_a_tensor_of_one_integer_is_an_index():
    n = tt.tensor(2)
    assert list(range(n)) == [0, 1] and [5, 6, 7][n] == 7
    assert tt.arange(5)[n : n + 2].tolist() == [2, 3] and tt.zeros(n).shape == (2,)
    for wrong in (tt.tensor(2.0), tt.tensor([1, 2])):
        with pytest.raises(TypeError, match=r"^index: "):
            range(wrong)


def test_plus_and_sizes_of_one_axis():
    assert (+X) is X and X.size(-1) == 3 and X.stride(0) == 3 and X.size() == (2, 3)
    for wrong in (lambda: X.size(2), lambda: X.stride(-3), lambda: X.sum().size(0)):
        with pytest.raises(IndexError, match=r"^(size|stride): "):
            wrong()


NAMED = {
    "zeros": (lambda: tt.zeros(-1), ValueError),
    "randn": (lambda: tt.randn(2, -1), ValueError),
    "ones": (lambda: tt.ones([1] * 9), ValueError),
    "full": (lambda: tt.full((-2,), 1), ValueError),
    "masked_fill": (lambda: X.masked_fill(tt.tensor([True, False]), 0), ValueError),
    "max": (lambda: tt.zeros(0, 2).max(), IndexError),
    "topk": (lambda: X.topk(1.5), TypeError),
    "round": (lambda: X.round(decimals=1.5), TypeError),
    "std": (lambda: X.std(correction="1"), TypeError),
    "vjp": (lambda: tt.func.vjp(3, X), TypeError),
    "tensor": (lambda: tt.tensor(np.zeros(2, np.float16)), TypeError),
}


@pytest.mark.parametrize("name", NAMED)
def test_errors_name_the_function_that_was_called(name):
    call, kind = NAMED[name]
    with pytest.raises(kind, match=f"^{name}: "):
        call()


CAUGHT_AS_PYTORCHS = {
    "shapes": lambda: X + tt.ones(2),
    "sizes": lambda: X.reshape(4, 4),
    "axes": lambda: X.permute(0, 0),
    "types": lambda: X @ X.long().T,
    "a mean of integers": lambda: X.long().mean(),
    "integers that require grad": lambda: tt.tensor([1], requires_grad=True),
    "gather": lambda: X.gather(0, tt.tensor([[9]])),
    "topk": lambda: X.topk(9),
}


@pytest.mark.parametrize("name", CAUGHT_AS_PYTORCHS)
def test_what_pytorch_calls_a_runtime_error_is_caught_as_one(name):
    """It is a ValueError, TypeError or IndexError as well."""
    with pytest.raises(RuntimeError) as caught:
        CAUGHT_AS_PYTORCHS[name]()
    assert isinstance(caught.value, (ValueError, TypeError, IndexError))
