"""Elements and parts of a tensor by their indices."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinytape._ffi import OPS
from tinytape._pytorch import refuse_others
from tinytape.dtypes import bool_, int64, numbers, to_numpy_dtype
from tinytape.errors import ArgumentError, DTypeError, OutOfRangeError, ShapeError, TapeStateError
from tinytape.functional._apply import (
    apply,
    axis_of,
    check_tensor,
    from_array,
    is_tensor,
    operand,
)
from tinytape.functional.comparison import where
from tinytape.functional.shape import narrow, permute, reshape, slice_of

if TYPE_CHECKING:
    from tinytape.tensor import Tensor

__all__ = ["gather", "index_select", "masked_fill", "scatter_add"]

Array = np.ndarray[Any, Any]


def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """Elements along one axis: ``out[i, j] = input[index[i, j], j]`` for dim 0, and so on.

    Args:
        index: integers, with as many axes as input and no larger sizes but along dim. Without
            elements it may have any shape and type, as in PyTorch; for a vector no axes too.
        sparse_grad: not supported; True raises.

    Raises:
        ShapeError: for an index that does not fit.
        OutOfRangeError: for an element of it outside the axis.
    """
    check_tensor("gather", input)
    check_tensor("gather", index)
    if sparse_grad:
        refuse_others("gather", {"sparse_grad": sparse_grad}, "sparse_grad")
    axis = axis_of("gather", input.ndim, dim)
    if 0 in index.shape:
        return reshape(narrow(reshape(input, -1), 0, 0, 0), index.shape)
    if input.ndim == 0 or (input.ndim == 1 and index.ndim == 0):
        return reshape(gather(reshape(input, -1), 0, reshape(index, -1)), index.shape)
    return apply(OPS["gather"], (input, index), (axis,))


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """input with elements added along one axis: ``out[index[i, j], j] += src[i, j]`` for dim 0.

    Args:
        index: integers, with as many axes as input and src, and no larger sizes than src has; nor
            than input has but along dim. What of src lies beyond it is not used.

    Raises:
        ShapeError: for an index that does not fit.
        OutOfRangeError: for an element of it outside the axis.
    """
    for x in (input, index, src):
        check_tensor("scatter_add", x)
    axis = axis_of("scatter_add", input.ndim, dim)
    if input.ndim == 0:
        flat = [reshape(x, -1) for x in (input, index, src)]
        return reshape(scatter_add(flat[0], 0, flat[1], flat[2]), [])
    if src.ndim != index.ndim or any(m > n for m, n in zip(index.shape, src.shape, strict=True)):
        raise ShapeError(
            f"scatter_add: an index of shape {index.shape} does not fit a source of shape "
            f"{src.shape}: expected as many dimensions, and no larger sizes"
        )
    for i, n in enumerate(index.shape):
        src = src if src.shape[i] == n else narrow(src, i, 0, n)
    return apply(OPS["scatter_add"], (input, index, src), (axis,))


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices of one axis that a vector of integers names, in its order, as a copy.

    Raises:
        ShapeError: when index has more than one dimension.
        OutOfRangeError: for an index outside the axis.
    """
    check_tensor("index_select", input)
    check_tensor("index_select", index)
    axis = axis_of("index_select", input.ndim, dim)
    if index.ndim > 1:
        raise ShapeError(f"index_select: expected an index of one dimension, got {index.shape}")
    if index.dtype.is_floating_point or index.dtype.name == "bool":
        raise DTypeError(f"index_select: expected an index of integers, got {index.dtype}")
    if input.ndim == 0:
        return reshape(gather(input, 0, index), [])
    indices = index.numpy().reshape(-1)
    _check_indices("index_select", indices, 0, axis, input.shape[axis])
    return _take(input, [axis], indices, axis)


