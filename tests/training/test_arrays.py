"""The safetensors format: the library reads what is written here, and its files are read here."""

from __future__ import annotations

import json
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

import tinytape as tt
from tinytape._files import write_file
from tinytape.training.arrays import array_file, pack_arrays, read_header, unpack_arrays
from tinytape.training.errors import CheckpointError
from tinytape.training.safetensors_format import DTYPES

HERE = Path("x.safetensors")
NAMES = st.text(max_size=8).filter(lambda name: name != "__metadata__")
VALUES = st.sampled_from(list(DTYPES.values())).flatmap(
    lambda dtype: arrays_of.arrays(
        dtype,
        arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3),
        elements={"allow_nan": False, "allow_infinity": False} if dtype.kind == "f" else None,
    )
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=6))
def test_both_libraries_write_the_same_bytes_and_read_them(arrays: dict[str, np.ndarray]) -> None:
    ours = pack_arrays(arrays)
    theirs = safetensors.numpy.save(arrays, metadata={"format": "tinytape"})
    assert ours == theirs
    for back in (safetensors.numpy.load(ours), unpack_arrays(theirs, HERE)):
        assert back.keys() == arrays.keys()
        for name, array in arrays.items():
            assert back[name].dtype == array.dtype and back[name].shape == array.shape
            assert back[name].tobytes() == array.tobytes()


def test_a_file_of_another_writer_is_read() -> None:
    """Without metadata, in another order, without padding."""
    header = {
        "b": {"shape": [2], "data_offsets": [1, 9], "dtype": "F32"},
        "a": {"dtype": "U8", "shape": [], "data_offsets": [0, 1]},
    }
    values = b"\x07" + np.array([1.5, -2.0], "<f4").tobytes()
    back = unpack_arrays(with_header(header, values), HERE)
    assert back["a"] == 7 and back["a"].shape == () and back["b"].tolist() == [1.5, -2.0]
    assert back["b"].flags.writeable and back["b"].flags.aligned


def with_header(header: Any, values: bytes = b"") -> bytes:
    data = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(data)) + data + values


def entry(**changes: Any) -> dict[str, Any]:
    return {"w": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2], **changes}}


BIG = 10**30
REFUSED: list[tuple[Any, bytes, str]] = [
    (b"", b"", "Expecting value"),
    (b"[]", b"", "expected a JSON object"),
    (b'{"w": 1, "w": 2}', b"", "the key 'w' is given twice"),
    (b"\xff", b"", "utf-8"),
    ({"w": None}, b"", "w: expected dtype, shape and data_offsets, got None"),
    (entry(more=1), b"12", "w: expected dtype, shape and data_offsets"),
    (entry(dtype="BF16", shape=[1]), b"12", "w: dtype 'BF16', expected one of U64"),
    (entry(dtype=[]), b"12", r"w: dtype \[\]"),
    (entry(shape=2), b"12", "w: shape 2, expected whole numbers"),
    (entry(shape=[-2]), b"12", r"w: shape \[-2\]"),
    (entry(shape=[2.0]), b"12", r"w: shape \[2.0\]"),
    (entry(shape=[True, 2]), b"12", r"w: shape \[True, 2\]"),
    (entry(shape=[2**62, 2**62, 0], data_offsets=[0, 0]), b"", "larger than any array"),
    (entry(shape=[1] * 33, data_offsets=[0, 1]), b"1", "larger than any array"),
    (entry(data_offsets=[0]), b"12", r"w: data_offsets \[0\]"),
    (entry(data_offsets=[2, 0]), b"12", r"w: data_offsets \[2, 0\]"),
    (entry(data_offsets=[0, "2"]), b"12", "w: data_offsets"),
    (entry(data_offsets=[0, 3]), b"123", "for 2 bytes of U8"),
    (entry(data_offsets=[1, 3]), b"123", "w at 1 begins after a gap, expected at 0"),
    (entry(), b"123", "arrays of 2 bytes, but 3 follow"),
    (entry(), b"1", "arrays of 2 bytes, but 1 follow"),
    ({**entry(), "v": entry()["w"]}, b"12", "at 0 overlaps the array before it"),
    ({"__metadata__": {"a": 1}}, b"", "__metadata__: expected texts"),
    ({"__metadata__": []}, b"", "__metadata__: expected texts"),
    (entry(dtype="BOOL"), b"\1\2", "w holds bytes that are neither true nor false"),
    (entry(dtype="F16", shape=[1]), b"\x00\x7c", "w holds values that are not finite"),
    ({"\x1b[2J": None}, b"", r"'\\x1b\[2J': expected dtype"),
]


@pytest.mark.parametrize(("header", "values", "words"), REFUSED)
def test_a_header_that_is_wrong_is_named(header: Any, values: bytes, words: str) -> None:
    with pytest.raises(CheckpointError, match=words) as error:
        unpack_arrays(with_header(header, values), HERE)
    assert str(HERE) in str(error.value) and len(str(error.value)) < 400


@pytest.mark.parametrize(
    "data", [b"", b"1234567", struct.pack("<Q", 2**63) + b"{}", struct.pack("<Q", 3) + b"{}"]
)
def test_a_file_that_ends_in_its_header(data: bytes) -> None:
    with pytest.raises(CheckpointError, match=f"{HERE}: not a safetensors file"):
        unpack_arrays(data, HERE)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"w": np.zeros(1, complex)}, "w: safetensors has no code for complex128"),
        ({"w": np.array(["text"])}, "w: safetensors has no code for <U4"),
        ({"w": np.array([None])}, "w: safetensors has no code for object"),
        ({"__metadata__": np.zeros(1)}, "__metadata__ cannot be the name of an array"),
        ({7: np.zeros(1)}, "7 cannot be the name"),
        ({"\ud800": np.zeros(1)}, "a name that is no text"),
        (
            {"w": np.zeros((1,) * 33, "i1")}
            if np.lib.NumpyVersion(np.__version__) >= "2.0.0"
            else {"w": np.zeros(1, complex)},
            "w: ",
        ),
    ],
)
def test_what_no_reader_would_take_is_not_written(arrays: Any, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        array_file(arrays, HERE)


def test_one_array_at_a_time_is_in_memory(tmp_path: Path) -> None:
    """Sixteen tensors of 1 MiB each; a second copy of all would be 16 MiB."""
    mebibyte = 1 << 20
    tensors = {f"w{i}": tt.full((mebibyte // 4,), float(i)) for i in range(16)}
    path = tmp_path / "w.safetensors"
    tracemalloc.start()
    try:
        write_file(path, array_file(tensors, path)[1])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * mebibyte
    back = unpack_arrays(path.read_bytes(), path)
    assert all((back[f"w{i}"] == i).all() for i in range(16))


def test_the_header_is_read_before_any_value(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    size = 1 << 33
    start = with_header({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}})
    path.write_bytes(start)
    with open(path, "r+b") as file:
        file.truncate(len(start) + size)  # holes: 8 GiB that take no room
        _, header = read_header(file, len(start) + size, path)
    assert header.values == size
