"""Tensors made from data, from a shape, and from a range.

``dtype`` is the type of the result, and ``requires_grad`` whether gradients are wanted for it.
PyTorch's options ``device``, ``layout`` and ``pin_memory`` are accepted with the values that exist
here: the CPU, None and False; any other value is an ArgumentError.

>>> tt.tensor([[1, 2], [3, 4]]).dtype
tinytape.int64
>>> tt.zeros(2, 3).shape, tt.arange(4).tolist(), tt.full((2,), 0.5).tolist()
((2, 3), [0, 1, 2, 3], [0.5, 0.5])
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinytape import dtypes
from tinytape._ffi import ffi, lib
from tinytape._pytorch import OF_MAKERS, refuse_others
from tinytape._shapes import shapes_only
from tinytape.context import current
from tinytape.dtypes import dtype as DType
from tinytape.errors import ArgumentError, DTypeError, OutOfMemoryError, ShapeError
from tinytape.functional._apply import (
    check_tensor,
    from_array,
    integers_of,
    is_tensor,
    sizes_of,
)
from tinytape.functional.shape import diagonal

if TYPE_CHECKING:
    from tinytape.tensor import Tensor


def new_zeros(
    name: str,
    sizes: Sequence[int],
    kind: DType,
    pool: int = lib.TT_POOL_DATA,
    requires_grad: bool = False,
) -> Tensor:
    """Zeros of the given shape and type, made for the function ``name``, which its errors name.

    Raises:
        ShapeError: for a negative size, or more than 8 axes.
        DTypeError: for a dtype that is none of tinytape's.
        OutOfMemoryError: for more elements than can be counted.
    """
    dtypes.check_dtype(kind, name)
    if min(sizes, default=0) < 0:
        raise ShapeError(f"{name}: sizes must not be negative, got {tuple(sizes)}")
    if len(sizes) > 8:
        raise ShapeError(f"{name}: a tensor has 0 to 8 dimensions, got {len(sizes)}")
    if any(abs(n) >= 1 << 63 for n in sizes):
        raise OutOfMemoryError(f"{name}: a tensor of shape {tuple(sizes)} has too many elements")
    if shapes_only.active and math.prod(sizes) > 1:
        return new_zeros(name, [1] * len(sizes), kind, pool).expand(*sizes)
    context = current()
    shape = ffi.new("int64_t[]", sizes or [0])
    made: Tensor = context.make(lib.tt_new, pool, kind.code, len(sizes), shape, ffi.NULL)
    return made.requires_grad_() if requires_grad else made


def tensor(
    data: Any, *, dtype: DType | None = None, requires_grad: bool = False, **options: Any
) -> Tensor:
    """A new leaf that holds a copy of data: numbers, nested sequences, an array or a tensor.

    Without a dtype Python floats become float32, integers int64 and booleans bool; arrays, numpy's
    numbers and tensors keep their type; mixed types in a list are promoted to a common one.

    As ``torch.tensor``. The shape is that of the data.

    Raises:
        DTypeError: for data that no tensor can hold.
        ShapeError: for a ragged list, or more than 8 dimensions.
        NumberError: for a number that the integers asked for do not hold.
        ArgumentError: for another device, layout or pin_memory.
    """
    refuse_others("tensor", options, *OF_MAKERS)
    if is_tensor(data):
        data, dtype = data.numpy(), dtype or data.dtype
    array, kind = dtypes.as_array(data, dtype)
    made = from_array(array, kind)
    return made.requires_grad_() if requires_grad else made


def as_tensor(data: Any, dtype: DType | None = None, **options: Any) -> Tensor:
    """A tensor as it is, or converted to dtype; anything else as :func:`tensor` takes it.

    As ``torch.as_tensor``, but arrays are copied, never shared. The shape is that of the data.

    Raises:
        ArgumentError: for another device, layout or pin_memory.
        DTypeError, ShapeError, NumberError: as :func:`tensor`.
    """
    refuse_others("as_tensor", options, *OF_MAKERS)
    if not is_tensor(data):
        return tensor(data, dtype=dtype)
    return data if dtype is None else data.to(dtype)


def from_numpy(ndarray: np.ndarray[Any, Any]) -> Tensor:
    """An array's values, of its shape and type.

    As ``torch.from_numpy``, but a copy: the tensor shares no memory with the array.

    Raises:
        DTypeError: for a type that no tensor can hold.
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"from_numpy: expected a numpy array, got {type(ndarray).__name__}")
    array, kind = dtypes.as_array(ndarray, None, "from_numpy")
    return from_array(array, kind)


def _finished(made: Tensor, requires_grad: bool) -> Tensor:
    return made.requires_grad_() if requires_grad else made


# ---- constants -----------------------------------------------------------------------------------