def masked_fill(input: Tensor, mask: Tensor, value: Tensor | float) -> Tensor:
    """input where mask is false, value where it is true, in the type of input.

    Args:
        mask: bool, broadcast against input.
        value: a number, or a tensor without dimensions, which gets the gradient of what it filled.

    Raises:
        ShapeError: when mask does not fit, or value has dimensions.
        DTypeError: for a mask that is not bool, or a value that input's type cannot hold.
    """
    check_tensor("masked_fill", input)
    check_tensor("masked_fill", mask)
    if mask.dtype is not bool_:
        raise DTypeError(f"masked_fill: expected a mask of bool, got {mask.dtype}")
    fill: Any = value if is_tensor(value) else operand(value, input, "masked_fill")
    if fill.ndim > 0:
        raise ShapeError(f"masked_fill: expected one value, got a tensor of shape {fill.shape}")
    if fill.dtype.is_floating_point and not input.dtype.is_floating_point:
        raise DTypeError(f"masked_fill: {input.dtype} cannot hold a value of {fill.dtype}")
    try:
        return where(mask, fill.to(input.dtype), input)
    except ShapeError:
        raise ShapeError(
            f"masked_fill: a mask of shape {mask.shape} does not fit an input of shape "
            f"{input.shape}"
        ) from None


def _check_indices(name: str, indices: Array, least: int, axis: int, size: int) -> None:
    bad = np.flatnonzero((indices < least) | (indices >= size))
    if bad.size:
        raise OutOfRangeError(
            f"{name}: index {indices.flat[bad[0]]} at position {bad[0]} is out of range for axis "
            f"{axis} of size {size}"
        )


def _take(x: Tensor, axes: Sequence[int], flat_index: Array, at: int) -> Tensor:
    """Replaces some axes, seen as one, by those of an index into it, which come to stand at ``at``.

    Rows of a table are what an embedding looks up, and its gradient adds up what was taken twice.
    """
    others = [i for i in range(x.ndim) if i not in axes]
    kept = [x.shape[i] for i in others]
    moved = x if list(axes) == list(range(len(axes))) else permute(x, [*axes, *others])
    rows = int(np.prod([x.shape[i] for i in axes], dtype=np.int64))
    width = int(np.prod(kept, dtype=np.int64))
    index = from_array(flat_index, int64)
    taken = apply(OPS["embedding"], (reshape(moved, [rows, width]), index))
    lead = list(flat_index.shape)
    out = reshape(taken, [*lead, *kept])
    if at == 0:
        return out
    n, order = len(lead), list(range(len(lead), out.ndim))
    return permute(out, [*order[:at], *range(n), *order[at:]])


# ---- x[...] --------------------------------------------------------------------------------------


def _is_array_like(part: Any) -> bool:
    return is_tensor(part) or isinstance(part, (list, tuple, np.ndarray))


def _index_arrays(part: Any) -> list[Array]:
    """An index of a list, an array or a tensor as arrays of integers, one an axis.

    A mask stands for the places where it is true, and for as many axes as it has.
    """
    array = part.numpy() if is_tensor(part) else np.asarray(part)
    if array.size == 0 and not is_tensor(part) and not isinstance(part, np.ndarray):
        array = array.astype(np.int64)
    if array.dtype.kind == "b" and array.ndim > 0:
        return list(array.nonzero())
    if array.dtype.kind not in "iu":
        raise DTypeError(
            f"index: an index by a {type(part).__name__} must hold integers or bool, "
            f"got {array.dtype}"
        )
    return [array.astype(np.int64)]


def _axes_used(part: Any) -> int:
    if part is None or part is Ellipsis:
        return 0
    if _is_array_like(part):
        array = part if is_tensor(part) else np.asarray(part)
        kind = array.dtype.name
        return int(array.ndim) if kind == "bool" else 1
    return 1


