"""Spread and size: variances, standard deviations and norms over any axes.

``dim`` is an axis, several or None for all of them; ``keepdim`` leaves an axis of size 1 in the
place of each.

>>> x = tt.tensor([3.0, 4.0])
>>> tt.norm(x).item()
5.0
>>> tt.var(x).item(), tt.var(x, correction=0).item()
(0.5, 0.25)
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

from tinytape.dtypes import dtype as DType
from tinytape.errors import ArgumentError
from tinytape.functional._apply import in_dtype, over_axes

if TYPE_CHECKING:
    from tinytape.tensor import Tensor

__all__ = ["norm", "std", "var"]

Axes = int | Sequence[int] | None


def _spread(
    name: str, input: Tensor, dim: Any, unbiased: Any, keepdim: bool, correction: Any
) -> Tensor:
    if isinstance(dim, bool):  # var(x, unbiased)
        dim, unbiased = None, dim
    if unbiased is not None:
        if correction is not None:
            raise ArgumentError(f"{name}: takes either unbiased or correction, not both")
        correction = int(bool(unbiased))
    freedom = 1 if correction is None else correction
    if not isinstance(freedom, (int, float)):
        raise TypeError(f"{name}: correction must be a number, got {type(freedom).__name__}")
    return over_axes(name, input, dim, keepdim, correction=float(freedom))


def var(
    input: Tensor,
    dim: Axes = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """sum (x - mean)^2 / (n - correction) over the given axes, or over all.

    As ``torch.var``. Any shape -> that shape without the axes.

    Args:
        unbiased: the older way to say correction=1 (True) or correction=0.
        correction: how many degrees of freedom the mean took; 1 if not given. Where none are left
            the result is NaN or infinite.

    Raises:
        DTypeError: for integers and bools.
        OutOfRangeError: for an axis that does not exist.
        ArgumentError: for an axis that is named twice, or unbiased and correction at once.
    """
    return _spread("var", input, dim, unbiased, keepdim, correction)


def std(
    input: Tensor,
    dim: Axes = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """The square root of :func:`var`; where it is zero the gradient is taken to be zero.

    As ``torch.std``. Any shape -> that shape without the axes. The arguments are those of
    :func:`var`.

    Raises:
        DTypeError: for integers and bools.
        OutOfRangeError: for an axis that does not exist.
        ArgumentError: for an axis that is named twice, or unbiased and correction at once.
    """
    return _spread("std", input, dim, unbiased, keepdim, correction)


def norm(
    input: Tensor,
    p: float | str | None = "fro",
    dim: Axes = None,
    keepdim: bool = False,
    dtype: DType | None = None,
) -> Tensor:
    """(sum |x|^p)^(1/p) over the given axes, or over all: a norm of vectors.

    As ``torch.norm``, but of vectors only: the nuclear norm is not supported. Any shape -> that
    shape without the axes.

    Args:
        p: any number; infinity for the largest |x|, -infinity for the smallest, 0 for how many are
            not zero. "fro" is 2. Gradients are taken to be zero where x or the norm is, and are
            shared evenly by elements that are equally large for infinite p.
        dtype: the input is converted to it first.

    Raises:
        ArgumentError: for another p.
        DTypeError: for integers and bools.
        OutOfRangeError: for a negative or infinite p over nothing.
    """
    x = in_dtype("norm", input, dtype)
    if p is None or p == "fro":
        p = 2.0
    if not isinstance(p, Real):
        what = ": the nuclear norm, of a matrix, is not supported" if p == "nuc" else ""
        raise ArgumentError(f"norm: p must be a number or 'fro', got {p!r}{what}")
    return over_axes("norm", x, dim, keepdim, p=float(p))
