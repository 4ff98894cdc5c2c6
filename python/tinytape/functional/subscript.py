"""x[...] and x[...] = value: what an index names, and how it is read and written.

>>> x = tt.arange(6).reshape(2, 3)
>>> x[0].tolist(), x[:, -1].tolist(), x[x > 3].tolist()
([0, 1, 2], [2, 5], [4, 5])
>>> x[1, 1:] = 0
>>> x.tolist()
[[0, 1, 2], [3, 0, 0]]
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tinytape._ffi import check, lib
from tinytape.dtypes import bool_, int64
from tinytape.errors import ArgumentError, DTypeError, OutOfRangeError, ShapeError, TapeStateError
from tinytape.functional._apply import check_rank, from_array, is_tensor, run, source
from tinytape.functional.indexing import check_indices
from tinytape.functional.shape import expand, permute, reshape, slice_of

if TYPE_CHECKING:
    from tinytape.tensor import Tensor

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class _Places:
    """Elements of a tensor: those that an index picks from some neighbouring axes, seen as one."""

    tensor: Tensor
    axis: int
    count: int
    index: Array

    @property
    def shape(self) -> list[int]:
        """Of what is picked: the index stands for the axes."""
        sizes = self.tensor.shape
        return [*sizes[: self.axis], *self.index.shape, *sizes[self.axis + self.count :]]

    def read(self) -> Tensor:
        check_rank("index", self.shape)
        index = from_array(self.index, int64)
        return run["embedding"]((self.tensor, index), axis=self.axis, count=self.count)

    def write(self, value: Tensor) -> None:
        shape = self.shape
        check_rank("index", shape)
        if value.ndim > 0 and self.index.ndim != 1:  # the core takes one axis of places
            _check_source(value)
            lead = len(shape) - value.ndim
            if lead < 0 or any(
                n not in (1, m) for n, m in zip(value.shape, shape[lead:], strict=True)
            ):
                raise ShapeError(
                    f"index: shape {value.shape} cannot be broadcast to {tuple(shape)}"
                )
            flat = [*shape[: self.axis], self.index.size, *shape[self.axis + self.index.ndim :]]
            value = reshape(expand(value, shape), flat)
        index = from_array(self.index.reshape(-1), int64)
        context = self.tensor._context
        context.enter()
        check(
            lib.tt_put(
                context.pointer,
                self.tensor._handle,
                self.axis,
                self.count,
                index._handle,
                value._handle,
                b"index",
            )
        )


def _check_source(value: Tensor) -> None:
    """That changing its shape is not recorded on the way into another tensor."""
    if value.requires_grad and value._context.grad_enabled:
        raise TapeStateError(
            "index: writing in place is not recorded and would lose the source's gradient: "
            "use detach() or no_grad()"
        )


def _plain(part: Any) -> Any:
    """A part of an index that has no dimensions as Python's integer or bool."""
    zero = (is_tensor(part) or isinstance(part, (np.ndarray, np.generic))) and part.ndim == 0
    return part.item() if zero else part


def _is_array_like(part: Any) -> bool:
    return is_tensor(part) or isinstance(part, (list, tuple, np.ndarray))


def _as_index(part: Any) -> Any:
    """A list, array or tensor as an array of int64; a mask as an array or tensor of bool."""
    if is_tensor(part) and part.dtype is bool_:
        return part
    array = part.numpy() if is_tensor(part) else np.asarray(part)
    if array.size == 0 and not is_tensor(part) and not isinstance(part, np.ndarray):
        array = array.astype(np.int64)
    if array.dtype.kind == "b":
        return array
    if array.dtype.kind not in "iu":
        raise DTypeError(
            f"index: an index by a {type(part).__name__} must hold integers or bool, "
            f"got {array.dtype}"
        )
    return array.astype(np.int64, copy=False)


def _is_mask(part: Any) -> bool:
    """Of what :func:`_as_index` leaves: of tensors only masks."""
    return is_tensor(part) or (isinstance(part, np.ndarray) and part.dtype.kind == "b")


def _axes_used(part: Any) -> int:
    if part is None or part is Ellipsis or isinstance(part, bool):
        return 0
    return int(part.ndim) if _is_mask(part) else 1


def _check_mask(part: Any, shape: tuple[int, ...], axis: int) -> None:
    covered = shape[axis : axis + part.ndim]
    if tuple(part.shape) != covered:
        raise OutOfRangeError(
            f"index: a mask of shape {tuple(part.shape)} does not fit axes of sizes {covered}"
        )


def _parts(index: Any, ndim: int) -> list[Any]:
    """The parts of an index, with whole axes for an Ellipsis and for axes that are not indexed."""
    given = index if isinstance(index, tuple) else (index,)
    parts = [_as_index(p) if _is_array_like(p) else p for p in map(_plain, given)]
    places = [i for i, p in enumerate(parts) if p is Ellipsis]
    if len(places) > 1:
        raise OutOfRangeError("index: expected at most one Ellipsis, got more")
    used = sum(_axes_used(p) for p in parts)
    if used > ndim:
        raise OutOfRangeError(f"index: too many indices ({used}) for a tensor of {ndim} dimensions")
    at = places[0] if places else len(parts)
    parts[at : at + 1] = [slice(None)] * (ndim - used)
    return parts