def _check_mask(part: Any, shape: tuple[int, ...], axis: int) -> None:
    array = part if is_tensor(part) else np.asarray(part)
    covered = shape[axis : axis + array.ndim]
    if array.dtype.name == "bool" and tuple(array.shape) != covered:
        raise OutOfRangeError(
            f"index: a mask of shape {tuple(array.shape)} does not fit axes of sizes {covered}"
        )


def _expanded(index: Any, ndim: int) -> list[Any]:
    """The parts of an index, with whole axes where an Ellipsis stands or nothing is said."""
    parts = list(index) if isinstance(index, tuple) else [index]
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
    if isinstance(part, (bool, np.bool_)) or not hasattr(part, "__index__"):
        raise DTypeError(
            "index: expected an integer, slice, None, Ellipsis, or a list, array or tensor "
            f"of integers or bool, got {type(part).__name__}"
        )
    i = operator.index(part)
    if not -size <= i < size:
        raise OutOfRangeError(f"index: index {i} is out of range for axis {axis} of size {size}")
    return int(i % size)


def get_item(x: Tensor, index: Any) -> Tensor:
    """x[index], as PyTorch has it.

    Integers, slices with a positive step, None and Ellipsis give a view. Lists, arrays and tensors
    of integers, which broadcast together, or of bool pick elements, as a copy: their axes stand
    where the first of them stood if they are neighbours, else in front.

    Raises:
        OutOfRangeError: for an element that does not exist, or a mask that does not fit.
        DTypeError: for an index of another type.
    """
    y = x
    shape: list[int] = []  # of the view
    picked: list[tuple[int, Array]] = []  # axes of it, and the indices that pick along them
    axis = 0
    for part in _expanded(index, x.ndim):
        if part is None:
            shape.append(1)
            continue
        if _is_array_like(part):
            _check_mask(part, x.shape, axis)
            for array in _index_arrays(part):
                size = x.shape[axis]
                _check_indices("index", array, -size, axis, size)
                picked.append((len(shape), np.where(array < 0, array + size, array)))
                shape.append(size)
                axis += 1
            continue
        size = x.shape[axis]
        if isinstance(part, slice):
            y, length = _sliced(y, axis, part, size)
            shape.append(length)
        else:
            y = slice_of(y, axis, _position(part, axis, size), 1, 1)
        axis += 1
    if tuple(shape) != y.shape or y is x:
        y = reshape(y, shape)
    return _pick(y, picked) if picked else y


def _pick(y: Tensor, picked: list[tuple[int, Array]]) -> Tensor:
    axes = [axis for axis, _ in picked]
    try:
        arrays = np.broadcast_arrays(*(array for _, array in picked))
    except ValueError:
        shapes = ", ".join(str(array.shape) for _, array in picked)
        raise OutOfRangeError(
            f"index: indices of shapes {shapes} cannot be broadcast together"
        ) from None
    sizes = [y.shape[axis] for axis in axes]
    flat = np.zeros(arrays[0].shape, np.int64)
    for array, size in zip(arrays, sizes, strict=True):
        flat = flat * size + array
    neighbours = axes == list(range(axes[0], axes[0] + len(axes)))
    return _take(y, axes, flat, axes[0] if neighbours else 0)


def with_item(x: Tensor, index: Any, value: Any) -> Array:
    """The values of x with those at an index replaced."""
    if is_tensor(value) and value.requires_grad and value._context.grad_enabled:
        raise TapeStateError(
            "index: writing in place is not recorded and would lose the source's gradient: "
            "use detach() or no_grad()"
        )
    array = x.numpy()
    # Reading and writing choose the same elements: those whose places reading gives.
    places = from_array(np.arange(array.size).reshape(array.shape), int64)
    values = to_numpy_dtype(numbers(value, "index"), x.dtype)
    chosen = get_item(places, index).numpy()
    try:
        array.reshape(-1)[chosen] = values
    except ValueError:
        raise ShapeError(
            f"index: values of shape {values.shape} cannot be broadcast to the shape "
            f"{chosen.shape} of the elements that are chosen"
        ) from None
    return array
