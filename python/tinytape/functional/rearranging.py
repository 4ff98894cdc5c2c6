"""Elements moved to other places, repeated, or cut away.

>>> x = tt.arange(4)
>>> tt.flip(x, 0).tolist(), tt.roll(x, 1).tolist()
([3, 2, 1, 0], [3, 0, 1, 2])
>>> tt.tril(tt.ones(2, 2)).tolist()
[[1.0, 0.0], [1.0, 1.0]]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tinytape.errors import ArgumentError, ShapeError
from tinytape.functional._apply import (
    axes_of,
    axis_of,
    check_rank,
    check_tensor,
    integers_of,
    run,
    sizes_of,
)
from tinytape.functional.shape import clone, contiguous, expand, reshape

if TYPE_CHECKING:
    from tinytape.tensor import Tensor

__all__ = [
    "flip",
    "fliplr",
    "flipud",
    "repeat",
    "roll",
    "tile",
    "tril",
    "triu",
]


def flip(input: Tensor, *axes: Any, dims: Any = None) -> Tensor:
    """A copy with the elements along the given axes in reverse order.

    As ``torch.flip``. Any shape and dtype -> the same.

    Raises:
        ArgumentError: when an axis is named twice.
        OutOfRangeError: for an axis that does not exist.
    """
    check_tensor("flip", input)
    turned = axes_of("flip", input, sizes_of(axes, "flip", dims))
    return run["flip"]((input,), axes=turned if input.ndim else ())


def fliplr(input: Tensor) -> Tensor:
    """The second axis in reverse order.

    As ``torch.fliplr``. Any shape of at least 2 dimensions -> the same shape.

    Raises:
        ShapeError: for fewer dimensions.
    """
    check_tensor("fliplr", input)
    if input.ndim < 2:
        raise ShapeError(f"fliplr: expected at least 2 dimensions, got shape {input.shape}")
    return flip(input, 1)


def flipud(input: Tensor) -> Tensor:
    """The first axis in reverse order.

    As ``torch.flipud``. Any shape of at least 1 dimension -> the same shape.

    Raises:
        ShapeError: for a tensor without dimensions.
    """
    check_tensor("flipud", input)
    if input.ndim < 1:
        raise ShapeError("flipud: expected at least 1 dimension, got shape ()")
    return flip(input, 0)


def roll(
    input: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None
) -> Tensor:
    """The elements moved along the axes; what leaves at one end comes in at the other.

    As ``torch.roll``.

    Args:
        input: of any shape and type.
        shifts: by how many places, for each axis of dims.
        dims: the axes; without them the elements move as if the tensor had one axis.

    Raises:
        ArgumentError: when shifts and dims differ in number.
        OutOfRangeError: for an axis that does not exist.
    """
    check_tensor("roll", input)
    given = shifts if isinstance(shifts, (tuple, list)) else (shifts,)
    moves = integers_of("roll", given, "shifts")
    if dims is None:
        if len(moves) != 1:
            raise ArgumentError(f"roll: expected one shift where dims is None, got {moves}")
        return reshape(roll(reshape(input, -1), moves[0], 0), input.shape)
    places = dims if isinstance(dims, (tuple, list)) else (dims,)
    axes = [axis_of("roll", input.ndim, axis) for axis in places]
    if len(axes) != len(moves):
        raise ArgumentError(f"roll: shifts {moves} and dims {list(places)} differ in number")
    total = [0] * input.ndim
    for axis, by in zip(axes, moves, strict=True):
        if input.ndim and input.shape[axis]:
            total[axis] = (total[axis] + by) % input.shape[axis]
    return run["roll"]((input,), shifts=total)


def repeat(input: Tensor, *times: Any, repeats: Any = None) -> Tensor:
    """A copy with each axis several times over; further sizes in front are new axes.

    As ``torch.Tensor.repeat``. The shape (2, 3) with sizes (4, 1, 2) becomes (4, 2, 6).

    Raises:
        ShapeError: when there are fewer sizes than axes, or a negative one.
    """
    check_tensor("repeat", input)
    return _repeated("repeat", input, sizes_of(times, "repeat", repeats))


def tile(input: Tensor, *times: Any, dims: Any = None) -> Tensor:
    """Like repeat, but the sizes belong to the last axes: those in front may be left out.

    As ``torch.tile``. The shape (2, 3) with the size (2,) becomes (2, 6).

    Raises:
        ShapeError: for a negative size, or more than 8 axes.
    """
    check_tensor("tile", input)
    given = sizes_of(times, "tile", dims)
    return _repeated("tile", input, [1] * (input.ndim - len(given)) + given)


def _repeated(name: str, x: Tensor, times: list[int]) -> Tensor:
    check_rank(name, times)
    if len(times) < x.ndim or any(n < 0 for n in times):
        raise ShapeError(
            f"{name}: expected a size of at least 0 for each axis, got {tuple(times)} for shape "
            f"{x.shape}"
        )
    shape = [1] * (len(times) - x.ndim) + list(x.shape)
    y = reshape(x, shape) if len(shape) > x.ndim else x
    copied = False
    for axis, n in enumerate(times):
        if n == 1:
            continue
        outer, inner = math.prod(shape[:axis]), math.prod(shape[axis:])
        shape[axis] *= n
        y = reshape(expand(reshape(y, outer, 1, inner), outer, n, inner), shape)
        copied = True
    # An axis of size 1 was only stretched, and shares storage yet.
    return contiguous(y) if copied else clone(y)


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """Matrices (..., m, n) with zeros above a diagonal.

    As ``torch.tril``.

    Args:
        input: of any type.
        diagonal: the last one that is kept; 0 is the main one, positive ones lie above it.

    Raises:
        ShapeError: for a tensor of fewer than 2 dimensions.
    """
    return _triangle("tril", input, diagonal)


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """Matrices (..., m, n) with zeros below a diagonal.

    As ``torch.triu``.

    Args:
        input: of any type.
        diagonal: the first one that is kept; 0 is the main one, positive ones lie above it.

    Raises:
        ShapeError: for a tensor of fewer than 2 dimensions.
    """
    return _triangle("triu", input, diagonal)


def _triangle(name: str, x: Tensor, diagonal: int) -> Tensor:
    check_tensor(name, x)
    (kept,) = integers_of(name, (diagonal,), "the diagonal")
    far = 1 << 60  # beyond any matrix
    return run[name]((x,), diagonal=max(-far, min(far, kept)))
