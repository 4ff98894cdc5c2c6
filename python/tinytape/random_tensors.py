"""Tensors of random numbers.

The numbers are those of :mod:`tinytape.random`, not PyTorch's. ``generator`` draws them, by default
``tt.default_generator``; ``dtype`` is the type of the result, and ``requires_grad`` whether
gradients are wanted for it. PyTorch's options ``device``, ``layout`` and ``pin_memory`` are
accepted with the values that exist here: the CPU, None and False; any other value is an
ArgumentError.

>>> generator = tt.Generator(0)
>>> x = tt.randn(2, 3, generator=generator)
>>> x.shape, x.dtype
((2, 3), tinytape.float32)
>>> sorted(tt.randperm(4, generator=generator).tolist())
[0, 1, 2, 3]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinytape import dtypes
from tinytape._ffi import check, lib
from tinytape._pytorch import OF_MAKERS, refuse_others
from tinytape._shapes import shapes_only
from tinytape.creation import new_zeros
from tinytape.dtypes import dtype as DType
from tinytape.errors import ArgumentError, DTypeError
from tinytape.functional._apply import check_tensor, integers_of, sizes_of
from tinytape.random import Generator, default_generator, philox_u64
from tinytape.tensor import Tensor

UNIFORM, NORMAL = 0, 1  # the kinds of fill_random_


def _source(name: str, generator: Generator | None) -> Generator:
    if generator is not None and not isinstance(generator, Generator):
        raise TypeError(f"{name}: expected a Generator, got {type(generator).__name__}")
    return generator if generator is not None else default_generator


def fill_random_(
    tensor: Tensor, kind: int, a: float, b: float, generator: Generator | None
) -> Tensor:
    """Overwrite a leaf of any shape with random numbers.

    Args:
        kind: UNIFORM on [a, b), or NORMAL with mean a and standard deviation b.
    """
    source = _source("fill_random_", generator)
    if shapes_only.active:
        return tensor
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
    name: str,
    shape: Sequence[int],
    kind: int,
    generator: Generator | None,
    dtype: DType | None,
    requires_grad: bool,
) -> Tensor:
    wanted = dtypes.check_dtype(dtype or dtypes.float32, name)
    if not wanted.is_floating_point:
        raise DTypeError(f"{name}: random numbers are float32 or float64, got {wanted}")
    source = _source(name, generator)
    made = fill_random_(new_zeros(name, shape, wanted), kind, 0.0, 1.0, source)
    return made.requires_grad_() if requires_grad else made


def rand(
    *sizes: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: DType | None = None,
    requires_grad: bool = False,
    **options: Any,
) -> Tensor:
    """Uniform on [0, 1), of the given shape, float32 by default.

    As ``torch.rand``. The sizes are given one by one, as one sequence, or as ``size=``.

    Raises:
        DTypeError: for a dtype other than float32 and float64.
        ArgumentError: for another device, layout or pin_memory.
    """
    refuse_others("rand", options, *OF_MAKERS)
    shape = sizes_of(sizes, "rand", size)
    return _random("rand", shape, UNIFORM, generator, dtype, requires_grad)


def randn(
    *sizes: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: DType | None = None,
    requires_grad: bool = False,
    **options: Any,
) -> Tensor:
    """Standard normal, of the given shape, float32 by default.

    As ``torch.randn``. The sizes are given one by one, as one sequence, or as ``size=``.

    Raises:
        DTypeError: for a dtype other than float32 and float64.
        ArgumentError: for another device, layout or pin_memory.
    """
    refuse_others("randn", options, *OF_MAKERS)
    shape = sizes_of(sizes, "randn", size)
    return _random("randn", shape, NORMAL, generator, dtype, requires_grad)


def rand_like(
    input: Tensor,
    *,
    generator: Generator | None = None,
    dtype: DType | None = None,
    requires_grad: bool = False,
    **options: Any,
) -> Tensor:
    """Uniform on [0, 1), of a tensor's shape and type.

    As ``torch.rand_like``.

    Raises:
        DTypeError: for a dtype other than float32 and float64.
        ArgumentError: for another device, layout or pin_memory.
    """
    refuse_others("rand_like", options, *OF_MAKERS)
    check_tensor("rand_like", input)
    kind = dtype or input.dtype
    return _random("rand_like", input.shape, UNIFORM, generator, kind, requires_grad)


def randn_like(
    input: Tensor,
    *,
    generator: Generator | None = None,
    dtype: DType | None = None,
    requires_grad: bool = False,
    **options: Any,
) -> Tensor:
    """Standard normal, of a tensor's shape and type.

    As ``torch.randn_like``.

    Raises:
        DTypeError: for a dtype other than float32 and float64.
        ArgumentError: for another device, layout or pin_memory.
    """
    refuse_others("randn_like", options, *OF_MAKERS)
    check_tensor("randn_like", input)
    kind = dtype or input.dtype
    return _random("randn_like", input.shape, NORMAL, generator, kind, requires_grad)


def _high_word(u: np.ndarray[Any, Any], n: int) -> np.ndarray[Any, Any]:
    """floor(u n / 2**64), for n up to 2**64."""
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    a, b = u >> half, u & low
    c, d = np.uint64(n >> 32), np.uint64(n & 0xFFFFFFFF)
    carry = (b * d >> half) + (a * d & low) + (b * c & low)
    high: np.ndarray[Any, Any] = a * c + (a * d >> half) + (b * c >> half) + (carry >> half)
    return high


def _words(name: str, count: int, generator: Generator | None) -> np.ndarray[Any, Any]:
    """Uniform 64-bit integers; the generator advances by count."""
    source = _source(name, generator)
    return philox_u64(source.seed, source.stream, source.take(count), count)


def _whole_limits(kind: DType) -> tuple[int, int]:
    """The integers that a type holds without a gap."""
    if kind.is_floating_point:
        most = 1 << (np.finfo(kind.numpy).nmant + 1)
        return -most, most
    if kind is dtypes.bool_:
        return 0, 1
    limits = np.iinfo(kind.numpy)
    return int(limits.min), int(limits.max)


def randint(
    low: Any = None,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: DType | None = None,
    requires_grad: bool = False,
    **options: Any,
) -> Tensor:
    """Integers from low to high - 1, each as likely: ``randint(high, size)`` begins at 0.

    As ``torch.randint``. 64 random bits w give low + floor(w (high - low) / 2**64): the probability
    of every interval is right to 2**-64.

    Args:
        size: the shape, a tuple of sizes.
        dtype: int64 by default; any that holds all these integers.

    Raises:
        ArgumentError: when there is no integer from low to high - 1, or the dtype does not hold it.
        DTypeError: for a dtype that is none of tinytape's.
    """
    refuse_others("randint", options, *OF_MAKERS)
    if size is None:  # randint(high, size)
        low, high, size = None, low, high
    elif high is None:
        low, high = None, low
    if size is None or high is None:
        raise TypeError("randint: expected (high, size) or (low, high, size)")
    kind = dtypes.check_dtype(dtype or dtypes.int64, "randint")
    first, end = integers_of("randint", (0 if low is None else low, high), "low and high")
    least, most = _whole_limits(kind)
    if first >= end:
        raise ArgumentError(f"randint: low must be less than high, got {first} and {end}")
    if first < least or end - 1 > most:
        raise ArgumentError(f"randint: {first} to {end - 1} does not fit into {kind.name}")
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"randint: expected size as a tuple, got {type(size).__name__}")
    made = new_zeros("randint", integers_of("randint", size, "sizes"), kind)
    words = _high_word(_words("randint", made.numel(), generator), end - first)
    values = (words + np.uint64(first % (1 << 64))).view(np.int64)
    made.copy_(values.reshape(made.shape))
    return made.requires_grad_() if requires_grad else made


def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    dtype: DType | None = None,
    requires_grad: bool = False,
    **options: Any,
) -> Tensor:
    """The integers from 0 to n - 1 in random order: that of as many random 64-bit numbers.

    As ``torch.randperm``. The shape is (n,), the dtype int64 by default.

    Raises:
        ArgumentError: when n is negative or the dtype does not hold n - 1.
        DTypeError: for a dtype that is none of tinytape's.
    """
    refuse_others("randperm", options, *OF_MAKERS)
    kind = dtypes.check_dtype(dtype or dtypes.int64, "randperm")
    (count,) = integers_of("randperm", (n,), "n")
    if count < 0 or count - 1 > _whole_limits(kind)[1]:
        raise ArgumentError(f"randperm: n must be at least 0 and fit into {kind.name}, got {count}")
    # Made first, so that the core refuses a size before numpy tries it.
    made = new_zeros("randperm", [count], kind)
    made.copy_(np.argsort(_words("randperm", count, generator), kind="stable"))
    return made.requires_grad_() if requires_grad else made