def zeros(
    *sizes: Any,
    size: Any = None,
    dtype: DType | None = None,
    requires_grad: bool = False,
    _pool: int = lib.TT_POOL_DATA,
    **options: Any,
) -> Tensor:
    """Zeros of the given shape, float32 by default.

    As ``torch.zeros``. The sizes are given one by one, as one sequence, or as ``size=``.

    Raises:
        ShapeError: for a negative size, or more than 8 axes.
        ArgumentError: for another device, layout or pin_memory.
    """
    refuse_others("zeros", options, *OF_MAKERS)
    kind = dtype or dtypes.float32
    return new_zeros("zeros", sizes_of(sizes, "zeros", size), kind, _pool, requires_grad)


def empty(
    *sizes: Any,
    size: Any = None,
    dtype: DType | None = None,
    requires_grad: bool = False,
    **options: Any,
) -> Tensor:
    """A tensor of the given shape whose values do not matter, float32 by default.

    As ``torch.empty``, but the values are zeros: old memory is never visible.

    Raises:
        ShapeError: for a negative size, or more than 8 axes.
        ArgumentError: for another device, layout or pin_memory.
    """
    refuse_others("empty", options, *OF_MAKERS)
    shape = sizes_of(sizes, "empty", size)
    return new_zeros("empty", shape, dtype or dtypes.float32, requires_grad=requires_grad)


def ones(
    *sizes: Any,
    size: Any = None,
    dtype: DType | None = None,
    requires_grad: bool = False,
    **options: Any,
) -> Tensor:
    """Ones of the given shape, float32 by default.

    As ``torch.ones``. The sizes are given one by one, as one sequence, or as ``size=``.

    Raises:
        ShapeError: for a negative size, or more than 8 axes.
        ArgumentError: for another device, layout or pin_memory.
    """
    refuse_others("ones", options, *OF_MAKERS)
    shape = sizes_of(sizes, "ones", size)
    made = new_zeros("ones", shape, dtype or dtypes.float32).fill_(1)
    return _finished(made, requires_grad)


def full(
    size: Any,
    fill_value: Any,
    *,
    dtype: DType | None = None,
    requires_grad: bool = False,
    **options: Any,
) -> Tensor:
    """One value everywhere, of shape size; without a dtype float32, int64 or bool, as the value is.

    As ``torch.full``.

    Raises:
        NumberError: for a value that the dtype does not hold.
        ShapeError: for a negative size, or more than 8 axes.
        ArgumentError: for another device, layout or pin_memory.
    """
    refuse_others("full", options, *OF_MAKERS)
    value, kind = _number("full", fill_value), dtype
    if kind is None:
        whole = dtypes.bool_ if isinstance(value, bool) else dtypes.int64
        kind = whole if isinstance(value, int) else dtypes.float32
    made = new_zeros("full", sizes_of((size,), "full"), kind)
    return _finished(made._overwrite("full", value), requires_grad)


def zeros_like(
    input: Tensor,
    *,
    dtype: DType | None = None,
    requires_grad: bool = False,
    _pool: int = lib.TT_POOL_DATA,
    **options: Any,
) -> Tensor:
    """Zeros of a tensor's shape and type.

    As ``torch.zeros_like``.

    Raises:
        ArgumentError: for another device, layout or pin_memory.
    """
    refuse_others("zeros_like", options, *OF_MAKERS)
    check_tensor("zeros_like", input)
    return zeros(input.shape, dtype=dtype or input.dtype, requires_grad=requires_grad, _pool=_pool)


def ones_like(
    input: Tensor, *, dtype: DType | None = None, requires_grad: bool = False, **options: Any
) -> Tensor:
    """Ones of a tensor's shape and type.

    As ``torch.ones_like``.

    Raises:
        ArgumentError: for another device, layout or pin_memory.
    """
    refuse_others("ones_like", options, *OF_MAKERS)
    check_tensor("ones_like", input)
    return ones(input.shape, dtype=dtype or input.dtype, requires_grad=requires_grad)


def empty_like(
    input: Tensor, *, dtype: DType | None = None, requires_grad: bool = False, **options: Any
) -> Tensor:
    """A tensor of a tensor's shape and type whose values do not matter.

    As ``torch.empty_like``, but the values are zeros.

    Raises:
        ArgumentError: for another device, layout or pin_memory.
    """
    refuse_others("empty_like", options, *OF_MAKERS)
    check_tensor("empty_like", input)
    return empty(input.shape, dtype=dtype or input.dtype, requires_grad=requires_grad)


def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: DType | None = None,
    requires_grad: bool = False,
    **options: Any,
) -> Tensor:
    """One value everywhere, of a tensor's shape and type.

    As ``torch.full_like``.

    Raises:
        NumberError: for a value that the dtype does not hold.
        ArgumentError: for another device, layout or pin_memory.
    """
    refuse_others("full_like", options, *OF_MAKERS)
    check_tensor("full_like", input)
    kind = dtype or input.dtype
    return full(input.shape, fill_value, dtype=kind, requires_grad=requires_grad)


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: DType | None = None,
    requires_grad: bool = False,
    **options: Any,
) -> Tensor:
    """An (n, m) matrix with ones on the main diagonal and zeros elsewhere; (n, n) without m.

    As ``torch.eye``; float32 by default.

    Raises:
        ArgumentError: for a negative size.
    """
    refuse_others("eye", options, *OF_MAKERS)
    shape = integers_of("eye", (n, n if m is None else m), "sizes")
    if min(shape) < 0:
        raise ArgumentError(f"eye: sizes must not be negative, got {tuple(shape)}")
    made = new_zeros("eye", shape, dtype or dtypes.float32)
    diagonal(made).fill_(1)
    return _finished(made, requires_grad)


