"""The manifest of a checkpoint: its files, with size and SHA-256, and whether they agree.

>>> from pathlib import Path
>>> from tinytape.training.manifest import read_manifest
>>> manifest = read_manifest(Path("runs/demo/checkpoints/step-00000002"))
>>> manifest.step, sorted(manifest.files)[:2]
(2, ['config.json', 'env.json'])
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from .._files import Content, open_regular, read_file
from ..models.spec.state_types import COUNT, Kind
from .errors import CheckpointError, ModelSizeError
from .json_records import MEBIBYTE, RECORD_LIMIT, pack_json, unpack_json
from .record_types import require_types

FORMAT = "tinytape-checkpoint"
VERSION = 2
MANIFEST = "MANIFEST.json"
WEIGHTS, TRAIN_STATE = "model.safetensors", "train_state.safetensors"
STATE, CONFIG, ENV, TOKENIZER = "state.json", "config.json", "env.json", "tokenizer.json"
_PARTS = (WEIGHTS, TRAIN_STATE, STATE, CONFIG, ENV)
_OPTIONAL = {1: (), 2: (TOKENIZER,)}  # by version; a model may have no tokenizer
STEP_FOLDER = re.compile(r"step-([0-9]{8,})")
_LIMIT = MEBIBYTE  # of a manifest; ours have less than one thousandth of it
_PIECE = 1 << 16  # bytes read at a time
_DIGEST = Kind(
    "a SHA-256 in hexadecimal",
    lambda v: isinstance(v, str) and re.fullmatch("[0-9a-f]{64}", v) is not None,
)
_ENTRY = {"bytes": COUNT, "sha256": _DIGEST}
Entry = dict[str, Any]


@dataclass(frozen=True)
class Manifest:
    """The content of a manifest: its step, and for each file its ``bytes`` and ``sha256``."""

    step: int
    files: dict[str, Entry]
    data: bytes  # of the file


class Digest:
    """Size and SHA-256 of bytes that come piece by piece."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self.size = 0

    def update(self, piece: bytes | memoryview) -> None:
        """Add a piece."""
        self._sha256.update(piece)
        self.size += len(piece)

    def entry(self) -> Entry:
        """Size and SHA-256 so far, as the manifest has them."""
        return {"bytes": self.size, "sha256": self._sha256.hexdigest()}


def with_manifest(
    files: Mapping[str, Iterable[bytes | memoryview]], step: int
) -> dict[str, Content]:
    """The files, and after them their manifest, which is made while they are written."""
    digests = {name: Digest() for name in files}

    def noted(name: str, pieces: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
        for piece in pieces:
            digests[name].update(piece)
            yield piece

    def manifest() -> Iterator[bytes]:
        entries = {name: digest.entry() for name, digest in digests.items()}
        yield pack_json({"format": FORMAT, "version": VERSION, "step": step, "files": entries})

    return {**{name: noted(name, pieces) for name, pieces in files.items()}, MANIFEST: manifest()}


def read_manifest(path: Path) -> Manifest:
    """The manifest in a checkpoint folder.

    Raises:
        CheckpointError: it is absent, damaged, of another version, or of another step than the
            folder's name. A folder with another kind of name has the step of its manifest.
    """
    source = path / MANIFEST
    try:
        data = read_file(source, _LIMIT)
    except OSError as error:
        raise CheckpointError(_unreadable(source, error)) from error
    manifest = unpack_json(data, source)
    version = manifest.get("version")
    if manifest.get("format") != FORMAT or type(version) is not int or version not in _OPTIONAL:
        raise CheckpointError(
            f"{source}: format {reprlib.repr(manifest.get('format'))} version "
            f"{reprlib.repr(version)}, expected {FORMAT!r} version {VERSION} or earlier"
        )
    # No digest covers this file: any change to it must show in its content or in its form.
    if data != pack_json(manifest):
        raise CheckpointError(f"{source}: damaged (not in the form in which manifests are written)")
    step, named = manifest.get("step"), STEP_FOLDER.fullmatch(path.name)
    require_types(step, COUNT, source, "step")
    if named is not None and int(named[1]) != step:
        raise CheckpointError(f"{source}: of step {step}, expected {int(named[1])}")
    listed = manifest.get("files")
    known = {*_PARTS, *_OPTIONAL[version]}
    if not isinstance(listed, dict) or not set(_PARTS) <= listed.keys() <= known:
        raise CheckpointError(f"{source}: expected entries for {', '.join(_PARTS)}")
    for name, entry in listed.items():
        require_types(entry, _ENTRY, source, f"files.{name}")
        if not _ENTRY.keys() <= entry.keys():
            raise CheckpointError(f"{source}: files.{name}: expected bytes and sha256")
    assert isinstance(step, int)
    return Manifest(step, listed, data)


def read_record(path: Path, expected: Entry, limit: int = RECORD_LIMIT) -> bytes:
    """A whole file, after comparing it with its entry; a small one.

    Raises:
        CheckpointError: it cannot be read, is too large, or differs from its entry.
    """
    if expected["bytes"] > limit:
        raise CheckpointError(f"{path}: {expected['bytes']} bytes, expected at most {limit}")
    with opened_part(path, expected) as (file, digest):
        data = file.read(expected["bytes"])
        digest.update(data)
    return data


@contextmanager
def opened_part(path: Path, expected: Entry) -> Iterator[tuple[BinaryIO, Digest]]:
    """A file to read to its end, and the digest to update with the bytes that were read.

    Raises:
        CheckpointError: it cannot be opened, or differs from its entry. An error of the reader
            in such a file is replaced by this one.
    """
    try:
        with open_regular(path) as file:
            _compare_size(path, os.fstat(file.fileno()).st_size, expected)
            digest = Digest()
            try:
                yield file, digest
            except ModelSizeError:  # of files that may be as large as they like
                raise
            except CheckpointError:
                verify_part(path, expected)
                raise
            _compare(path, digest.entry(), expected)
    except OSError as error:
        raise CheckpointError(_unreadable(path, error)) from error


def verify_part(path: Path, expected: Entry) -> None:
    """Compare a file with its entry, in little memory.

    Raises:
        CheckpointError: it differs.
    """
    for _ in verified_pieces(path, expected):
        pass


def verified_pieces(path: Path, expected: Entry) -> Iterator[bytes]:
    """A file piece by piece.

    Raises:
        CheckpointError: at its end, when it differs from its entry.
    """
    try:
        with open_regular(path) as file:
            _compare_size(path, os.fstat(file.fileno()).st_size, expected)
            digest = Digest()
            for piece in iter(functools.partial(file.read, _PIECE), b""):
                digest.update(piece)
                yield piece
                if digest.size > expected["bytes"]:  # somebody is writing to it
                    break
    except OSError as error:
        raise CheckpointError(_unreadable(path, error)) from error
    _compare(path, digest.entry(), expected)


def _compare(path: Path, found: Entry, expected: Entry) -> None:
    _compare_size(path, found["bytes"], expected)
    if found["sha256"] != expected["sha256"]:
        raise CheckpointError(f"{path}: damaged (its SHA-256 is not the manifest's)")


def _compare_size(path: Path, size: int, expected: Entry) -> None:
    if size != expected["bytes"]:
        raise CheckpointError(f"{path}: {size} bytes, expected {expected['bytes']}")


def _unreadable(path: Path, error: OSError) -> str:
    return f"cannot read {path}: {error.strerror or error}"
