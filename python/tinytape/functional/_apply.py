"""How the functions reach the core: arguments made into tensors, axes and sizes."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinytape._ffi import OPS, lib, text
from tinytape.dtypes import bool_, dtype, float32, from_numpy_dtype, int64, to_numpy_dtype
from tinytape.errors import ArgumentError, OutOfRangeError, ShapeError

if TYPE_CHECKING:
    from tinytape.tensor import Tensor

# The class itself: tensor.py, which needs this package first, puts it here.
_tensor: Any = None


def is_tensor(x: Any) -> bool:
    return isinstance(x, _tensor)


def from_array(array: np.ndarray[Any, Any], kind: dtype) -> Tensor:
    """A new leaf that holds a copy of an array."""
    made: Tensor = _tensor._from_array(to_numpy_dtype(array, kind), kind)
    return made


def _context_of(op: int, first: Any) -> Any:
    if not isinstance(first, _tensor):
        name = text(lib.tt_op_name(op))
        raise TypeError(f"{name}: expected a Tensor, got {type(first).__name__}")
    return first._context


def apply(
    op: int,
    inputs: Sequence[Tensor | None],
    ints: Sequence[int] = (),
    reals: Sequence[float] = (),
) -> Tensor:
    """Run the core's operation number op on tensors of one context."""
    context = _context_of(op, inputs[0])
    out: Tensor = _tensor._wrap(context, context.apply(op, inputs, ints, reals))
    return out


def apply_many(
    op: int,
    inputs: Sequence[Tensor | None],
    ints: Sequence[int] = (),
    reals: Sequence[float] = (),
) -> tuple[Tensor, ...]:
    """Run an operation that has several outputs."""
    context = _context_of(op, inputs[0])
    handles = context.apply(op, inputs, ints, reals, lib.tt_op_outputs(op))
    return tuple(_tensor._wrap(context, h) for h in handles)


def _number_dtype(value: float, like: dtype) -> dtype:
    """A Python number takes the tensor's type unless it is of a higher kind: bool, int, float."""
    if like.is_floating_point or isinstance(value, bool):
        return like
    if isinstance(value, float):
        return float32
    return int64 if like is bool_ else like


def operand(value: Any, like: Tensor, name: str) -> Tensor:
    """A number or array as a tensor that can meet ``like``: numbers take its type."""
    if isinstance(value, (int, float)) and not isinstance(value, np.generic):
        kind = _number_dtype(value, like.dtype)
        try:
            return from_array(
                np.asarray(value, np.float64 if kind.is_floating_point else np.int64), kind
            )
        except OverflowError:
            raise ArgumentError(f"{name}: the number {value} does not fit {kind}") from None
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        floats = array.dtype.kind == "f" and like.dtype.is_floating_point
        kind = like.dtype if array.ndim == 0 and floats else from_numpy_dtype(array.dtype)
        return from_array(array, kind)
    raise TypeError(f"{name}: expected a Tensor or a number, got {type(value).__name__}")


def binary(name: str, a: Any, b: Any) -> Tensor:
    if not isinstance(a, _tensor):
        if not isinstance(b, _tensor):
            raise TypeError(
                f"{name}: expected a Tensor, got {type(a).__name__} and {type(b).__name__}"
            )
        a = operand(a, b, name)
    elif not isinstance(b, _tensor):
        b = operand(b, a, name)
    return apply(OPS[name], (a, b))


def check_tensor(name: str, x: Any) -> None:
    if not isinstance(x, _tensor):
        raise TypeError(f"{name}: expected a Tensor, got {type(x).__name__}")


def unary(name: str, x: Tensor) -> Tensor:
    check_tensor(name, x)
    return apply(OPS[name], (x,))


def axes_of(name: str, x: Tensor, dim: int | Sequence[int] | None) -> list[int]:
    if dim is None:
        return []
    axes = list(dim) if isinstance(dim, Sequence) else [dim]
    axes = [axis_of(name, x.ndim, axis) for axis in axes]
    for axis in axes:
        if axes.count(axis) > 1:
            raise ArgumentError(f"{name}: axis {axis} appears more than once in {axes}")
    return axes


def axis_of(name: str, ndim: int, axis: Any) -> int:
    axis = int(operator.index(axis))
    if not -max(ndim, 1) <= axis < max(ndim, 1):
        raise OutOfRangeError(
            f"{name}: axis {axis} is out of range for a tensor of {ndim} dimensions "
            f"(expected {-max(ndim, 1)} to {max(ndim, 1) - 1})"
        )
    return int(axis % max(ndim, 1))


def sizes_of(args: tuple[Any, ...]) -> list[int]:
    """Sizes given one by one or as one sequence."""
    given = args[0] if len(args) == 1 and isinstance(args[0], (tuple, list)) else args
    return [operator.index(n) for n in given]


def check_rank(name: str, sizes: Sequence[int]) -> None:
    if len(sizes) > 8:
        raise ShapeError(f"{name}: a tensor has 0 to 8 dimensions, got {len(sizes)}")
