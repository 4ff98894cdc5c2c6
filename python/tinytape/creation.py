"""Tensors made from a shape: constants, ranges and random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytape import dtypes
from tinytape._ffi import check, ffi, lib
from tinytape.context import current
from tinytape.dtypes import dtype as DType
from tinytape.errors import ArgumentError, DTypeError, OutOfMemoryError
from tinytape.functional._apply import sizes_of
from tinytape.random import Generator, default_generator
from tinytape.tensor import Tensor

UNIFORM, NORMAL = 0, 1  # the kinds of fill_random_


def _new(sizes: list[int], kind: DType, pool: int, requires_grad: bool) -> Tensor:
    dtypes.check_dtype(kind, "tensor")
    if any(abs(n) >= 1 << 63 for n in sizes):
        raise OutOfMemoryError(f"tensor: a tensor of shape {tuple(sizes)} has too many elements")
    context = current()
    shape = ffi.new("int64_t[]", sizes or [0])
    handle = context.call(lib.tt_new, pool, kind.code, len(sizes), shape, ffi.NULL)
    made: Tensor = Tensor._wrap(context, handle)
    return made.requires_grad_() if requires_grad else made


def tensor(data: Any, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """A new leaf that holds a copy of data: numbers, nested sequences, an array or a tensor.

    Python floats become float32 and Python integers int64; numpy's types are kept.
    """
    if isinstance(data, Tensor):
        data, dtype = data.numpy(), dtype or data.dtype
    array, kind = dtypes.as_array(data, dtype)
    made: Tensor = Tensor._from_array(array, kind)
    return made.requires_grad_() if requires_grad else made


def zeros(
    *size: Any,
    dtype: DType | None = None,
    requires_grad: bool = False,
    _pool: int = lib.TT_POOL_DATA,
) -> Tensor:
    """Zeros of the given size, float32 unless said otherwise."""
    return _new(sizes_of(size), dtype or dtypes.float32, _pool, requires_grad)


def full(
    size: Any, fill_value: float, dtype: DType | None = None, requires_grad: bool = False
) -> Tensor:
    """One value everywhere; without a dtype float32, int64 or bool, as the value is."""
    if dtype is None:
        whole = dtypes.bool_ if isinstance(fill_value, bool) else dtypes.int64
        dtype = whole if isinstance(fill_value, int) else dtypes.float32
    made = zeros(size, dtype=dtype).fill_(fill_value)
    return made.requires_grad_() if requires_grad else made


def ones(*size: Any, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """Ones of the given size, float32 unless said otherwise."""
    return full(sizes_of(size), 1, dtype or dtypes.float32, requires_grad)


def zeros_like(
    input: Tensor,
    dtype: DType | None = None,
    requires_grad: bool = False,
    _pool: int = lib.TT_POOL_DATA,
) -> Tensor:
    """Zeros of a tensor's shape and type."""
    return zeros(input.shape, dtype=dtype or input.dtype, requires_grad=requires_grad, _pool=_pool)


def ones_like(input: Tensor, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """Ones of a tensor's shape and type."""
    return ones(input.shape, dtype=dtype or input.dtype, requires_grad=requires_grad)


def arange(
    start: float, end: float | None = None, step: float = 1, dtype: DType | None = None
) -> Tensor:
    """start, start + step, ... below end; from 0 with one argument.

    Integers give int64, floats float32.
    """
    if end is None:
        start, end = 0, start
    if step == 0:
        raise ArgumentError("arange: step must not be 0")
    kind = dtype
    if kind is None:
        whole = all(isinstance(v, int) for v in (start, end, step))
        kind = dtypes.int64 if whole else dtypes.float32
    made: Tensor = Tensor._from_array(np.arange(start, end, step).astype(kind.numpy), kind)
    return made


def fill_random_(
    tensor: Tensor, kind: int, a: float, b: float, generator: Generator | None
) -> Tensor:
    """Overwrite a leaf: kind 0 uniform on [a, b), 1 normal with mean a, standard deviation b."""
    source = generator if generator is not None else default_generator
    context = tensor._context
    context.enter()
    offset = source.take(tensor.numel())
    check(
        lib.tt_random_fill(
            context.pointer, tensor._handle, kind, source.seed, source.stream, offset, a, b
        )
    )
    return tensor


def _random(
    size: tuple[Any, ...],
    kind: int,
    generator: Generator | None,
    dtype: DType | None,
    requires_grad: bool,
) -> Tensor:
    wanted = dtype or dtypes.float32
    if not wanted.is_floating_point:
        raise DTypeError(f"random numbers are float32 or float64, got {wanted}")
    made = fill_random_(zeros(*size, dtype=wanted), kind, 0.0, 1.0, generator)
    return made.requires_grad_() if requires_grad else made


def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: DType | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform on [0, 1)."""
    return _random(size, UNIFORM, generator, dtype, requires_grad)


def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: DType | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Standard normal."""
    return _random(size, NORMAL, generator, dtype, requires_grad)
