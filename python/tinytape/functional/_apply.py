"""The way of the functions to the core: arguments made into tensors, axes and sizes."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np

from tinytape._ffi import OPS, WITH_ATTRIBUTES, binding, ffi, lib, raise_last, text
from tinytape.dtypes import (
    BY_CODE,
    as_array,
    bool_,
    check_dtype,
    check_number,
    does_not_fit,
    dtype,
    from_numpy_dtype,
    in_common,
    int64,
    to_numpy_dtype,
)
from tinytape.errors import ArgumentError, OutOfRangeError, ShapeError

if TYPE_CHECKING:
    from typing_extensions import TypeIs

    from tinytape.tensor import Tensor

# The class itself, which its own module registers: it imports this one.
_tensor: Any = None


def tensor_class() -> type[Tensor]:
    registered: type[Tensor] = _tensor
    return registered


def is_tensor(x: Any) -> TypeIs[Tensor]:
    return isinstance(x, _tensor)


def from_array(array: np.ndarray[Any, Any], kind: dtype) -> Tensor:
    """A new leaf that holds a copy of an array."""
    made: Tensor = _tensor._from_array(to_numpy_dtype(array, kind), kind)
    return made


def _refuse(op: int, given: Any) -> NoReturn:
    name = text(lib.tt_op_name(op))
    raise TypeError(f"{name}: expected a Tensor, got {type(given).__name__}")


def _apply_slowly(
    op: int,
    inputs: Sequence[Tensor | None],
    ints: Sequence[int] = (),
    reals: Sequence[float] = (),
) -> Any:
    """:func:`apply` through Python, for unusual arguments and under anomaly detection."""
    first: Any = inputs[0]
    if not isinstance(first, _tensor):
        _refuse(op, first)
    context = first._context
    return context.apply(op, inputs, ints, reals, lib.tt_op_outputs(op))


#: ``apply(op, inputs, ints=(), reals=())``: run the core's operation number op on tensors of one
#: context; returns its output.
apply: Callable[..., Tensor] = binding.apply
#: The same, for an operation that has several outputs.
apply_many: Callable[..., tuple[Tensor, ...]] = binding.apply

#: The same, of each operation that has attributes, which it takes by name:
#: ``run["slice"]((x,), axis=1, start=0, step=1, length=3)``. The names are those of the operation's
#: C file, ``TT_ATTRS(slice, axis, start, step, length)``.
run: dict[str, Callable[..., Tensor]] = WITH_ATTRIBUTES
run_many: dict[str, Callable[..., tuple[Tensor, ...]]] = WITH_ATTRIBUTES


def set_up(tensor: type[Tensor]) -> None:
    """Register the class of tensors."""
    global _tensor
    _tensor = tensor
    binding.set_up(
        tensor, tuple(BY_CODE[i] for i in range(len(BY_CODE))), _apply_slowly, raise_last
    )


def number(value: float, like: Tensor, name: str) -> Tensor:
    """A plain number beside a tensor: in the tensor's type if that is a float, else in its own.

    Raises:
        NumberError: for an integer of more than 64 bits beside integers, or that no float reaches.
    """
    made: Tensor | None = binding.number(like, value)
    return made if made is not None else _number_slowly(value, like, name)


def _number_slowly(value: float, like: Tensor, name: str) -> Tensor:
    """:func:`number` for numbers that are no plain int or float of 64 bits."""
    kind = like.dtype if isinstance(value, bool) else in_common(like.dtype, value)
    wide = np.float64 if kind.is_floating_point else np.int64
    try:
        array = np.asarray(value, wide)
    except OverflowError:
        raise does_not_fit(value, kind if kind.is_floating_point else int64, name) from None
    if kind.is_floating_point or isinstance(value, bool):
        array = to_numpy_dtype(array, kind)
    code = from_numpy_dtype(array.dtype).code
    made: Tensor = like._context.make(lib.tt_number, code, ffi.from_buffer(array))
    return made


def source(value: Any, like: Tensor, name: str) -> Tensor:
    """The value to write into a tensor: a tensor of its context, a number, or an array or list.

    Raises:
        NumberError: for a number that the tensor's type does not hold.
        DTypeError, ShapeError: for data that is no regular array of numbers.
    """
    if is_tensor(value):
        if value._context is not like._context:
            like._context.handles([value])  # which refuses it
        return value
    kind = like.dtype
    plain = value.item() if isinstance(value, np.generic) else value
    if not isinstance(plain, (int, float)):
        return from_array(as_array(value, kind, name)[0], kind)
    check_number(plain, kind, name)
    if not kind.is_floating_point:  # all bits of it, and not those of a float32
        plain = int(plain if kind is not bool_ else bool(plain))
    return number(plain, like, name)


def check_limits(name: str, like: Tensor, *limits: Any) -> None:
    """Check plain numbers that elements are compared with, and may become.

    Raises:
        NumberError: for a number outside those of the common type.
    """
    plain = [x.item() if isinstance(x, np.generic) else x for x in limits]
    numbers = [x for x in plain if isinstance(x, (int, float))]
    kinds = [x.dtype for x in limits if is_tensor(x) and x.dtype.is_floating_point]
    kind = in_common(kinds[0] if kinds else like.dtype, *numbers)
    for x in numbers:
        check_number(x, kind, name, strictly=True)


def operand(value: Any, like: Tensor, name: str) -> Tensor:
    """A number or array as a tensor that can meet ``like``."""
    made: Tensor | None = binding.number(like, value)
    if made is not None:
        return made
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (int, float)):
        return _number_slowly(value, like, name)
    if isinstance(value, np.ndarray):
        floats = value.dtype.kind == "f" and like.dtype.is_floating_point
        kind = like.dtype if value.ndim == 0 and floats else from_numpy_dtype(value.dtype)
        return from_array(value, kind)
    raise TypeError(f"{name}: expected a Tensor or a number, got {type(value).__name__}")


def binary(name: str, a: Any, b: Any) -> Tensor:
    """The operation of that name on two tensors, of which one may be a number or an array."""
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


def over_axes(
    name: str,
    x: Tensor,
    dim: int | Sequence[int] | None,
    keepdim: bool,
    **more: Any,
) -> Tensor:
    """A reduction of the core over any axes: it takes adjacent ones, others are moved together."""
    check_tensor(name, x)
    shape = x.shape
    axes = sorted(axes_of(name, x, dim)) if shape else []
    if not axes:
        return run[name]((x,), keepdim=bool(keepdim), first=0, count=len(shape), **more)
    if axes[-1] - axes[0] + 1 == len(axes):
        return run[name]((x,), keepdim=bool(keepdim), first=axes[0], count=len(axes), **more)
    kept = [i for i in range(len(shape)) if i not in axes]
    together = run["permute"]((x,), order=[*kept, *axes])
    y = run[name]((together,), keepdim=False, first=len(kept), count=len(axes), **more)
    if not keepdim:
        return y
    sizes = [1 if i in axes else n for i, n in enumerate(shape)]
    return run["reshape"]((y,), sizes=sizes, no_copy=0)


def over_axis(name: str, x: Tensor, dim: int, keepdim: bool) -> tuple[Tensor, ...]:
    """A reduction over one axis, with all its results."""
    check_tensor(name, x)
    axis = axis_of(name, x.ndim, dim)
    return run_many[name]((x,), keepdim=bool(keepdim), first=axis, count=min(x.ndim, 1))


def in_dtype(name: str, x: Tensor, kind: Any) -> Tensor:
    """The tensor in the type that a ``dtype=`` argument asks for; None asks for none."""
    check_tensor(name, x)
    return x if kind is None else x.to(check_dtype(kind, name))


class ValuesAndIndices(NamedTuple):
    """Elements that were chosen along an axis, and where they were found."""

    values: Tensor
    indices: Tensor


def axis_of(name: str, ndim: int, axis: Any) -> int:
    if type(axis) is not int:
        (axis,) = integers_of(name, (axis,), "axes")
    if 0 <= axis < ndim:
        return int(axis)
    if not -max(ndim, 1) <= axis < max(ndim, 1):
        raise OutOfRangeError(
            f"{name}: axis {axis} is out of range for a tensor of {ndim} dimensions "
            f"(expected {-max(ndim, 1)} to {max(ndim, 1) - 1})"
        )
    return int(axis % max(ndim, 1))


def along(name: str, numbers: tuple[int, ...], dim: Any) -> Any:
    """One number for each axis; or that of the axis dim, if it is not None."""
    if dim is None:
        return numbers
    if not numbers:
        raise OutOfRangeError(f"{name}: a tensor of 0 dimensions has no axis {dim}")
    return numbers[axis_of(name, len(numbers), dim)]


def integers_of(name: str, values: Sequence[Any], what: str) -> list[int]:
    """Integers of any kind as Python's; ``what`` they are, for the error."""
    try:
        return [v if type(v) is int else operator.index(v) for v in values]
    except TypeError:
        kinds = ", ".join(type(v).__name__ for v in values)
        raise TypeError(f"{name}: {what} must be integers, got {kinds}") from None


def sizes_of(args: tuple[Any, ...], name: str = "size", keyword: Any = None) -> list[int]:
    """Sizes or axes given one by one, as one sequence, or by keyword."""
    if keyword is not None:
        if args:
            raise TypeError(f"{name}: sizes are given by position or by keyword, got both")
        args = (keyword,)
    given = args[0] if len(args) == 1 and isinstance(args[0], (tuple, list)) else args
    return integers_of(name, given, "sizes")


MOST_SIZE = 1 << 62


def check_rank(name: str, sizes: Sequence[int]) -> None:
    """Check that there are at most 8 sizes, and that the core can read each.

    Raises:
        ShapeError: otherwise.
    """
    if len(sizes) > 8:
        raise ShapeError(f"{name}: a tensor has 0 to 8 dimensions, got {len(sizes)}")
    for n in sizes:
        if not -MOST_SIZE < n < MOST_SIZE:
            raise ShapeError(f"{name}: {n} is no size of an axis")
