"""Elements and parts of a tensor by their indices."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from tinytape.errors import ArgumentError, DTypeError, OutOfRangeError
from tinytape.functional.shape import reshape, slice_of

if TYPE_CHECKING:
    from tinytape.tensor import Tensor

__all__: list[str] = []


def get_item(x: Tensor, index: Any) -> Tensor:
    """x[index] for integers, slices with positive step, None and Ellipsis: a view."""
    parts = list(index) if isinstance(index, tuple) else [index]
    used = [p for p in parts if p is not None and p is not Ellipsis]
    if len(used) > x.ndim:
        raise OutOfRangeError(f"too many indices ({len(used)}) for a tensor of {x.ndim} dimensions")
    places = [i for i, p in enumerate(parts) if p is Ellipsis]
    if len(places) > 1:
        raise OutOfRangeError("an index can hold only one Ellipsis")
    at = places[0] if places else len(parts)
    parts[at : at + 1] = [slice(None)] * (x.ndim - len(used))
    shape: list[int] = []
    axis = 0
    y = x
    for part in parts:
        if part is None:
            shape.append(1)
            continue
        size = x.shape[axis]
        if isinstance(part, slice):
            if part.step is not None and operator.index(part.step) < 1:
                raise ArgumentError(f"a slice's step must be positive, got {part.step}")
            start, stop, step = part.indices(size)
            length = max(0, -(-(stop - start) // step))
            if (start, step, length) != (0, 1, size):
                y = slice_of(y, axis, min(start, size), step, length)
            shape.append(length)
        elif isinstance(part, (bool, np.bool_)) or not hasattr(part, "__index__"):
            raise DTypeError(
                f"an index is an integer, slice, None or Ellipsis, got {type(part).__name__}"
            )
        else:
            i = operator.index(part)
            if not -size <= i < size:
                raise OutOfRangeError(f"index {i} is out of range for axis {axis} of size {size}")
            y = slice_of(y, axis, i % size, 1, 1)
        axis += 1
    return reshape(y, shape) if tuple(shape) != y.shape or y is x else y
