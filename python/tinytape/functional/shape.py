"""The same elements in another shape or order, and pieces of a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tinytape._ffi import OPS
from tinytape.errors import ArgumentError, ShapeError
from tinytape.functional._apply import apply, axis_of, check_rank, sizes_of, unary

if TYPE_CHECKING:
    from tinytape.tensor import Tensor

__all__ = [
    "chunk",
    "clone",
    "contiguous",
    "expand",
    "flatten",
    "narrow",
    "permute",
    "reshape",
    "split",
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


def split(
    input: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0
) -> tuple[Tensor, ...]:
    """Consecutive pieces of one axis as views, of one size (the last may be less) or of several."""
    axis = axis_of("split", input.ndim, dim)
    if input.ndim == 0:
        raise ShapeError("split: a tensor of 0 dimensions cannot be split")
    total = input.shape[axis]
    if isinstance(split_size_or_sections, int):
        size = split_size_or_sections
        if size < 0 or (size == 0 and total > 0):
            raise ArgumentError(f"split: the size of a piece must be positive, got {size}")
        sizes = [min(size, total - at) for at in range(0, total, size)] if total else [0]
    else:
        sizes = list(split_size_or_sections)
        covered = 0
        for n in sizes:
            covered += n
        if covered != total or any(n < 0 for n in sizes):
            raise ArgumentError(
                f"split: sizes {sizes} do not add up to {total}, the size of axis {axis}"
            )
    pieces, at = [], 0
    for n in sizes:
        pieces.append(slice_of(input, axis, at, 1, n))
        at += n
    return tuple(pieces)


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` pieces of one axis, all but the last of one size."""
    if chunks < 1:
        raise ArgumentError(f"chunk: the number of chunks must be positive, got {chunks}")
    size = input.shape[axis_of("chunk", input.ndim, dim)] if input.ndim else 0
    return split(input, max(1, -(-size // chunks)), dim)
