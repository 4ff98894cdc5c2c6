"""Tensors joined to one, and one cut into pieces.

>>> a, b = tt.zeros(2, 3), tt.ones(1, 3)
>>> tt.cat([a, b]).shape, tt.stack([b, b]).shape
((3, 3), (2, 1, 3))
>>> [piece.tolist() for piece in tt.split(tt.arange(5), 2)]
[[0, 1], [2, 3], [4]]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tinytape._ffi import OPS, lib
from tinytape.errors import ArgumentError, ShapeError
from tinytape.functional._apply import axis_of, check_rank, check_tensor, integers_of, run
from tinytape.functional.shape import reshape, slice_of, unsqueeze

if TYPE_CHECKING:
    from tinytape.tensor import Tensor

__all__ = [
    "cat",
    "chunk",
    "concat",
    "concatenate",
    "split",
    "stack",
    "unbind",
]

MOST = lib.tt_op_inputs(OPS["cat"])
"""How many tensors the core joins at once."""


def _tensors(name: str, tensors: Any) -> list[Tensor]:
    if not isinstance(tensors, (list, tuple)):
        raise TypeError(f"{name}: expected a list of Tensors, got {type(tensors).__name__}")
    if not tensors:
        raise ArgumentError(f"{name}: expected at least one Tensor")
    for x in tensors:
        check_tensor(name, x)
    return list(tensors)


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The tensors one after the other along an axis.

    As ``torch.cat``.

    Args:
        tensors: of one shape except along ``dim``; those of shape (0,) are passed over. Their types
            are promoted to a common one.
        dim: the axis.

    Raises:
        ShapeError: when the shapes differ elsewhere, or a tensor has no dimension.
        OutOfRangeError: when there is no such axis.
        ArgumentError: for no tensors at all.
    """
    parts = _tensors("cat", tensors)
    ndim = next((x.ndim for x in parts if x.shape != (0,)), 1)
    axis = axis_of("cat", ndim, dim)
    while True:  # rounds of as many as the core takes, so that each element is copied few times
        groups = [parts[i : i + MOST] for i in range(0, len(parts), MOST)]
        parts = [run["cat"](g + [None] * (MOST - len(g)), axis=axis) for g in groups]
        if len(parts) == 1:
            return parts[0]


concat = cat
concatenate = cat


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape side by side along a new axis.

    As ``torch.stack``. Of k tensors of shape (m, n) and dim 0 comes (k, m, n); their dtypes are
    promoted.

    Raises:
        ShapeError: when the shapes differ.
        OutOfRangeError: when the new axis has no such place.
        ArgumentError: for no tensors at all.
    """
    parts = _tensors("stack", tensors)
    first = parts[0].shape
    check_rank("stack", (*first, len(parts)))
    for x in parts:
        if x.shape != first:
            raise ShapeError(f"stack: shapes {first} and {x.shape} must be equal")
    axis = axis_of("stack", len(first) + 1, dim)
    return cat([unsqueeze(x, axis) for x in parts], axis)


def split(
    tensor: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0
) -> tuple[Tensor, ...]:
    """Consecutive pieces of one axis as views, of one size (the last may be less) or of several.

    As ``torch.split``. Each piece has the tensor's shape, except along the axis.

    Raises:
        ShapeError: for a tensor of 0 dimensions.
        ArgumentError: for a negative size, or sizes that do not add up to that of the axis.
        OutOfRangeError: for an axis that does not exist.
    """
    check_tensor("split", tensor)
    axis = axis_of("split", tensor.ndim, dim)
    if tensor.ndim == 0:
        raise ShapeError("split: a tensor of 0 dimensions cannot be split")
    total = tensor.shape[axis]
    if isinstance(split_size_or_sections, (list, tuple)):
        sizes = integers_of("split", split_size_or_sections, "sizes")
        if sum(sizes) != total or any(n < 0 for n in sizes):
            raise ArgumentError(
                f"split: sizes {sizes} do not add up to {total}, the size of axis {axis}"
            )
    else:
        (size,) = integers_of("split", (split_size_or_sections,), "sizes")
        if size < 0 or (size == 0 and total > 0):
            raise ArgumentError(f"split: the size of a piece must be positive, got {size}")
        sizes = [min(size, total - at) for at in range(0, total, size)] if total else [0]
    pieces, at = [], 0
    for n in sizes:
        pieces.append(slice_of(tensor, axis, at, 1, n))
        at += n
    return tuple(pieces)


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most ``chunks`` pieces of one axis, all but the last of one size.

    As ``torch.chunk``. Each piece has the input's shape, except along the axis. An axis of size 0
    gives as many empty pieces as asked.

    Raises:
        ArgumentError: for less than one piece.
        OutOfRangeError: for an axis that does not exist.
        ShapeError: for a tensor of 0 dimensions.
    """
    check_tensor("chunk", input)
    (count,) = integers_of("chunk", (chunks,), "the number of chunks")
    if count < 1:
        raise ArgumentError(f"chunk: the number of chunks must be positive, got {count}")
    axis = axis_of("chunk", input.ndim, dim)
    if input.ndim == 0:
        raise ShapeError("chunk: a tensor of 0 dimensions cannot be split")
    size = input.shape[axis]
    return split(input, -(-size // count) if size else [0] * count, axis)


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices along an axis, without it, as views.

    As ``torch.unbind``. Of the shape (m, n) and dim 0 come m tensors (n,).

    Raises:
        ShapeError: for a tensor of 0 dimensions.
        OutOfRangeError: for an axis that does not exist.
    """
    check_tensor("unbind", input)
    axis = axis_of("unbind", input.ndim, dim)
    if input.ndim == 0:
        raise ShapeError("unbind: a tensor of 0 dimensions has no slices")
    shape = [*input.shape[:axis], *input.shape[axis + 1 :]]
    return tuple(reshape(slice_of(input, axis, i, 1, 1), shape) for i in range(input.shape[axis]))
