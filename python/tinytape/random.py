"""Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, SC 2011).

Every number is a function of (seed, stream, offset), so a generator is three integers, and resuming
is exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytape._ffi import ffi, lib

_MASK = (1 << 64) - 1


class Generator:
    """A position in the sequence of a seed. Draws of n numbers advance it by n.

    Args:
        seed: any integer; its low 64 bits count.
        stream: sequences of one seed that never meet; one for each purpose.
    """

    __slots__ = ("offset", "seed", "stream")

    def __init__(self, seed: int = 0, stream: int = 0) -> None:
        self.seed = int(seed) & _MASK
        self.stream = int(stream) & _MASK
        self.offset = 0

    def manual_seed(self, seed: int) -> Generator:
        """Start the sequence of another seed; returns self."""
        self.seed = int(seed) & _MASK
        self.offset = 0
        return self

    def initial_seed(self) -> int:
        return self.seed

    def take(self, n: int) -> int:
        """The offset of the next n numbers, which are thereby used."""
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
        return {"seed": self.seed, "stream": self.stream, "offset": self.offset}

    def set_state(self, state: dict[str, int]) -> None:
        """Continue where :meth:`get_state` was called.

        Raises:
            ValueError: when a number is missing or out of range; the generator is then unchanged.
        """
        names = ("seed", "stream", "offset")
        if not isinstance(state, dict) or any(
            not isinstance(state.get(n), int) or not 0 <= state[n] <= _MASK for n in names
        ):
            raise ValueError(f"expected the integers seed, stream and offset, got {state!r}")
        self.seed, self.stream, self.offset = (state[n] for n in names)

    def __repr__(self) -> str:
        return f"Generator(seed={self.seed}, stream={self.stream}, offset={self.offset})"


default_generator = Generator(0)


def manual_seed(seed: int) -> Generator:
    """Seed the default generator, from which calls without ``generator=`` draw; returns it."""
    return default_generator.manual_seed(seed)


def philox_u64(seed: int, stream: int, offset: int, n: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """n uniform 64-bit integers; element i depends only on seed, stream and offset + i."""
    if n < 0:
        raise ValueError(f"philox_u64: n must not be negative, got {n}")
    out = np.empty(n, dtype=np.uint64)
    lib.tt_philox_u64(
        int(seed) & _MASK,
        int(stream) & _MASK,
        int(offset) & _MASK,
        n,
        ffi.from_buffer("uint64_t[]", out),
    )
    return out
