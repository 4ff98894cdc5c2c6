"""The same elements in another shape, or with the axes in another order.

>>> x = tt.arange(6).reshape(2, 3)
>>> x.transpose(0, 1).tolist()
[[0, 3], [1, 4], [2, 5]]
>>> x.flatten().shape, x.unsqueeze(0).shape
((6,), (1, 2, 3))
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tinytape.errors import ArgumentError, OutOfRangeError, ShapeError
from tinytape.functional._apply import (
    axes_of,
    axis_of,
    check_rank,
    check_tensor,
    integers_of,
    run,
    sizes_of,
    unary,
)

if TYPE_CHECKING:
    from tinytape.tensor import Tensor

__all__ = [
    "broadcast_to",
    "clone",
    "contiguous",
    "diagonal",
    "expand",
    "expand_as",
    "flatten",
    "moveaxis",
    "movedim",
    "narrow",
    "permute",
    "reshape",
    "reshape_as",
    "squeeze",
    "swapaxes",
    "swapdims",
    "t",
    "transpose",
    "unflatten",
    "unsqueeze",
    "view",
    "view_as",
]


def reshape(input: Tensor, *sizes: Any, shape: Any = None) -> Tensor:
    """The same elements in another shape; one size may be -1. A view where possible.

    As ``torch.Tensor.reshape``.

    Raises:
        ShapeError: when the sizes do not fit the number of elements.
    """
    check_tensor("reshape", input)
    wanted = sizes_of(sizes, "reshape", shape)
    check_rank("reshape", wanted)
    return run["reshape"]((input,), sizes=wanted, no_copy=0)


def view(input: Tensor, *sizes: Any, size: Any = None) -> Tensor:
    """The same elements in another shape, sharing storage; one size may be -1.

    As ``torch.Tensor.view``.

    Raises:
        ShapeError: where the strides do not allow it: reshape copies then.
    """
    check_tensor("view", input)
    wanted = sizes_of(sizes, "view", size)
    check_rank("view", wanted)
    return run["reshape"]((input,), sizes=wanted, no_copy=1)


def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """input in the shape of other.

    As ``torch.Tensor.reshape_as``.

    Raises:
        ShapeError: when the numbers of elements differ.
    """
    check_tensor("reshape_as", other)
    return reshape(input, other.shape)


def view_as(input: Tensor, other: Tensor) -> Tensor:
    """input in the shape of other, sharing storage.

    As ``torch.Tensor.view_as``.

    Raises:
        ShapeError: when the numbers of elements differ, or the strides do not allow it.
    """
    check_tensor("view_as", other)
    return view(input, other.shape)


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes start_dim to end_dim as one.

    As ``torch.flatten``. A view where the strides allow it. The shape (2, 3, 4) with start_dim 1
    becomes (2, 12).

    Raises:
        OutOfRangeError: for an axis that does not exist.
        ArgumentError: when start_dim comes after end_dim.
    """
    check_tensor("flatten", input)
    shape = input.shape
    first, last = (axis_of("flatten", input.ndim, d) for d in (start_dim, end_dim))
    if first > last:
        raise ArgumentError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    merged = math.prod(shape[first : last + 1])
    return reshape(input, [*shape[:first], merged, *shape[last + 1 :]])


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """One axis as several; one of their sizes may be -1.

    As ``torch.unflatten``. The shape (2, 12) with dim 1 and sizes (3, 4) becomes (2, 3, 4).

    Raises:
        ShapeError: when the sizes do not multiply to that of the axis.
        OutOfRangeError: for an axis that does not exist.
    """
    check_tensor("unflatten", input)
    axis = axis_of("unflatten", input.ndim, dim)
    parts = sizes_of((sizes,), "unflatten")
    total = input.shape[axis] if input.ndim else 1
    known = math.prod(n for n in parts if n != -1)
    open_ones = parts.count(-1)
    if open_ones == 1 and known > 0 and total % known == 0:
        parts[parts.index(-1)] = total // known
        known = total
    if not parts or open_ones > 1 or known != total or min(parts) < 0:
        raise ShapeError(
            f"unflatten: sizes {tuple(sizes)} do not multiply to {total}, the size of axis {axis}"
        )
    shape = [*input.shape[:axis], *parts, *input.shape[axis + 1 :]]
    check_rank("unflatten", shape)
    return reshape(input, shape)


