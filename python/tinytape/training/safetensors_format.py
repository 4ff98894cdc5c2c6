"""The header of a safetensors file: the place of each array; one form is written, all are checked.

A file is eight bytes, little-endian, with the length of a header; the header, which is JSON with
name, dtype, shape and place of each array; and the values, little-endian, in C order, without gaps.
https://github.com/huggingface/safetensors has the format. Arrays of larger elements come first, so
that all are aligned, and the header ends with spaces for the same reason: byte for byte as that
library writes it, except that metadata is sorted.

>>> import numpy as np
>>> from tinytape.training.safetensors_format import lay_out
>>> prefix, header = lay_out({"weight": (np.dtype("float32"), (2, 3))}, {})
>>> header.arrays[0].bytes, header.values
(24, 6)
"""

from __future__ import annotations

import json
import math
import reprlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._json import parse
from .errors import CheckpointError
from .json_records import RECORD_LIMIT

# By code. In a file they come in this order; numpy has no bfloat16 and no type of 8 bits or less.
DTYPES: dict[str, np.dtype[Any]] = {
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "F16": np.dtype("<f2"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_PLACES = list(DTYPES)
_LENGTH = struct.Struct("<Q")
PREFIX = _LENGTH.size
_ALIGNMENT = 8
_METADATA = "__metadata__"
_AXES = 32  # numpy's own limit in its older versions
_ADDRESSES = 1 << 62  # more bytes than any array has


@dataclass(frozen=True)
class Entry:
    """An array in a file."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    bytes: int


@dataclass(frozen=True)
class Header:
    """The arrays of a file in the order in which they lie there, and its metadata."""

    arrays: tuple[Entry, ...]
    metadata: Mapping[str, str]

    @property
    def values(self) -> int:
        """The number of values of all arrays."""
        return sum(math.prod(entry.shape) for entry in self.arrays)


def lay_out(
    specs: Mapping[str, tuple[np.dtype[Any], Sequence[int]]], metadata: Mapping[str, str]
) -> tuple[bytes, Header]:
    """The beginning of a file with such arrays, up to the first value, and its header.

    Raises:
        CheckpointError: something that :func:`read_header` would refuse.
    """
    entries = []
    for name, (dtype, shape) in specs.items():
        code = _code_of(dtype)
        if code is None:
            raise CheckpointError(f"{shown(name)}: safetensors has no code for {dtype}")
        if not isinstance(name, str) or name == _METADATA:
            raise CheckpointError(f"{shown(name)} cannot be the name of an array")
        entries.append((_PLACES.index(code), name, code, [int(n) for n in shape]))
    record: dict[str, Any] = {_METADATA: dict(sorted(metadata.items()))}
    begin = 0
    for _, name, code, shape in sorted(entries):
        end = begin + math.prod(shape) * DTYPES[code].itemsize
        record[name] = {"dtype": code, "shape": shape, "data_offsets": [begin, end]}
        begin = end
    try:
        text = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        raise CheckpointError(f"a name that is no text: {shown(error.object)}") from error
    text += b" " * (-len(text) % _ALIGNMENT)
    return _LENGTH.pack(len(text)) + text, parse_header(text, begin, Path("the new file"))


def header_length(prefix: bytes, size: int, source: Path) -> int:
    """The length of the header, of a file of ``size`` bytes that begins with ``prefix``.

    Raises:
        CheckpointError: there can be no such header.
    """
    if len(prefix) < PREFIX:
        raise CheckpointError(f"{source}: not a safetensors file ({size} bytes are too few)")
    length: int = _LENGTH.unpack(prefix)[0]
    if length > min(size - PREFIX, RECORD_LIMIT):
        raise CheckpointError(
            f"{source}: not a safetensors file (a header of {length} bytes in a file of {size}, "
            f"expected at most {RECORD_LIMIT})"
        )
    return length


def parse_header(text: bytes, size: int, source: Path) -> Header:
    """The content of a header, compared with the ``size`` bytes that follow it.

    Raises:
        CheckpointError: it is not JSON, it says something else than it should, or its arrays do
            not fill the rest of the file one after the other.
    """

    def refuse(words: str) -> CheckpointError:
        return CheckpointError(f"{source}: not a safetensors file ({words})")

    try:
        record = parse(text, RECORD_LIMIT)
    except ValueError as error:
        raise refuse(f"header: {error}") from error
    if not isinstance(record, dict):
        raise refuse("header: expected a JSON object")
    metadata = record.pop(_METADATA, {})
    if not (
        isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
    ):
        raise refuse(f"{_METADATA}: expected texts, got {reprlib.repr(metadata)}")
    found = []
    for name, entry in record.items():
        try:
            found.append(_entry(name, entry))
        except ValueError as error:
            raise refuse(f"{shown(name)}: {error}") from None
    found.sort(key=lambda pair: (pair[0], pair[0] + pair[1].bytes))
    at = 0
    for begin, array in found:
        if begin != at:
            kind = "overlaps the array before it" if begin < at else "begins after a gap"
            raise refuse(f"{shown(array.name)} at {begin} {kind}, expected at {at}")
        at += array.bytes
    if at != size:
        raise refuse(f"arrays of {at} bytes, but {size} follow the header")
    return Header(tuple(array for _, array in found), metadata)


def _entry(name: str, entry: Any) -> tuple[int, Entry]:
    """The place of an array and its description; ValueError for a wrong one."""
    keys = {"dtype", "shape", "data_offsets"}
    if not isinstance(entry, dict) or entry.keys() != keys:
        raise ValueError(f"expected dtype, shape and data_offsets, got {reprlib.repr(entry)}")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    dtype = DTYPES.get(code) if isinstance(code, str) else None
    if dtype is None:
        raise ValueError(f"dtype {reprlib.repr(code)}, expected one of {', '.join(DTYPES)}")
    for what, numbers in (("shape", shape), ("data_offsets", offsets)):
        if not isinstance(numbers, list) or not all(type(n) is int and n >= 0 for n in numbers):
            raise ValueError(f"{what} {reprlib.repr(numbers)}, expected whole numbers from 0 on")
    # Also an empty array has a shape that numpy can take: its sizes besides 0.
    if len(shape) > _AXES or math.prod(n or 1 for n in shape) * dtype.itemsize > _ADDRESSES:
        raise ValueError(f"shape {reprlib.repr(shape)} is larger than any array")
    count = math.prod(shape) * dtype.itemsize
    if len(offsets) != 2 or offsets[1] - offsets[0] != count:
        raise ValueError(f"data_offsets {reprlib.repr(offsets)} for {count} bytes of {code}{shape}")
    return offsets[0], Entry(name, dtype.newbyteorder("="), tuple(shape), count)


def _code_of(dtype: np.dtype[Any]) -> str | None:
    wanted = np.dtype(dtype).newbyteorder("<")
    return next((code for code, known in DTYPES.items() if known == wanted), None)


def shown(name: Any) -> str:
    """The name of an array for a message, of whatever type it is."""
    return reprlib.repr(name) if not isinstance(name, str) or not name.isprintable() else name[:200]
