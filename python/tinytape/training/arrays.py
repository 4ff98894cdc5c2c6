"""Named arrays: written to and read from safetensors files one at a time, compared and checked.

A file that is written here is one that the reader accepts. Beside the arrays themselves a file
takes memory for one array only.

>>> import numpy as np
>>> from pathlib import Path
>>> from tinytape.training.arrays import pack_arrays, unpack_arrays
>>> data = pack_arrays({"weight": np.ones((2, 3), np.float32)})
>>> unpack_arrays(data, Path("model.safetensors"))["weight"].shape
(2, 3)
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..tensor import Tensor
from .errors import CheckpointError
from .safetensors_format import PREFIX, Header, header_length, lay_out, parse_header, shown

Array = np.ndarray | Tensor
_FORMAT = {"format": "tinytape"}
_BLOCK = 1 << 18  # values looked at at a time, and bytes read


class NotFiniteError(CheckpointError):
    """An array holds a value that is not finite; ``name`` is the array's."""

    def __init__(self, name: str, source: Path) -> None:
        super().__init__(f"{source}: {shown(name)} holds values that are not finite")
        self.name = name


def array_file(
    arrays: Mapping[str, Array], source: Path, metadata: Mapping[str, str] = _FORMAT
) -> tuple[Header, Iterator[bytes | memoryview]]:
    """A safetensors file whose bytes depend on the content alone: its header, and all of it.

    Args:
        source: the file to be, for messages.
        metadata: texts by name.

    Raises:
        CheckpointError: a name or dtype that the format does not have.
    """
    try:
        start, header = lay_out({name: spec_of(array) for name, array in arrays.items()}, metadata)
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from error
    return header, _pieces(start, header, arrays)


def _pieces(
    start: bytes, header: Header, arrays: Mapping[str, Array]
) -> Iterator[bytes | memoryview]:
    yield start
    for entry in header.arrays:
        # In C order and little-endian, unlike perhaps in memory.
        little = entry.dtype.newbyteorder("<")
        values = np.asarray(as_numpy(arrays[entry.name]), dtype=little, order="C").reshape(-1)
        yield memoryview(values.view(np.uint8))  # type: ignore[arg-type]


def pack_arrays(arrays: Mapping[str, Array]) -> bytes:
    """Such a file as bytes."""
    return b"".join(array_file(arrays, Path("arrays"))[1])


def read_header(file: BinaryIO, size: int, source: Path) -> tuple[bytes, Header]:
    """The beginning of a safetensors file of ``size`` bytes, up to the first value, and its header.

    ``source`` is for the message.

    Raises:
        CheckpointError: this is no such file.
    """
    prefix = file.read(PREFIX)
    text = file.read(header_length(prefix, size, source))
    return prefix + text, parse_header(text, size - PREFIX - len(text), source)


def read_values(
    file: BinaryIO, header: Header, source: Path, note: Callable[[memoryview], object]
) -> dict[str, np.ndarray]:
    """The arrays that follow a header; ``note`` is called with all bytes.

    Raises:
        CheckpointError: the file ends too early, or a value is not finite (NotFiniteError) or no
            truth value.
    """
    arrays = {}
    for entry in header.arrays:
        values = np.empty(math.prod(entry.shape), entry.dtype.newbyteorder("<"))
        rest = memoryview(values.view(np.uint8))  # type: ignore[arg-type]
        while rest:
            got = file.readinto(rest[: 8 * _BLOCK])  # type: ignore[attr-defined]
            if not got:
                raise CheckpointError(f"{source}: cut short, in {shown(entry.name)}")
            note(rest[:got])
            rest = rest[got:]
        if entry.dtype == np.bool_ and (values.view(np.uint8) > 1).any():
            raise CheckpointError(
                f"{source}: {shown(entry.name)} holds bytes that are neither true nor false"
            )
        if not is_finite(values):
            raise NotFiniteError(entry.name, source)
        arrays[entry.name] = values.astype(entry.dtype, copy=False).reshape(entry.shape)
    return arrays


def unpack_arrays(data: bytes, source: Path) -> dict[str, np.ndarray]:
    """The arrays in the bytes of a file.

    Raises:
        CheckpointError: this is no such file, or a value is not finite.
    """
    file = io.BytesIO(data)
    _, header = read_header(file, len(data), source)
    return read_values(file, header, source, lambda _: None)


def require_finite(arrays: Mapping[str, Array], source: Path) -> None:
    """Check that floating-point arrays hold no inf or nan.

    Raises:
        NotFiniteError: one does.
    """
    for name, array in arrays.items():
        if not is_finite(array):
            raise NotFiniteError(name, source)


def require_same_arrays(
    found: Mapping[str, Array], expected: Mapping[str, Array], source: Path
) -> None:
    """Check that names, shapes and dtypes are those expected.

    Raises:
        CheckpointError: they are not; the message names all that differs.
    """
    missing = sorted(set(expected) - set(found))
    extra = sorted(set(found) - set(expected))
    if missing or extra:
        raise CheckpointError(
            f"{source}: not of this model; missing: {', '.join(missing) or 'none'}; "
            f"not expected: {', '.join(extra) or 'none'}"
        )
    for name in expected:
        have, want = spec_of(found[name]), spec_of(expected[name])
        if have != want:
            raise CheckpointError(
                f"{source}: {name} is {have[0]} of shape {have[1]}, "
                f"expected {want[0]} of shape {want[1]}"
            )


def is_finite(array: Array) -> bool:
    """Whether all values are finite; integers and bools are."""
    values = as_numpy(array).reshape(-1)
    return values.dtype.kind != "f" or all(
        np.isfinite(values[at : at + _BLOCK]).all() for at in range(0, values.size, _BLOCK)
    )


def as_numpy(array: Array) -> np.ndarray:
    """The values as a numpy array; of a tensor a copy."""
    return array.numpy() if isinstance(array, Tensor) else array


def spec_of(array: Array) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """dtype and shape, without a copy of the values."""
    dtype = array.dtype.numpy if isinstance(array, Tensor) else array.dtype
    return dtype, tuple(array.shape)
