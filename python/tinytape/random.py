"""Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, SC 2011).

Every number is a function of (seed, stream, offset), so a generator is three integers, and a
resumed run draws the same numbers.

>>> generator = tt.Generator(1)
>>> state = generator.get_state()
>>> first = tt.rand(3, generator=generator)
>>> generator.set_state(state)
>>> tt.rand(3, generator=generator).tolist() == first.tolist()
True
"""

from __future__ import annotations

import operator
from typing import Any, SupportsIndex

import numpy as np

from tinytape._ffi import ffi, lib

from .errors import ArgumentError

_MASK = (1 << 64) - 1


def seed_of(value: SupportsIndex, name: str = "seed") -> int:
    """A seed as 64 bits without a sign; a negative one in two's complement, as in PyTorch.

    Raises:
        TypeError: no integer.
        ValueError: below -2**63 or above 2**64 - 1. ``name`` is for the message.
    """
    try:
        seed = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {type(value).__name__}") from None
    if not -(1 << 63) <= seed <= _MASK:
        size = seed.bit_length()  # such a number may have too many digits to be printed
        shown = seed if size < 200 else f"one of {size} bits"
        raise ArgumentError(f"{name}: expected an integer from -2**63 to 2**64 - 1, got {shown}")
    return seed & _MASK


class Generator:
    """A position in the sequence of a seed. Draws of n numbers advance it by n.

    Args:
        seed: -2**63 to 2**64 - 1, as in PyTorch; see :func:`seed_of`.
        stream: sequences of one seed that never meet; one for each purpose. Its range is the same.

    Raises:
        TypeError, ValueError: no such integer.
    """

    __slots__ = ("offset", "seed", "stream")

    def __init__(self, seed: SupportsIndex = 0, stream: SupportsIndex = 0) -> None:
        self.seed = seed_of(seed)
        self.stream = seed_of(stream, "stream")
        self.offset = 0

    def manual_seed(self, seed: SupportsIndex) -> Generator:
        """Start the sequence of another seed; returns self.

        Raises:
            TypeError, ValueError: as :func:`seed_of`; the generator is then unchanged.
        """
        self.seed = seed_of(seed)
        self.offset = 0
        return self

    def initial_seed(self) -> int:
        """The seed, without a sign."""
        return self.seed

    def take(self, n: int) -> int:
        """Reserve the next n numbers; returns the offset of the first."""
        offset = self.offset
        self.offset = (offset + n) & _MASK
        return offset

    def _draw(self, n: int) -> tuple[int, int, int]:
        """Seed, stream and offset of the next n numbers, as the core's signed attributes."""
        seed, stream, offset = (
            v - (1 << 64) if v >= 1 << 63 else v for v in (self.seed, self.stream, self.take(n))
        )
        return seed, stream, offset

    def get_state(self) -> dict[str, int]:
        """``{"seed": ..., "stream": ..., "offset": ...}``, for :meth:`set_state`. PyTorch returns a
        tensor.
        """
        return {"seed": self.seed, "stream": self.stream, "offset": self.offset}

    def set_state(self, state: dict[str, int]) -> None:
        """Continue where :meth:`get_state` was called.

        Raises:
            ValueError: when a number is missing or out of range; the generator is then unchanged.
        """
        names = ("seed", "stream", "offset")
        if not isinstance(state, dict) or any(
            type(state.get(n)) is not int or not 0 <= state[n] <= _MASK for n in names
        ):
            raise ValueError(f"expected the integers seed, stream and offset, got {state!r}")
        self.seed, self.stream, self.offset = (state[n] for n in names)

    def __repr__(self) -> str:
        return f"Generator(seed={self.seed}, stream={self.stream}, offset={self.offset})"


default_generator = Generator(0)


def manual_seed(seed: SupportsIndex) -> Generator:
    """Seed the default generator, from which calls without ``generator=`` draw; returns it.

    Raises:
        TypeError, ValueError: as :func:`seed_of`; nothing has changed then.
    """
    return default_generator.manual_seed(seed)


def philox_u64(
    seed: SupportsIndex, stream: SupportsIndex, offset: SupportsIndex, n: int
) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """n uniform 64-bit integers; element i depends only on seed, stream and offset + i.

    Raises:
        ValueError: a negative n, or one of the others outside the range of :func:`seed_of`.
    """
    if n < 0:
        raise ArgumentError(f"philox_u64: n must not be negative, got {n}")
    place = seed_of(seed), seed_of(stream, "stream"), seed_of(offset, "offset")
    out = np.empty(n, dtype=np.uint64)
    lib.tt_philox_u64(*place, n, ffi.from_buffer("uint64_t[]", out))
    return out
