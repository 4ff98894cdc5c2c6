"""Operations on tensors, as functions. Most are methods of Tensor under the same name."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinytape._ffi import OPS, lib, text
from tinytape.dtypes import from_numpy_dtype
from tinytape.errors import ArgumentError, DTypeError, OutOfRangeError, ShapeError

if TYPE_CHECKING:
    from tinytape.tensor import Tensor

# The class itself: tensor.py, which needs this module first, puts it here.
_tensor: Any = None


def apply(
    op: int,
    inputs: Sequence[Tensor | None],
    ints: Sequence[int] = (),
    reals: Sequence[float] = (),
) -> Tensor:
    """Run the core's operation number op on tensors of one context."""
    first: Any = inputs[0]
    if not isinstance(first, _tensor):
        name = text(lib.tt_op_name(op))
        raise TypeError(f"{name}: expected a Tensor, got {type(first).__name__}")
    context = first._context
    out: Tensor = _tensor._wrap(context, context.apply(op, inputs, ints, reals))
    return out


def _operand(value: Any, like: Tensor, name: str) -> Tensor:
    """A number or array as a tensor that can meet ``like``: numbers take its type."""
    if isinstance(value, (int, float)) and not isinstance(value, np.generic):
        number: Tensor = _tensor._from_array(np.asarray(value, like.dtype.numpy), like.dtype)
        return number
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        kind = like.dtype if array.ndim == 0 else from_numpy_dtype(array.dtype)
        dense = np.ascontiguousarray(array, dtype=kind.numpy).reshape(array.shape)
        made: Tensor = _tensor._from_array(dense, kind)
        return made
    raise TypeError(f"{name}: expected a Tensor or a number, got {type(value).__name__}")


def _binary(name: str, a: Any, b: Any) -> Tensor:
    if not isinstance(a, _tensor):
        if not isinstance(b, _tensor):
            raise TypeError(
                f"{name}: expected a Tensor, got {type(a).__name__} and {type(b).__name__}"
            )
        a = _operand(a, b, name)
    elif not isinstance(b, _tensor):
        b = _operand(b, a, name)
    return apply(OPS[name], (a, b))


def _check_tensor(name: str, x: Any) -> None:
    if not isinstance(x, _tensor):
        raise TypeError(f"{name}: expected a Tensor, got {type(x).__name__}")


def _unary(name: str, x: Tensor) -> Tensor:
    _check_tensor(name, x)
    return apply(OPS[name], (x,))


def add(input: Any, other: Any) -> Tensor:
    """input + other, broadcast."""
    return _binary("add", input, other)


def sub(input: Any, other: Any) -> Tensor:
    """input - other, broadcast."""
    return _binary("sub", input, other)


def mul(input: Any, other: Any) -> Tensor:
    """input * other, broadcast."""
    return _binary("mul", input, other)


def div(input: Any, other: Any) -> Tensor:
    """input / other, broadcast."""
    return _binary("div", input, other)


def neg(input: Tensor) -> Tensor:
    """-input."""
    return _unary("neg", input)


def exp(input: Tensor) -> Tensor:
    """e to the power of each element."""
    return _unary("exp", input)


def log(input: Tensor) -> Tensor:
    """The natural logarithm of each element."""
    return _unary("log", input)


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent of each element."""
    return _unary("tanh", input)


def erf(input: Tensor) -> Tensor:
    """The error function of each element."""
    return _unary("erf", input)


def sqrt(input: Tensor) -> Tensor:
    """The square root of each element."""
    return _unary("sqrt", input)


def rsqrt(input: Tensor) -> Tensor:
    """One over the square root of each element."""
    return _unary("rsqrt", input)


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product of (..., m, k) and (..., k, n); leading axes broadcast.

    A vector is a row on the left and a column on the right, and that axis is gone from the result.

    Raises:
        ShapeError: when the inner sizes differ or a factor has no dimension.
    """
    for x in (input, other):
        _check_tensor("matmul", x)
        if x.ndim == 0:
            raise ShapeError(
                f"matmul: both factors need a dimension, got {input.shape} and {other.shape}"
            )
    a = unsqueeze(input, 0) if input.ndim == 1 else input
    b = unsqueeze(other, 1) if other.ndim == 1 else other
    product = apply(OPS["matmul"], (a, b))
    shape = list(product.shape)
    if input.ndim == 1:
        del shape[-2]
    if other.ndim == 1:
        del shape[-1]
    return product if len(shape) == product.ndim else reshape(product, shape)


def _axes(name: str, x: Tensor, dim: int | Sequence[int] | None) -> list[int]:
    if dim is None:
        return []
    axes = list(dim) if isinstance(dim, Sequence) else [dim]
    axes = [_axis(name, x.ndim, axis) for axis in axes]
    for axis in axes:
        if axes.count(axis) > 1:
            raise ArgumentError(f"{name}: axis {axis} appears more than once in {axes}")
    return axes


def _axis(name: str, ndim: int, axis: Any) -> int:
    axis = int(operator.index(axis))
    if not -max(ndim, 1) <= axis < max(ndim, 1):
        raise OutOfRangeError(
            f"{name}: axis {axis} is out of range for a tensor of {ndim} dimensions "
            f"(expected {-max(ndim, 1)} to {max(ndim, 1) - 1})"
        )
    return int(axis % max(ndim, 1))