def _sliced(y: Tensor, axis: int, part: slice, size: int) -> tuple[Tensor, int]:
    if part.step is not None and operator.index(part.step) < 1:
        raise ArgumentError(f"index: a slice's step must be positive, got {part.step}")
    start, stop, step = part.indices(size)
    length = max(0, -(-(stop - start) // step))
    if (start, step, length) != (0, 1, size):
        y = slice_of(y, axis, min(start, size), step, length)
    return y, length


def _position(part: Any, axis: int, size: int) -> int:
    if not hasattr(part, "__index__"):
        raise DTypeError(
            "index: expected an integer, slice, None, Ellipsis, or a list, array or tensor "
            f"of integers or bool, got {type(part).__name__}"
        )
    i = operator.index(part)
    if not -size <= i < size:
        raise OutOfRangeError(f"index: index {i} is out of range for axis {axis} of size {size}")
    return int(i % size)


def _view_of(x: Tensor, index: Any) -> tuple[Tensor, list[tuple[int, Any]]]:
    """The view by the integers, slices and None of an index, and the picks by its masks and arrays.

    A pick is the first axis of the view that it is of, and a mask or an array of int64.
    """
    sizes = x.shape
    if type(index) is int and sizes:
        row = slice_of(x, 0, _position(index, 0, sizes[0]), 1, 1)
        return run["reshape"]((row,), sizes=sizes[1:], no_copy=0), []
    y = x
    shape: list[int] = []  # of the view
    picks: list[tuple[int, Any]] = []
    axis = 0
    for part in _parts(index, len(sizes)):
        if part is None:
            shape.append(1)
        elif isinstance(part, bool):  # picks all or nothing of a new axis
            picks.append((len(shape), np.zeros(int(part), np.int64)))
            shape.append(1)
        elif _is_array_like(part):
            used = _axes_used(part)
            if _is_mask(part):
                _check_mask(part, sizes, axis)
            else:
                check_indices("index", part, -sizes[axis], axis, sizes[axis])
            picks.append((len(shape), part))
            shape.extend(sizes[axis : axis + used])
            axis += used
        elif isinstance(part, slice):
            y, length = _sliced(y, axis, part, sizes[axis])
            shape.append(length)
            axis += 1
        else:
            y = slice_of(y, axis, _position(part, axis, sizes[axis]), 1, 1)
            axis += 1
    if tuple(shape) != y.shape or y is x:
        check_rank("index", shape)
        y = reshape(y, shape)
    return y, picks


def _in_row_major_order(arrays: list[Array], sizes: list[int]) -> Array:
    """Indices along several axes as one into all of them; from the end where they are negative."""
    try:
        arrays = list(np.broadcast_arrays(*arrays)) if len(arrays) > 1 else arrays
    except ValueError:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise OutOfRangeError(
            f"index: indices of shapes {shapes} cannot be broadcast together"
        ) from None
    flat: Array | None = None
    for array, size in zip(arrays, sizes, strict=True):
        places = np.where(array < 0, array + size, array)
        flat = places if flat is None else flat * size + places
    assert flat is not None
    return flat


def _places(y: Tensor, picks: list[tuple[int, Any]]) -> _Places:
    """The picks together; a mask stands for the places where it is true, along each of its axes."""
    axes: list[int] = []
    arrays: list[Array] = []
    for first, pick in picks:
        found = np.asarray(pick).nonzero() if _is_mask(pick) else [pick]
        axes.extend(range(first, first + len(found)))
        arrays.extend(found)
    sizes = y.shape
    flat = _in_row_major_order(arrays, [sizes[axis] for axis in axes])
    if axes == list(range(axes[0], axes[0] + len(axes))):
        return _Places(y, axes[0], len(axes), flat)
    others = [i for i in range(y.ndim) if i not in axes]
    return _Places(permute(y, [*axes, *others]), 0, len(axes), flat)


def get_item(x: Tensor, index: Any) -> Tensor:
    """x[index], as PyTorch has it.

    Integers, slices with a positive step, None and Ellipsis give a view; a tensor or array without
    dimensions is the integer or bool that it holds. Lists, arrays and tensors of integers, which
    broadcast together, or of bool pick elements, as a copy: their axes stand where the first of
    them stood if they are neighbours, else in front. A single bool picks a new axis or nothing.

    Raises:
        OutOfRangeError: for an element that does not exist, or a mask that does not fit.
        DTypeError: for an index of another type.
        ArgumentError: for a slice whose step is not positive.
        ShapeError: for a result of more than 8 dimensions.
    """
    y, picks = _view_of(x, index)
    return _places(y, picks).read() if picks else y


def set_item(x: Tensor, index: Any, value: Any) -> None:
    """x[index] = value, as PyTorch has it: it writes only the elements that :func:`get_item` gives.

    Args:
        value: a tensor, array or number whose shape broadcasts to that of ``x[index]``.

    Raises:
        OutOfRangeError, DTypeError, ArgumentError: for an index, as :func:`get_item`.
        ShapeError: for a value that does not broadcast.
        NumberError: for a number that the type of x does not hold.
        TapeStateError: for a value whose gradient would be lost.
    """
    y, picks = _view_of(x, index)
    src = source(value, x, "index")
    if not picks:
        y._overwrite_with("index", _without_leading_ones(src, y.ndim))
        return
    first, pick = picks[0]
    if len(picks) == 1 and _is_mask(pick) and src.numel() == 1:
        mask = pick if is_tensor(pick) else from_array(pick, bool_)
        after = y.ndim - first - mask.ndim
        where = reshape(mask, [*mask.shape, *[1] * after])
        y._overwrite_with("index", _without_leading_ones(src, 0), where)
        return
    places = _places(y, picks)
    places.write(_without_leading_ones(src, len(places.shape)))


def _without_leading_ones(value: Tensor, ndim: int) -> Tensor:
    """The value without leading axes of size 1 that its destination does not have."""
    shape = value.shape
    extra = len(shape) - ndim
    if extra <= 0 or any(n != 1 for n in shape[:extra]):
        return value
    _check_source(value)
    return reshape(value, shape[extra:])