def squeeze(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """The tensor without the given axes where their size is 1, or without all such axes. A view.

    As ``torch.squeeze``. The shape (1, 3, 1) becomes (3,), and with dim 0 (3, 1).

    Raises:
        OutOfRangeError: for an axis that does not exist.
        ArgumentError: for an axis that is named twice.
    """
    check_tensor("squeeze", input)
    axes = range(input.ndim) if dim is None else axes_of("squeeze", input, dim)
    kept = [n for i, n in enumerate(input.shape) if n != 1 or i not in axes]
    return reshape(input, kept)


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A new axis of size 1. A view.

    As ``torch.unsqueeze``. The shape (3, 4) with dim 1 becomes (3, 1, 4).

    Raises:
        OutOfRangeError: when the new axis has no such place.
        ShapeError: for a tensor of 8 dimensions, which can have no more.
    """
    check_tensor("unsqueeze", input)
    axis = axis_of("unsqueeze", input.ndim + 1, dim)
    shape = [*input.shape[:axis], 1, *input.shape[axis:]]
    check_rank("unsqueeze", shape)
    return reshape(input, shape)


def expand(input: Tensor, *sizes: Any, size: Any = None) -> Tensor:
    """Axes of size 1 stretched, new ones in front; -1 keeps a size. A view.

    As ``torch.Tensor.expand``. The shape (3, 1) expands to (2, 3, 4).

    Raises:
        ShapeError: when a size other than 1 would change.
    """
    check_tensor("expand", input)
    shape = sizes_of(sizes, "expand", size)
    check_rank("expand", shape)
    return run["expand"]((input,), sizes=shape)


def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """input stretched to the shape of other. A view.

    As ``torch.Tensor.expand_as``.

    Raises:
        ShapeError: when a size other than 1 would change.
    """
    check_tensor("expand_as", other)
    return expand(input, other.shape)


def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    """input stretched to a shape, like expand. A view.

    As ``torch.broadcast_to``.

    Raises:
        ShapeError: when a size other than 1 would change.
    """
    return expand(input, size)


# ---- the order of the axes -----------------------------------------------------------------------


def permute(input: Tensor, *axes: Any, dims: Any = None) -> Tensor:
    """The axes in another order, as a view.

    As ``torch.permute``. The shape (2, 3, 4) with dims (2, 0, 1) becomes (4, 2, 3).

    Raises:
        ArgumentError: when dims is not an order of all axes.
        ShapeError: for more than 8 axes.
    """
    check_tensor("permute", input)
    order = sizes_of(axes, "permute", dims)
    check_rank("permute", order)
    return run["permute"]((input,), order=order)


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes exchanged, as a view.

    As ``torch.transpose``. The shape (2, 3, 4) with 0 and 2 becomes (4, 3, 2).

    Raises:
        OutOfRangeError: for an axis that does not exist.
    """
    check_tensor("transpose", input)
    i, j = (axis_of("transpose", input.ndim, d) for d in (dim0, dim1))
    if input.ndim == 0:
        return input
    order = list(range(input.ndim))
    order[i], order[j] = order[j], order[i]
    return permute(input, order)


swapaxes = transpose
swapdims = transpose


def t(input: Tensor) -> Tensor:
    """A matrix transposed, (m, n) -> (n, m); a vector or a single value as it is. A view.

    As ``torch.t``.

    Raises:
        ShapeError: for more than 2 dimensions.
    """
    check_tensor("t", input)
    if input.ndim > 2:
        raise ShapeError(f"t: expected at most 2 dimensions, got shape {input.shape}")
    return permute(input, list(range(input.ndim))[::-1])


def movedim(input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Axes moved to other places, the rest in their order. A view.

    As ``torch.movedim``. The shape (2, 3, 4) with source 0 and destination 2 becomes (3, 4, 2).

    Raises:
        ArgumentError: when source and destination differ in number, or name an axis twice.
        OutOfRangeError: for an axis that does not exist.
    """
    check_tensor("movedim", input)
    moved, places = axes_of("movedim", input, source), axes_of("movedim", input, destination)
    if len(moved) != len(places):
        raise ArgumentError(
            f"movedim: source {source} and destination {destination} differ in number"
        )
    if input.ndim == 0:
        return input
    rest = iter(i for i in range(input.ndim) if i not in moved)
    order = [moved[places.index(i)] if i in places else next(rest) for i in range(input.ndim)]
    return permute(input, order)


moveaxis = movedim


# ---- parts and copies ----------------------------------------------------------------------------


def contiguous(input: Tensor) -> Tensor:
    """Row-major in memory: the tensor itself if it is already, else a copy.

    As ``torch.Tensor.contiguous``. Any shape and dtype -> the same.
    """
    check_tensor("contiguous", input)
    return input if input.is_contiguous() else clone(input)


def clone(input: Tensor) -> Tensor:
    """A copy, through which gradients pass.

    As ``torch.clone``. Any shape and dtype -> the same, row-major in memory.
    """
    check_tensor("clone", input)
    return unary("contiguous", input)


def slice_of(x: Tensor, axis: int, start: int, step: int, length: int) -> Tensor:
    return run["slice"]((x,), axis=axis, start=start, step=step, length=length)


def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """Elements start to start + length of one axis, as a view; start may count from the end.

    As ``torch.narrow``. That axis of the shape becomes ``length``.

    Raises:
        OutOfRangeError: when they are not all there.
        OutOfRangeError: for an axis that does not exist.
        ShapeError: for a tensor of 0 dimensions.
    """
    check_tensor("narrow", input)
    axis = axis_of("narrow", input.ndim, dim)
    if input.ndim == 0:
        raise ShapeError("narrow: a tensor of 0 dimensions has no axis")
    first, count = integers_of("narrow", (start, length), "start and length")
    size = input.shape[axis]
    begin = first + size if first < 0 else first
    if begin < 0 or count < 0 or begin + count > size:
        raise OutOfRangeError(
            f"narrow: start {first}, length {count} do not fit axis {axis} of size {size}"
        )
    return slice_of(input, axis, begin, 1, count)


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The elements (i, i + offset) of the axes dim1 and dim2, as a new last axis.

    A view where the strides allow it.

    As ``torch.diagonal``, but a copy where the strides do not allow a view. Of the shape (m, n)
    comes a vector.

    Raises:
        ShapeError: for a tensor of fewer than 2 dimensions.
        ArgumentError: when dim1 and dim2 are one axis.
        OutOfRangeError: for an axis that does not exist.
    """
    check_tensor("diagonal", input)
    (shift,) = integers_of("diagonal", (offset,), "the offset")
    if input.ndim < 2:
        raise ShapeError(f"diagonal: expected at least 2 dimensions, got shape {input.shape}")
    i, j = axes_of("diagonal", input, (dim1, dim2))
    last = movedim(input, (i, j), (-2, -1))
    rows, cols = last.shape[-2:]
    row, col = max(-shift, 0), max(shift, 0)
    length = max(0, min(rows - row, cols - col))
    flat = reshape(last, [*last.shape[:-2], rows * cols])
    start = row * cols + col if length else 0
    return slice_of(flat, flat.ndim - 1, start, cols + 1, length)
