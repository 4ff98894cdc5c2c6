"""Named arrays as a safetensors file: written piece by piece, read and compared with care.

The layout (https://github.com/huggingface/safetensors): 8 bytes, little-endian, with the length of
the header; the header, JSON from name to dtype, shape and place; the values one after another.

Reading is left to the ``safetensors`` library, which bounds-checks hostile files. Writing is done
here, because its writer copies everything twice, orders metadata differently in every process, and
in version 0.8.0 silently writes wrong values for arrays that are not contiguous.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from ..tensor import Tensor
from .errors import CheckpointError

_CODES = {"bool": "BOOL", "uint8": "U8", "int32": "I32", "int64": "I64", "uint64": "U64",
          "float32": "F32", "float64": "F64"}  # fmt: skip

Array = np.ndarray | Tensor


def pack_arrays(arrays: Mapping[str, Array]) -> Iterator[bytes]:
    """Yield a safetensors file that depends on the content alone; one array is copied at a time.

    Raises:
        TypeError: an array of a dtype that the format does not have.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "tinytape"}}
    place = 0
    specs = {name: _spec(array) for name, array in arrays.items()}
    # Wide values first keeps every array aligned, as the library's own writer does.
    names = sorted(specs, key=lambda name: (-specs[name][0].itemsize, name))
    for name in names:
        dtype, shape = specs[name]
        if dtype.name not in _CODES:
            raise TypeError(f"{name}: safetensors has no code for {dtype}")
        size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        header[name] = {
            "dtype": _CODES[dtype.name],
            "shape": list(shape),
            "data_offsets": [place, place + size],
        }
        place += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for name in names:
        array = as_numpy(arrays[name])
        yield array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()  # in C order


def unpack_arrays(data: bytes, source: Path) -> dict[str, np.ndarray]:
    """The arrays in a safetensors file; ``source`` is for the message.

    Raises:
        CheckpointError: these are not the bytes of such a file.
    """
    try:
        return safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{source}: not a safetensors file ({error})") from error


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


def _spec(array: Array) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """dtype and shape, without a copy of the values."""
    dtype = array.dtype.numpy if isinstance(array, Tensor) else array.dtype
    return dtype, tuple(array.shape)
