"""Sums and their like over any axes, and what normalises along one.

``dim`` is an axis, several or None for all of them; ``keepdim`` leaves an axis of size 1 in the
place of each. An axis that does not exist is an OutOfRangeError; one that is named twice is an
ArgumentError.

>>> x = tt.tensor([[1.0, 2.0], [3.0, 4.0]])
>>> x.sum(0).tolist()
[4.0, 6.0]
>>> tt.mean(x, (0, 1), keepdim=True).shape
(1, 1)
>>> values, indices = tt.max(x, 1)
>>> indices.tolist()
[1, 1]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tinytape.dtypes import dtype as DType
from tinytape.errors import ArgumentError, OutOfRangeError
from tinytape.functional._apply import (
    ValuesAndIndices,
    axes_of,
    axis_of,
    check_tensor,
    in_dtype,
    over_axes,
    over_axis,
    run,
)
from tinytape.functional.elementwise import maximum, minimum

if TYPE_CHECKING:
    from tinytape.tensor import Tensor

__all__ = [
    "all",
    "amax",
    "amin",
    "any",
    "argmax",
    "argmin",
    "cumsum",
    "log_softmax",
    "logsumexp",
    "max",
    "mean",
    "min",
    "prod",
    "softmax",
    "sum",
]

Axes = int | Sequence[int] | None


# ---- sums ----------------------------------------------------------------------------------------


def sum(
    input: Tensor, dim: Axes = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The sum over the given axes, or over all; integers and bools give int64.

    As ``torch.sum``. Any shape -> that shape without the axes.

    Args:
        dtype: the input is converted to it first; also the result's type.

    Raises:
        OutOfRangeError: for an axis that does not exist.
        ArgumentError: for an axis that is named twice.
        DTypeError: for a dtype that is none of tinytape's.
    """
    x = in_dtype("sum", input, dtype)
    axes = axes_of("sum", x, dim)
    if x.ndim == 0:
        axes = []  # a single value has one axis to name, and none to sum over
    return in_dtype("sum", run["sum"]((x,), keepdim=bool(keepdim), axes=axes), dtype)


