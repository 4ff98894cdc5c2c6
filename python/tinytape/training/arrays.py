"""Named arrays as safetensors files, compared and checked with care."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from ..tensor import Tensor
from .errors import CheckpointError

Array = np.ndarray | Tensor


def pack_arrays(arrays: Mapping[str, Array]) -> bytes:
    """A safetensors file whose bytes depend on the content alone.

    Raises:
        TypeError: an array of a dtype that the format does not have.
    """
    dense = {name: _dense(array) for name, array in arrays.items()}
    for name, array in dense.items():
        if array.dtype.kind not in "biuf":
            raise TypeError(f"{name}: safetensors has no code for {array.dtype}")
    # One entry only: the library writes several in an order that differs between processes.
    return safetensors.numpy.save(dense, metadata={"format": "tinytape"})


def unpack_arrays(data: bytes, source: Path) -> dict[str, np.ndarray]:
    """The arrays in a safetensors file; ``source`` is for the message.

    Raises:
        CheckpointError: these are not the bytes of such a file.
    """
    try:
        arrays = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, ArithmeticError, LookupError, TypeError,
            ValueError) as error:  # fmt: skip
        raise CheckpointError(f"{source}: not a safetensors file ({error})") from error
    for name, array in arrays.items():
        if array.dtype == np.bool_ and (array.view(np.uint8) > 1).any():
            raise CheckpointError(f"{source}: {name} holds bytes that are neither true nor false")
    return arrays


def require_finite(arrays: Mapping[str, Array], source: Path) -> None:
    """Raise CheckpointError when a floating-point array holds an inf or nan."""
    for name, array in arrays.items():
        if not is_finite(array):
            raise CheckpointError(f"{source}: {name} holds values that are not finite")


def require_same_arrays(
    found: Mapping[str, Array], expected: Mapping[str, Array], source: Path
) -> None:
    """Raise CheckpointError unless names, shapes and dtypes are those expected."""
    missing = sorted(set(expected) - set(found))
    extra = sorted(set(found) - set(expected))
    if missing or extra:
        raise CheckpointError(
            f"{source}: not of this model; missing: {', '.join(missing) or 'none'}; "
            f"not expected: {', '.join(extra) or 'none'}"
        )
    for name in expected:
        have, want = _spec(found[name]), _spec(expected[name])
        if have != want:
            raise CheckpointError(
                f"{source}: {name} is {have[0]} of shape {have[1]}, "
                f"expected {want[0]} of shape {want[1]}"
            )


def is_finite(array: Array) -> bool:
    values = as_numpy(array)
    return values.dtype.kind != "f" or bool(np.isfinite(values).all())


def as_numpy(array: Array) -> np.ndarray:
    return array.numpy() if isinstance(array, Tensor) else array


def _dense(array: Array) -> np.ndarray:
    """In C order and native bytes: a writer that looks at the memory alone then sees the values."""
    values = np.asarray(as_numpy(array), order="C")
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _spec(array: Array) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """dtype and shape, without a copy of the values."""
    dtype = array.dtype.numpy if isinstance(array, Tensor) else array.dtype
    return dtype, tuple(array.shape)
