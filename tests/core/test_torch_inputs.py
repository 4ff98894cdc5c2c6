"""Functions and arguments that PyTorch's own test inputs use, with PyTorch's values."""

from __future__ import annotations

import numpy as np
import pytest

import tinytape as tt
from tinytape import dtypes


@pytest.mark.parametrize(
    ("a", "b", "floor", "trunc", "kind"),
    [
        ([7.0, -7.0, 3.0], [2.0, 2.0, 0.0], [3.0, -4.0, np.inf], [3.0, -3.0, np.inf], "float32"),
        ([7, -7], 2, [3, -4], [3, -3], "int64"),
        ([7, -7], 2.0, [3.0, -4.0], [3.0, -3.0], "float32"),
        ([7, 249], 2, [3, 124], [3, 124], "uint8"),
        ([-128, 127], -2, [64, -64], [64, -63], "int16"),
        ([1.0], 0.1, [9.0], [10.0], "float64"),
    ],
)
def test_div_rounds(a, b, floor, trunc, kind):
    dtype = dtypes.from_numpy_dtype(np.dtype(kind))
    whole = all(isinstance(n, int) for n in a) and dtype.is_floating_point
    x = tt.tensor(a, dtype=tt.int64 if whole else dtype)
    y = tt.tensor(b, dtype=dtype) if isinstance(b, list) else b
    for mode, expected in (("floor", floor), ("trunc", trunc)):
        for made in (tt.div(x, y, rounding_mode=mode), x.div(y, rounding_mode=mode)):
            assert made.dtype is dtype and made.tolist() == expected, mode


def test_a_rounded_quotient_has_a_slope_of_zero():
    a = tt.tensor([7.0, -7.0, 3.0], requires_grad=True)
    b = tt.tensor([2.0, 2.0, 0.0], requires_grad=True)
    for mode in ("floor", "trunc"):
        y = tt.div(a, b, rounding_mode=mode)
        for create_graph in (False, True):
            found = tt.grad(y.sum(), (a, b), retain_graph=True, create_graph=create_graph)
            assert [g.tolist() for g in found] == [[0.0] * 3] * 2
    with pytest.raises(ValueError, match=r"rounding_mode must be None, .*got 'up'"):
        tt.div(a, b, rounding_mode="up")
    for mode in ("floor", "trunc"):
        with pytest.raises(ValueError, match="an integer cannot be divided by zero"):
            tt.div(tt.tensor([1]), tt.tensor([0]), rounding_mode=mode)
        with pytest.raises(TypeError, match="bool"):
            tt.div(tt.tensor([True]), tt.tensor([True]), rounding_mode=mode)
    least = tt.tensor([-(2**63)])
    assert tt.div(least, -1, rounding_mode="trunc").tolist() == [-(2**63)]


def test_addmm():
    a, b = tt.tensor([[1.0, 2.0], [3.0, 4.0]]), tt.eye(2)
    assert tt.addmm(tt.tensor([1.0, 2.0]), a, b, beta=0.5, alpha=2).tolist() == [[2.5, 5], [6.5, 9]]
    assert tt.tensor(1.0).addmm(a, b).tolist() == [[2.0, 3.0], [4.0, 5.0]]
    nan = tt.tensor([float("nan"), 2.0], requires_grad=True)
    y = tt.addmm(nan, a, b, beta=0)
    assert y.tolist() == a.tolist()
    y.sum().backward()
    assert nan.grad.tolist() == [0.0, 0.0]
    whole = [tt.tensor([1, 2]), a.long(), b.long()]
    assert tt.addmm(*whole, beta=2, alpha=3).tolist() == [[5, 10], [11, 16]]
    assert tt.addmm(*whole, beta=0.5).tolist() == [[1, 2], [3, 4]]  # as PyTorch cuts it off
    for c in (tt.ones(3), tt.ones(1, 2, 2), tt.ones(3, 2)):
        with pytest.raises(ValueError, match=r"addmm: .* broadcasts to \(2, 2\)"):
            tt.addmm(c, a, b)
    with pytest.raises(ValueError, match=r"addmm: expected \(m, k\) and \(k, n\)"):
        tt.addmm(a, a, tt.ones(3, 2))
    with pytest.raises(TypeError, match=r"addmm: .* share one dtype"):
        tt.addmm(tt.ones(2, dtype=tt.float64), a, b)


def test_vector_norm():
    x = tt.tensor([[3.0, -4.0], [0.0, 12.0]])
    norm = tt.linalg.vector_norm
    inf = float("inf")
    assert [norm(x, p).item() for p in (2, 1, inf, -inf, 0)] == [13.0, 19.0, 12.0, 0.0, 3.0]
    assert norm(x, 2, 1).tolist() == [5.0, 12.0] and norm(x, 2, (0, 1), True).tolist() == [[13.0]]
    assert norm(x, 3, dim=-1, dtype=tt.float64).tolist() == pytest.approx([91 ** (1 / 3), 12.0])
    assert norm(tt.tensor(-3.0)).item() == 3.0 and norm(tt.zeros(0)).item() == 0.0
    assert norm(tt.zeros(0, 2), -1, 1).shape == (0,)
    with pytest.raises(TypeError, match="ord must be a number, got 'fro'"):
        norm(x, "fro")
    with pytest.raises(TypeError, match=r"expected float32 or float64, got .*int64"):
        norm(x.long(), dtype=tt.float32)
    with pytest.raises(TypeError, match="cannot be narrowed"):
        norm(x.double(), dtype=tt.float32)
    with pytest.raises(IndexError):
        norm(tt.zeros(2, 0), inf)
    with pytest.raises(ValueError, match="got 'nuc': the nuclear norm, of a matrix, is not"):
        tt.norm(x, "nuc")


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0)])
@pytest.mark.parametrize("source", [(5,), (0,), (2, 3), ()])
def test_gather_with_an_index_without_elements(source, shape):
    x = tt.ones(*source, requires_grad=True)
    for dtype in (tt.int64, tt.uint8, tt.float32):
        y = tt.gather(x, 0, tt.zeros(*shape, dtype=dtype))
        assert y.shape == shape and y.dtype is tt.float32
        (g,) = tt.grad(y.sum(), x)
        assert g.tolist() == tt.zeros(*source).tolist()


def test_gather_with_a_single_number():
    x = tt.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = tt.gather(x, 0, tt.tensor(2))
    assert y.shape == () and y.item() == 3.0
    y.backward()
    assert x.grad.tolist() == [0.0, 0.0, 1.0]


def test_more_than_eight_dimensions_are_refused_by_name():
    for make in (
        lambda: tt.zeros(*[1] * 9),
        lambda: tt.ones(1).reshape([1] * 9),
        lambda: tt.ones(*[1] * 8).unsqueeze(0),
        lambda: tt.tensor(np.ones([1] * 9)),
        lambda: tt.ones(1).expand(*[1] * 9),
        lambda: tt.stack([tt.ones(*[1] * 8)]),
    ):
        with pytest.raises(ValueError, match=r"0 to 8 dimensions|8 dimensions"):
            make()
