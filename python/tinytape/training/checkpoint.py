"""Checkpoints: one folder per step that is either whole and verified, or not there.

    checkpoints/step-00005000/
        model.safetensors        the weights, by parameter name
        train_state.safetensors  the arrays of the training state (Adam's m and v, ...)
        state.json               its numbers: step, optimiser, schedule, generators, data, best loss
        config.json              the resolved configuration of the run
        env.json                 versions, BLAS, SIMD level
        MANIFEST.json            size and SHA-256 of each of the above, written last

The folder is written under a temporary name, synced, renamed, and its parent synced. Reading goes
the other way: the manifest first, every byte against it, and only then the content. Nothing is
unpickled or executed. A folder is judged by what it holds, never by a pointer file beside it.

docs/checkpoint-format.md has every key, and what a reader must accept and refuse.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._files import discard_folder, make_folder, open_regular, publish_folder, read_file
from .arrays import Array, pack_arrays, require_finite, unpack_arrays
from .errors import CheckpointError
from .json_records import MEBIBYTE, RECORD_LIMIT
from .json_records import pack_json as pack_json
from .json_records import unpack_json as unpack_json
from .record_types import CONFIG, COUNT, ENVIRONMENT, STATE, Kind, require_types

FORMAT = "tinytape-checkpoint"
VERSION = 1
MANIFEST = "MANIFEST.json"
_PARTS = ("model.safetensors", "train_state.safetensors", "state.json", "config.json", "env.json")
_STEP_FOLDER = re.compile(r"step-([0-9]{8,})")
_MANIFEST_LIMIT = MEBIBYTE  # ours have less than one thousandth of it
_ENTRY = {
    "bytes": COUNT,
    "sha256": Kind("a SHA-256 in hexadecimal", lambda v: _is_digest(v)),
}


@dataclass(frozen=True)
class Checkpoint:
    """The content of one verified checkpoint folder."""

    path: Path
    step: int
    model: dict[str, np.ndarray]
    arrays: dict[str, np.ndarray]
    state: dict[str, Any]
    config: dict[str, Any]
    env: dict[str, Any]


def save_checkpoint(
    folder: Path,
    step: int,
    *,
    model: Mapping[str, Array],
    arrays: Mapping[str, Array],
    state: Mapping[str, Any],
    config: Mapping[str, Any],
    env: Mapping[str, Any],
) -> Path:
    """Write ``folder/step-XXXXXXXX`` and return its path.

    Raises:
        OSError: the disk is full or fails; what was there before is untouched.
    """
    make_folder(folder)
    files = {
        "model.safetensors": pack_arrays(model),
        "train_state.safetensors": pack_arrays(arrays),
        "state.json": pack_json({**state, "step": step}),
        "config.json": pack_json(config),
        "env.json": pack_json(env),
    }
    listed = {name: _entry([content]) for name, content in files.items()}
    manifest = {"format": FORMAT, "version": VERSION, "step": step, "files": listed}
    path = folder / f"step-{step:08d}"
    publish_folder(path, {**files, MANIFEST: pack_json(manifest)})
    return path


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint folder, every byte checked.

    Raises:
        CheckpointError: a missing file, a wrong size or digest, an unknown version, or a value
            that is not finite; the message names the file and what was expected.
    """
    files = _read_verified(path)
    records = {}
    for name, expected in (
        ("state.json", STATE), ("config.json", CONFIG), ("env.json", ENVIRONMENT),
    ):  # fmt: skip
        records[name] = unpack_json(files[name], path / name)
        require_types(records[name], expected, path / name)
    state = records["state.json"]
    step = step_of(path)
    if state.get("step") != step:
        raise CheckpointError(
            f"{path / 'state.json'}: of step {state.get('step')}, expected {step}"
        )
    arrays = {}
    for name in ("model.safetensors", "train_state.safetensors"):
        arrays[name] = unpack_arrays(files[name], path / name)
        require_finite(arrays[name], path / name)
    return Checkpoint(
        path=path,
        step=step,
        model=arrays["model.safetensors"],
        arrays=arrays["train_state.safetensors"],
        state=state,
        config=records["config.json"],
        env=records["env.json"],
    )


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoint folders in ``folder``, newest step first; not verified."""
    if not folder.is_dir():
        return []
    return sorted(
        (p for p in folder.iterdir() if is_checkpoint_name(p) and p.is_dir()),
        key=step_of,
        reverse=True,
    )


def latest_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest checkpoint that verifies, and why each newer one was skipped."""
    problems: list[str] = []
    for path in list_checkpoints(folder):
        try:
            return load_checkpoint(path), problems
        except CheckpointError as error:
            problems.append(str(error))
    return None, problems