def mean(
    input: Tensor, dim: Axes = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The mean over the given axes, or over all; NaN over nothing.

    As ``torch.mean``. Any shape -> that shape without the axes.

    Args:
        dtype: the input is converted to it first.

    Raises:
        DTypeError: for integers and bools: give a floating dtype.
        OutOfRangeError: for an axis that does not exist.
        ArgumentError: for an axis that is named twice.
    """
    return over_axes("mean", in_dtype("mean", input, dtype), dim, keepdim)


def prod(
    input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The product over one axis, or over all; integers and bools give int64.

    As ``torch.prod``. Any shape -> that shape without the axis. The gradient is right where factors
    are zero, and can be differentiated again.

    Args:
        dtype: the input is converted to it first; also the result's type.

    Raises:
        OutOfRangeError: for an axis that does not exist.
        ArgumentError: for an axis that is named twice.
        DTypeError: for a dtype that is none of tinytape's.
    """
    y = over_axes("prod", in_dtype("prod", input, dtype), dim, keepdim)
    return in_dtype("prod", y, dtype)


def cumsum(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """The sums of the elements up to each place of an axis; integers and bools give int64.

    As ``torch.cumsum``. Any shape -> the same shape.

    Args:
        dtype: the input is converted to it first; also the result's type.

    Raises:
        OutOfRangeError: for an axis that does not exist.
        DTypeError: for a dtype that is none of tinytape's.
    """
    x = in_dtype("cumsum", input, dtype)
    y = run["cumsum"]((x,), axis=axis_of("cumsum", x.ndim, dim), from_end=False)
    return in_dtype("cumsum", y, dtype)


def logsumexp(input: Tensor, dim: int | Sequence[int], keepdim: bool = False) -> Tensor:
    """ln sum e^x over the given axes, without overflow; integers become float32.

    Over nothing, or where all elements are -inf, it is -inf, with a gradient of zero.

    As ``torch.logsumexp``. Any shape -> that shape without the axes.

    Raises:
        OutOfRangeError: for an axis that does not exist.
        ArgumentError: for an axis that is named twice.
    """
    return over_axes("logsumexp", input, dim, keepdim)


# ---- the largest and the smallest ----------------------------------------------------------------


def amax(input: Tensor, dim: Axes = (), keepdim: bool = False) -> Tensor:
    """The largest element over the given axes, or over all; NaN where there is one.

    As ``torch.amax``. Any shape -> that shape without the axes, of the same dtype. The gradient is
    shared evenly by elements that are equally large.

    Raises:
        OutOfRangeError: for an axis that does not exist or has no elements.
        ArgumentError: for an axis that is named twice.
    """
    return over_axes("amax", input, dim, keepdim)


def amin(input: Tensor, dim: Axes = (), keepdim: bool = False) -> Tensor:
    """The smallest element over the given axes, or over all; otherwise as :func:`amax`.

    As ``torch.amin``. Any shape -> that shape without the axes, of the same dtype.

    Raises:
        OutOfRangeError: for an axis that does not exist or has no elements.
        ArgumentError: for an axis that is named twice.
    """
    return over_axes("amin", input, dim, keepdim)


def _extremum(
    name: str,
    elementwise: Callable[[Any, Any], Tensor],
    input: Tensor,
    dim: Any,
    keepdim: bool,
    other: Any,
) -> Any:
    check_tensor(name, input)
    if other is None and not (dim is None or hasattr(dim, "__index__")):
        dim, other = None, dim  # max(a, b)
    if hasattr(dim, "shape") and hasattr(dim, "requires_grad"):
        dim, other = None, dim
    if other is not None:
        if dim is not None:
            raise ArgumentError(f"{name}: takes either dim or another tensor, not both")
        return elementwise(input, other)
    if dim is None:
        if 0 in input.shape:
            raise OutOfRangeError(
                f"{name}: nothing to choose from: a tensor of shape {input.shape}"
            )
        return over_axes(f"a{name}", input, None, keepdim)
    return ValuesAndIndices(*over_axis(name, input, dim, keepdim))


def max(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The largest element; along an axis with its index; or of two tensors, element by element.

    ``max(x)`` is the largest of all and shares its gradient as :func:`amax` does. ``max(x, dim)``
    gives ``(values, indices)``; of equal elements the first is found, NaN is larger than all, and
    the gradient goes to the element that was found. ``max(x, other)`` is ``maximum(x, other)``.

    As ``torch.max``. Any shape -> a value, or that shape without the axis, or the broadcast shape.

    Raises:
        OutOfRangeError: where there are no elements.
        OutOfRangeError: for an axis that does not exist.
        ArgumentError: for dim and another tensor at once.
    """
    return _extremum("max", maximum, input, dim, keepdim, other)


def min(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The smallest element, in the three ways of :func:`max`; NaN is smaller than all.

    As ``torch.min``. Any shape -> a value, or that shape without the axis, or the broadcast shape.

    Raises:
        OutOfRangeError: where there are no elements, or for an axis that does not exist.
        ArgumentError: for dim and another tensor at once.
    """
    return _extremum("min", minimum, input, dim, keepdim, other)


def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the largest element along an axis, or in the flattened tensor, as int64.

    As ``torch.argmax``. Any shape -> that shape without the axis. Of equal elements the first is
    taken; NaN counts as larger than all. There is no gradient.

    Raises:
        OutOfRangeError: where there are no elements, or for an axis that does not exist.
        ArgumentError: for an axis that is named twice.
    """
    return over_axes("argmax", input, dim, keepdim)


def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the smallest element, as :func:`argmax`; NaN counts as smaller than all.

    As ``torch.argmin``. Any shape -> that shape without the axis, as int64.

    Raises:
        OutOfRangeError: where there are no elements, or for an axis that does not exist.
        ArgumentError: for an axis that is named twice.
    """
    return over_axes("argmin", input, dim, keepdim)


# ---- of truth ------------------------------------------------------------------------------------


def all(input: Tensor, dim: Axes = None, keepdim: bool = False) -> Tensor:
    """Whether no element over the given axes is zero or False, as bool; NaN is not zero.

    As ``torch.all``. Any shape and dtype -> that shape without the axes. There is no gradient.

    Raises:
        OutOfRangeError: for an axis that does not exist.
        ArgumentError: for an axis that is named twice.
    """
    return over_axes("all", input, dim, keepdim)


def any(input: Tensor, dim: Axes = None, keepdim: bool = False) -> Tensor:
    """Whether an element over the given axes is not zero or False, as bool.

    As ``torch.any``. Any shape and dtype -> that shape without the axes. There is no gradient.

    Raises:
        OutOfRangeError: for an axis that does not exist.
        ArgumentError: for an axis that is named twice.
    """
    return over_axes("any", input, dim, keepdim)


# ---- along one axis ------------------------------------------------------------------------------


def softmax(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """e^x / sum e^x along one axis.

    As ``torch.softmax``. Any shape -> the same shape.

    Args:
        dtype: the input is converted to it first.

    Raises:
        DTypeError: for integers and bools: give a floating dtype.
        OutOfRangeError: for an axis that does not exist.
    """
    x = in_dtype("softmax", input, dtype)
    return run["softmax"]((x,), axis=axis_of("softmax", x.ndim, dim), masked=False)


def log_softmax(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """x - ln sum e^x along one axis.

    As ``torch.log_softmax``. Any shape -> the same shape.

    Args:
        dtype: the input is converted to it first.

    Raises:
        DTypeError: for integers and bools: give a floating dtype.
        OutOfRangeError: for an axis that does not exist.
    """
    x = in_dtype("log_softmax", input, dtype)
    return run["log_softmax"]((x,), axis=axis_of("log_softmax", x.ndim, dim), masked=False)
