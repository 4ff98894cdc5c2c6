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
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._files import TEMPORARY_PREFIX, publish_folder
from .arrays import Array, pack_arrays, require_finite, unpack_arrays
from .errors import CheckpointError

FORMAT = "tinytape-checkpoint"
VERSION = 1
MANIFEST = "MANIFEST.json"
_PARTS = ("model.safetensors", "train_state.safetensors", "state.json", "config.json", "env.json")
_STEP_FOLDER = re.compile(r"step-(\d{8,})")


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
    folder.mkdir(parents=True, exist_ok=True)
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
    state = unpack_json(files["state.json"], path / "state.json")
    checkpoint = Checkpoint(
        path=path,
        step=state.get("step", -1),
        model=unpack_arrays(files["model.safetensors"], path / "model.safetensors"),
        arrays=unpack_arrays(files["train_state.safetensors"], path / "train_state.safetensors"),
        state=state,
        config=unpack_json(files["config.json"], path / "config.json"),
        env=unpack_json(files["env.json"], path / "env.json"),
    )
    if checkpoint.step != step_of(path):
        raise CheckpointError(f"{path}: state.json is of step {checkpoint.step}")
    require_finite(checkpoint.model, path / "model.safetensors")
    require_finite(checkpoint.arrays, path / "train_state.safetensors")
    return checkpoint


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoint folders in ``folder``, newest step first; not verified."""
    if not folder.is_dir():
        return []
    return sorted(
        (p for p in folder.iterdir() if _STEP_FOLDER.fullmatch(p.name) and p.is_dir()),
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
            remove_checkpoint(path)
        else:
            try:
                verify_checkpoint(path)
                good += 1
            except CheckpointError:
                pass


def copy_checkpoint(path: Path, folder: Path) -> Path:
    """Copy one checkpoint into another folder, all of it or nothing; returns the copy's path."""
    folder.mkdir(parents=True, exist_ok=True)
    publish_folder(folder / path.name, {p.name: _read(p) for p in path.iterdir()})
    return folder / path.name


def remove_checkpoint(path: Path) -> None:
    """Remove one checkpoint, all of it or nothing."""
    # Renamed first: a kill in the middle must not leave half a checkpoint.
    doomed = path.with_name(f"{TEMPORARY_PREFIX}{path.name}")
    path.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def is_checkpoint(path: Path) -> bool:
    """Whether the folder's name is that of a checkpoint."""
    return _STEP_FOLDER.fullmatch(path.name) is not None


def verify_checkpoint(path: Path) -> None:
    """Compare every file with the manifest, in little memory; CheckpointError says what differs."""
    for name, expected in _read_manifest(path).items():
        try:
            with open(path / name, "rb") as file:
                found = _entry(iter(functools.partial(file.read, 1 << 16), b""))
        except OSError as error:
            raise CheckpointError(f"cannot read {path / name}: {error.strerror}") from error
        _compare(path / name, found, expected)


def step_of(path: Path) -> int:
    """The step that a checkpoint folder's name says."""
    match = _STEP_FOLDER.fullmatch(path.name)
    if match is None:
        raise CheckpointError(
            f"{path}: not a checkpoint folder (expected a name like step-00005000)"
        )
    return int(match[1])


def pack_json(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def unpack_json(data: bytes, source: Path) -> dict[str, Any]:
    """A JSON object; ``source`` is for the message."""
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{source}: not JSON ({error})") from error
    if not isinstance(record, dict):
        raise CheckpointError(f"{source}: expected a JSON object")
    return record


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
        data = files[name] = _read(path / name)
        _compare(path / name, _entry([data]), expected)
    return files


def _read_manifest(path: Path) -> dict[str, Any]:
    """The manifest's entries by file name."""
    manifest = unpack_json(_read(path / MANIFEST), path / MANIFEST)
    if manifest.get("format") != FORMAT or manifest.get("version") != VERSION:
        raise CheckpointError(
            f"{path / MANIFEST}: format {manifest.get('format')!r} version "
            f"{manifest.get('version')!r}, expected {FORMAT!r} version {VERSION}"
        )
    listed = manifest.get("files")
    if not isinstance(listed, dict) or set(listed) != set(_PARTS):
        raise CheckpointError(f"{path / MANIFEST}: expected entries for {', '.join(_PARTS)}")
    return listed


def _compare(path: Path, found: dict[str, Any], expected: Any) -> None:
    if not isinstance(expected, dict) or found["bytes"] != expected.get("bytes"):
        size = expected.get("bytes") if isinstance(expected, dict) else expected
        raise CheckpointError(f"{path}: {found['bytes']} bytes, expected {size}")
    if found["sha256"] != expected.get("sha256"):
        raise CheckpointError(f"{path}: damaged (its SHA-256 is not the manifest's)")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