def sum(input: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """The sum over the given axes, or over all."""
    _check_tensor("sum", input)
    axes = _axes("sum", input, dim)
    if input.ndim == 0:
        axes = []  # a single value has one axis to name, and none to sum over
    return apply(OPS["sum"], (input,), [int(keepdim), *axes])


def mean(input: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """The mean over the given axes, or over all; NaN over nothing."""
    total = sum(input, dim, keepdim)
    count = input.numel() // total.numel() if total.numel() else 1
    return div(total, float(count))


def _sizes(args: tuple[Any, ...]) -> list[int]:
    """Sizes given one by one or as one sequence."""
    given = args[0] if len(args) == 1 and isinstance(args[0], (tuple, list)) else args
    return [operator.index(n) for n in given]


def _check_rank(name: str, sizes: Sequence[int]) -> None:
    if len(sizes) > 8:
        raise ShapeError(f"{name}: a tensor has 0 to 8 dimensions, got {len(sizes)}")


def reshape(input: Tensor, *shape: Any) -> Tensor:
    """The same elements in another shape; one size may be -1. A view where possible."""
    sizes = _sizes(shape)
    _check_rank("reshape", sizes)
    return apply(OPS["reshape"], (input,), sizes)


def view(input: Tensor, *shape: Any) -> Tensor:
    """The same elements in another shape, sharing storage; one size may be -1.

    Raises:
        ShapeError: where the strides do not allow it: reshape copies then.
    """
    sizes = _sizes(shape)
    _check_rank("view", sizes)
    return apply(OPS["reshape"], (input,), sizes, (1.0,))


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes start_dim to end_dim as one."""
    shape = input.shape
    first, last = (_axis("flatten", input.ndim, d) for d in (start_dim, end_dim))
    if first > last:
        raise ArgumentError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    merged = 1
    for n in shape[first : last + 1]:
        merged *= n
    return reshape(input, [*shape[:first], merged, *shape[last + 1 :]])


def permute(input: Tensor, *dims: Any) -> Tensor:
    """The axes in another order, as a view."""
    order = _sizes(dims)
    _check_rank("permute", order)
    return apply(OPS["permute"], (input,), order)


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes exchanged, as a view."""
    if input.ndim == 0:
        return input
    order = list(range(input.ndim))
    i, j = (_axis("transpose", input.ndim, d) for d in (dim0, dim1))
    order[i], order[j] = order[j], order[i]
    return permute(input, order)


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A new axis of size 1."""
    axis = _axis("unsqueeze", input.ndim + 1, dim)
    return reshape(input, [*input.shape[:axis], 1, *input.shape[axis:]])


def squeeze(input: Tensor, dim: int | None = None) -> Tensor:
    """Without the axis dim if its size is 1, or without all such axes."""
    if dim is None:
        return reshape(input, [n for n in input.shape if n != 1])
    axis = _axis("squeeze", input.ndim, dim)
    if input.ndim == 0 or input.shape[axis] != 1:
        return input
    return reshape(input, [*input.shape[:axis], *input.shape[axis + 1 :]])


def expand(input: Tensor, *sizes: Any) -> Tensor:
    """Axes of size 1 stretched, new ones in front; -1 keeps a size. A view."""
    shape = _sizes(sizes)
    _check_rank("expand", shape)
    return apply(OPS["expand"], (input,), shape)


def contiguous(input: Tensor) -> Tensor:
    """Row-major in memory: the tensor itself if it is already, else a copy."""
    return input if input.is_contiguous() else clone(input)


def clone(input: Tensor) -> Tensor:
    """A copy, through which gradients pass."""
    return _unary("contiguous", input)


def _slice(x: Tensor, axis: int, start: int, step: int, length: int) -> Tensor:
    return apply(OPS["slice"], (x,), (axis, start, step, length))


def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """Elements start to start + length of one axis, as a view."""
    axis = _axis("narrow", input.ndim, dim)
    if start < 0:
        start += input.shape[axis]
    return _slice(input, axis, start, 1, length)


def split(
    input: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0
) -> tuple[Tensor, ...]:
    """Consecutive pieces of one axis as views, of one size (the last may be less) or of several."""
    axis = _axis("split", input.ndim, dim)
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
        pieces.append(_slice(input, axis, at, 1, n))
        at += n
    return tuple(pieces)


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` pieces of one axis, all but the last of one size."""
    if chunks < 1:
        raise ArgumentError(f"chunk: the number of chunks must be positive, got {chunks}")
    size = input.shape[_axis("chunk", input.ndim, dim)] if input.ndim else 0
    return split(input, max(1, -(-size // chunks)), dim)


def softmax(input: Tensor, dim: int) -> Tensor:
    """e^x / sum e^x along one axis."""
    _check_tensor("softmax", input)
    return apply(OPS["softmax"], (input,), (_axis("softmax", input.ndim, dim),))


def log_softmax(input: Tensor, dim: int) -> Tensor:
    """x - ln sum e^x along one axis."""
    _check_tensor("log_softmax", input)
    return apply(OPS["log_softmax"], (input,), (_axis("log_softmax", input.ndim, dim),))


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
                y = _slice(y, axis, min(start, size), step, length)
            shape.append(length)
        elif isinstance(part, (bool, np.bool_)) or not hasattr(part, "__index__"):
            raise DTypeError(
                f"an index is an integer, slice, None or Ellipsis, got {type(part).__name__}"
            )
        else:
            i = operator.index(part)
            if not -size <= i < size:
                raise OutOfRangeError(f"index {i} is out of range for axis {axis} of size {size}")
            y = _slice(y, axis, i % size, 1, 1)
        axis += 1
    return reshape(y, shape) if tuple(shape) != y.shape or y is x else y
