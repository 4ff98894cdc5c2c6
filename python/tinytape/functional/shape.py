"""The same elements in another shape or order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinytape._ffi import OPS
from tinytape.errors import ArgumentError
from tinytape.functional._apply import apply, axis_of, check_rank, sizes_of, unary

if TYPE_CHECKING:
    from tinytape.tensor import Tensor

__all__ = [
    "clone",
    "contiguous",
    "expand",
    "flatten",
    "narrow",
    "permute",
    "reshape",
    "squeeze",
    "transpose",
    "unsqueeze",
    "view",
]


def reshape(input: Tensor, *shape: Any) -> Tensor:
    """The same elements in another shape; one size may be -1. A view where possible."""
    sizes = sizes_of(shape)
    check_rank("reshape", sizes)
    return apply(OPS["reshape"], (input,), sizes)


def view(input: Tensor, *shape: Any) -> Tensor:
    """The same elements in another shape, sharing storage; one size may be -1.

    Raises:
        ShapeError: where the strides do not allow it: reshape copies then.
    """
    sizes = sizes_of(shape)
    check_rank("view", sizes)
    return apply(OPS["reshape"], (input,), sizes, (1.0,))


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes start_dim to end_dim as one."""
    shape = input.shape
    first, last = (axis_of("flatten", input.ndim, d) for d in (start_dim, end_dim))
    if first > last:
        raise ArgumentError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    merged = 1
    for n in shape[first : last + 1]:
        merged *= n
    return reshape(input, [*shape[:first], merged, *shape[last + 1 :]])


def permute(input: Tensor, *dims: Any) -> Tensor:
    """The axes in another order, as a view."""
    order = sizes_of(dims)
    check_rank("permute", order)
    return apply(OPS["permute"], (input,), order)


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes exchanged, as a view."""
    if input.ndim == 0:
        return input
    order = list(range(input.ndim))
    i, j = (axis_of("transpose", input.ndim, d) for d in (dim0, dim1))
    order[i], order[j] = order[j], order[i]
    return permute(input, order)


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A new axis of size 1."""
    axis = axis_of("unsqueeze", input.ndim + 1, dim)
    return reshape(input, [*input.shape[:axis], 1, *input.shape[axis:]])


def squeeze(input: Tensor, dim: int | None = None) -> Tensor:
    """Without the axis dim if its size is 1, or without all such axes."""
    if dim is None:
        return reshape(input, [n for n in input.shape if n != 1])
    axis = axis_of("squeeze", input.ndim, dim)
    if input.ndim == 0 or input.shape[axis] != 1:
        return input
    return reshape(input, [*input.shape[:axis], *input.shape[axis + 1 :]])


def expand(input: Tensor, *sizes: Any) -> Tensor:
    """Axes of size 1 stretched, new ones in front; -1 keeps a size. A view."""
    shape = sizes_of(sizes)
    check_rank("expand", shape)
    return apply(OPS["expand"], (input,), shape)


def contiguous(input: Tensor) -> Tensor:
    """Row-major in memory: the tensor itself if it is already, else a copy."""
    return input if input.is_contiguous() else clone(input)


def clone(input: Tensor) -> Tensor:
    """A copy, through which gradients pass."""
    return unary("contiguous", input)


def slice_of(x: Tensor, axis: int, start: int, step: int, length: int) -> Tensor:
    return apply(OPS["slice"], (x,), (axis, start, step, length))


def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """Elements start to start + length of one axis, as a view."""
    axis = axis_of("narrow", input.ndim, dim)
    if start < 0:
        start += input.shape[axis]
    return slice_of(input, axis, start, 1, length)