def prune_checkpoints(folder: Path, keep: int) -> None:
    """Remove the checkpoints older than the newest ``keep`` that verify.

    Damaged ones do not count, so the last good one is never removed to make room for them.
    """
    good = 0
    for path in list_checkpoints(folder):
        if good >= keep:
            discard_folder(path)
        else:
            try:
                verify_checkpoint(path)
                good += 1
            except CheckpointError:
                pass


def copy_checkpoint(path: Path, folder: Path) -> Path:
    """Copy one checkpoint that verifies into another folder, all of it or nothing."""
    make_folder(folder)
    manifest = {MANIFEST: _read(path / MANIFEST, _MANIFEST_LIMIT)}
    publish_folder(folder / path.name, {**_read_verified(path), **manifest})
    return folder / path.name


def verify_checkpoint(path: Path) -> None:
    """Compare every file with the manifest, in little memory; CheckpointError says what differs."""
    for name, expected in _read_manifest(path).items():
        try:
            with open_regular(path / name) as file:
                _compare_size(path / name, os.fstat(file.fileno()).st_size, expected)
                found = _entry(iter(functools.partial(file.read, 1 << 16), b""))
        except OSError as error:
            raise CheckpointError(_unreadable(path / name, error)) from error
        _compare(path / name, found, expected)


def is_checkpoint_name(path: Path) -> bool:
    """Whether a folder is called as checkpoints are."""
    return _STEP_FOLDER.fullmatch(path.name) is not None


def step_of(path: Path) -> int:
    """The step that a checkpoint folder's name says."""
    match = _STEP_FOLDER.fullmatch(path.name)
    if match is None:
        raise CheckpointError(
            f"{path}: not a checkpoint folder (expected a name like step-00005000)"
        )
    return int(match[1])


def _entry(pieces: Iterable[bytes]) -> dict[str, Any]:
    """What the manifest says about a file, given piece by piece."""
    sha256, size = hashlib.sha256(), 0
    for piece in pieces:
        sha256.update(piece)
        size += len(piece)
    return {"bytes": size, "sha256": sha256.hexdigest()}


def _read_verified(path: Path) -> dict[str, bytes]:
    """The bytes of every file, after comparing them with the manifest."""
    files = {}
    for name, expected in _read_manifest(path).items():
        if name.endswith(".json") and expected["bytes"] > RECORD_LIMIT:
            raise CheckpointError(
                f"{path / name}: {expected['bytes']} bytes, expected at most {RECORD_LIMIT}"
            )
        # Never more than the manifest says, whatever is there.
        data = files[name] = _read(path / name, expected["bytes"])
        _compare(path / name, _entry([data]), expected)
    return files


def _read_manifest(path: Path) -> dict[str, dict[str, Any]]:
    """The manifest's entries by file name."""
    source = path / MANIFEST
    data = _read(source, _MANIFEST_LIMIT)
    manifest = unpack_json(data, source)
    version = manifest.get("version")
    if manifest.get("format") != FORMAT or type(version) is not int or version != VERSION:
        raise CheckpointError(
            f"{source}: format {reprlib.repr(manifest.get('format'))} version "
            f"{reprlib.repr(version)}, expected {FORMAT!r} version {VERSION}"
        )
    # No digest covers this file: any change to it must show in what it says or in its form.
    if data != pack_json(manifest):
        raise CheckpointError(f"{source}: damaged (not in the form in which manifests are written)")
    step = step_of(path)
    if type(manifest.get("step")) is not int or manifest["step"] != step:
        found = reprlib.repr(manifest.get("step"))
        raise CheckpointError(f"{source}: of step {found}, expected {step}")
    listed = manifest.get("files")
    if not isinstance(listed, dict) or listed.keys() != set(_PARTS):
        raise CheckpointError(f"{source}: expected entries for {', '.join(_PARTS)}")
    for name, entry in listed.items():
        require_types(entry, _ENTRY, source, f"files.{name}")
        if not _ENTRY.keys() <= entry.keys():
            raise CheckpointError(f"{source}: files.{name}: expected bytes and sha256")
    return listed


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _compare(path: Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
    _compare_size(path, found["bytes"], expected)
    if found["sha256"] != expected["sha256"]:
        raise CheckpointError(f"{path}: damaged (its SHA-256 is not the manifest's)")


def _compare_size(path: Path, size: int, expected: dict[str, Any]) -> None:
    if size != expected["bytes"]:
        raise CheckpointError(f"{path}: {size} bytes, expected {expected['bytes']}")


def _read(path: Path, limit: int) -> bytes:
    try:
        return read_file(path, limit)
    except OSError as error:
        raise CheckpointError(_unreadable(path, error)) from error


def _unreadable(path: Path, error: OSError) -> str:
    return f"cannot read {path}: {error.strerror or error}"