# ---- ranges --------------------------------------------------------------------------------------


def _number(name: str, value: Any) -> int | float:
    """A Python number, from one of numpy's or a tensor without dimensions too."""
    if (isinstance(value, np.generic) or is_tensor(value)) and value.ndim == 0:
        value = value.item()
    if not isinstance(value, (int, float)):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
    if isinstance(value, int) and value.bit_length() > 1000:
        raise ArgumentError(f"{name}: an integer of {value.bit_length()} bits is no number here")
    return value


def _range_dtype(name: str, kind: DType) -> DType:
    if dtypes.check_dtype(kind, name) is dtypes.bool_:
        raise DTypeError(f"{name}: the dtype must hold numbers, got bool")
    return kind


def _filled(made: Tensor, values: np.ndarray[Any, Any], requires_grad: bool) -> Tensor:
    """The tensor comes first, so that the core refuses a size before numpy tries it."""
    return _finished(made.copy_(values), requires_grad)


def arange(
    start: Any = 0,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: DType | None = None,
    requires_grad: bool = False,
    **options: Any,
) -> Tensor:
    """start, start + step, ... below end: ceil((end - start) / step) numbers; one argument is end.

    As ``torch.arange``. The shape is (numbers,). Integers give int64, floats float32. Where int64
    is asked for, all arguments are cut to integers first; for narrower integers start and step are,
    after the numbers were counted.

    Raises:
        ArgumentError: when step is 0 or leads away from end, or an end is not finite.
        DTypeError: for bool.
    """
    refuse_others("arange", options, *OF_MAKERS)
    if end is None:
        start, end = 0, start
    first, last, by = (_number("arange", v) for v in (start, end, step))
    whole = all(isinstance(v, int) for v in (first, last, by))
    kind = _range_dtype("arange", dtype or (dtypes.int64 if whole else dtypes.float32))
    if not all(-math.inf < v < math.inf for v in (first, last, by)):
        raise ArgumentError(f"arange: the range must be finite, got {first} to {last} by {by}")
    if kind is dtypes.int64:
        first, last, by = int(first), int(last), int(by)
    count_by = by
    if not kind.is_floating_point:
        by = int(by)
    if by == 0:
        raise ArgumentError("arange: step must not be 0")
    if (last - first) * (1 if by > 0 else -1) < 0:
        raise ArgumentError(f"arange: a step of {by} does not lead from {first} to {last}")
    if kind is dtypes.int64:
        count = -int((first - last) // by)
    else:
        count = math.ceil((float(last) - float(first)) / float(count_by))
    if kind.is_floating_point:
        first, by = float(first), float(by)
    else:
        first = int(first)
        if any(not -(1 << 63) <= v < 1 << 63 for v in (first, by)):
            raise ArgumentError(f"arange: {first} to {last} by {by} does not fit into int64")
    made = new_zeros("arange", [count], kind)
    return _filled(made, first + by * np.arange(count), requires_grad)


def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    dtype: DType | None = None,
    requires_grad: bool = False,
    **options: Any,
) -> Tensor:
    """``steps`` numbers from start to end, both included, at equal distances; float32 by default.

    As ``torch.linspace``. The shape is (steps,).

    Raises:
        ArgumentError: when steps is negative.
        DTypeError: for bool.
        NumberError: for an end that the integers asked for do not hold.
    """
    refuse_others("linspace", options, *OF_MAKERS)
    kind = _range_dtype("linspace", dtype or dtypes.float32)
    first, last = _number("linspace", start), _number("linspace", end)
    (count,) = integers_of("linspace", (steps,), "steps")
    if count < 0:
        raise ArgumentError(f"linspace: steps must not be negative, got {count}")
    if not kind.is_floating_point:
        if not all(-math.inf < v < math.inf for v in (first, last)):
            raise ArgumentError(f"linspace: the ends must be finite, got {first} and {last}")
        for end_of in (first, last):
            dtypes.check_number(end_of, kind, "linspace")
        first, last = int(first), int(last)
    made, places = new_zeros("linspace", [count], kind), np.arange(count)
    by = (last - first) / (count - 1) if count > 1 else 0.0
    # From both ends to the middle, so that both ends are exact.
    values = np.where(places < count // 2, first + by * places, last - by * (count - 1 - places))
    return _filled(made, values if count != 1 else np.full(1, first), requires_grad)
