"""Checkpoints: one folder per step that is either whole and verified, or not there.

    checkpoints/step-00005000/
        model.safetensors        the weights, by parameter name
        train_state.safetensors  the arrays of the training state (Adam's m and v, ...)
        state.json               its numbers: step, optimiser, schedule, generators, data, best loss
        config.json              the resolved configuration of the run
        tokenizer.json           characters and their ids
        env.json                 versions, BLAS, SIMD level
        MANIFEST.json            size and SHA-256 of each of the above, written last

The folder is written under a temporary name, synced, renamed, and its parent synced. Reading is in
the opposite order: the manifest first, every byte against it, and only then the content. Nothing is
unpickled or executed. A folder is judged by its content, never by a pointer file beside it; a run
can be resumed from it alone, wherever it was copied. Saving and loading keep the same rules: saving
refuses what loading would refuse.

docs/checkpoint-format.md has every key, and what a reader must accept and refuse.

>>> from pathlib import Path
>>> from tinytape.training.checkpoint import list_checkpoints, load_checkpoint
>>> newest = list_checkpoints(Path("runs/demo/checkpoints"))[0]
>>> newest.name, load_checkpoint(newest).step
('step-00000002', 2)
"""

from __future__ import annotations

import contextlib
import os
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._files import discard_folder, make_folder, publish_folder
from ..data import CharTokenizer, DataError
from ..errors import ArgumentError
from ..models.spec.state_types import COUNT
from . import manifest, record_types
from .arrays import Array, array_file, read_header, read_values, require_finite
from .errors import CheckpointError, UnknownModelError, memory_for
from .json_records import pack_json as pack_json
from .json_records import unpack_json as unpack_json
from .manifest import CONFIG, ENV, STATE, TOKENIZER, TRAIN_STATE, WEIGHTS
from .manifest import MANIFEST as MANIFEST
from .model_size import require_state_of, require_weights_of
from .safetensors_format import Header
from .state_tree import references

_RECORDS: dict[str, Callable[[], Any]] = {
    STATE: record_types.state_types,
    CONFIG: lambda: record_types.CONFIG,
    ENV: lambda: record_types.ENVIRONMENT,
}
# How often a reader tries again when a running training has removed the checkpoint meanwhile.
ATTEMPTS = 20


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
    tokenizer: CharTokenizer | None = None  # one of version 1 has none


def save_checkpoint(
    folder: Path,
    step: int,
    *,
    model: Mapping[str, Array],
    arrays: Mapping[str, Array],
    state: Mapping[str, Any],
    config: Mapping[str, Any],
    env: Mapping[str, Any],
    tokenizer: CharTokenizer | None = None,
) -> Path:
    """Write ``folder/step-XXXXXXXX`` and return its path.

    Arrays pass one at a time: beside them, memory for the largest is needed.

    Raises:
        CheckpointError: something that ``load_checkpoint`` would refuse. Its subclasses are
            NotFiniteError for a value that is not finite, ModelSizeError and UnknownModelError.
        OSError: the disk is full or fails.
        MemoryError: there is too little. Each of these leaves the earlier files untouched.
    """
    record_types.require_types(step, COUNT, folder, "step")
    path = folder / f"step-{step:08d}"
    with memory_for(f"saving {path}"):
        given = {STATE: {**state, "step": step}, CONFIG: config, ENV: env}
        files: dict[str, Any] = {name: [_packed(given[name], path / name)] for name in given}
        records = {name: _record(data[0], path / name) for name, data in files.items()}
        headers = {}
        for name, named in ((WEIGHTS, model), (TRAIN_STATE, arrays)):
            require_finite(named, path / name)
            headers[name], files[name] = array_file(named, path / name)
        _require_one(path, step, records)
        for name in headers:
            _require_fit(path, name, headers[name], records)
        if tokenizer is not None:
            files[TOKENIZER] = [tokenizer.to_json().encode()]
        make_folder(folder)
        publish_folder(path, manifest.with_manifest(files, step))
    return path


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint folder, every byte checked.

    Raises:
        CheckpointError: a missing file, a wrong size or digest, an unknown version, or a value
            that is not finite; the message names the file and what was expected. ModelSizeError, a
            subclass, for arrays of another size than the model has; UnknownModelError, another,
            for a model that is not registered.
        MemoryError: there is too little.
    """
    with memory_for(f"reading {path}"):
        about = manifest.read_manifest(path)
        records = {
            name: _record(manifest.read_record(path / name, about.files[name]), path / name)
            for name in _RECORDS
        }
        _require_one(path, about.step, records)
        return Checkpoint(
            path=path,
            step=about.step,
            model=_arrays(path, WEIGHTS, about, records),
            arrays=_arrays(path, TRAIN_STATE, about, records),
            state=records[STATE],
            config=records[CONFIG],
            env=records[ENV],
            tokenizer=_tokenizer(path / TOKENIZER, about.files.get(TOKENIZER)),
        )


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoint folders in ``folder``, newest step first; not verified.

    Raises:
        OSError: the folder cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            found = [folder / entry.name for entry in entries if entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(filter(is_checkpoint_name, found), key=step_of, reverse=True)


def latest_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest checkpoint that verifies, and why each newer one was skipped.

    When the run is training at the same time, it is the newest at one moment of the call.

    Raises:
        CheckpointError: the run removed what was being read, several times in a row.
        OSError: ``folder`` cannot be listed.
    """
    for _ in range(ATTEMPTS):
        problems: list[str] = []
        for path in list_checkpoints(folder):
            was_there = Presence(path)
            try:
                return load_checkpoint(path), problems
            except CheckpointError as error:
                if was_there.has_ended():
                    break
                problems.append(str(error))
        else:
            return None, problems
    raise CheckpointError(
        f"{folder}: {ATTEMPTS} times in a row what was to be read was removed by the run that "
        f"writes there; try again"
    )


class Presence:
    """Whether a folder that was found is still there.

    While it is read, rotation may remove it, or the run may write it anew. Errors found in it then
    mean nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = self._identity()

    def has_ended(self) -> bool:
        """Whether the folder was removed or written anew."""
        return self._before is None or self._identity() != self._before

    def _identity(self) -> tuple[int, ...] | None:
        try:
            about = self._path.stat()
        except FileNotFoundError:
            return None
        return about.st_dev, about.st_ino


def prune_checkpoints(folder: Path, keep: int) -> None:
    """Remove the checkpoints older than the newest ``keep`` that verify.

    Damaged ones do not count, so the last good one is never removed in favour of them.
    """
    good = 0
    for path in list_checkpoints(folder):
        if good >= keep:
            discard_folder(path)
        else:
            with contextlib.suppress(CheckpointError):
                verify_checkpoint(path)
                good += 1


def copy_checkpoint(path: Path, folder: Path) -> Path:
    """Copy one checkpoint that verifies into another folder, all of it or nothing."""
    make_folder(folder)
    about = manifest.read_manifest(path)
    files: dict[str, Any] = {
        name: manifest.verified_pieces(path / name, expected)
        for name, expected in about.files.items()
    }
    target = folder / f"step-{about.step:08d}"
    publish_folder(target, {**files, MANIFEST: about.data})
    return target


def verify_checkpoint(path: Path) -> None:
    """Compare every file with the manifest, in little memory.

    Raises:
        CheckpointError: a file differs; the message names it.
    """
    for name, expected in manifest.read_manifest(path).files.items():
        manifest.verify_part(path / name, expected)


def is_checkpoint(path: Path) -> bool:
    """Whether a folder is a checkpoint, by its name or, with another name, by its manifest."""
    return is_checkpoint_name(path) or os.path.lexists(path / MANIFEST)


def is_checkpoint_name(path: Path) -> bool:
    """Whether a folder has a name as checkpoints have."""
    return manifest.STEP_FOLDER.fullmatch(path.name) is not None


def step_of(path: Path) -> int:
    """The step in a checkpoint folder's name; if there is none, that of its manifest.

    Raises:
        CheckpointError: neither has one.
    """
    match = manifest.STEP_FOLDER.fullmatch(path.name)
    return manifest.read_manifest(path).step if match is None else int(match[1])


def _packed(record: Mapping[str, Any], source: Path) -> bytes:
    try:
        return pack_json(record)
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{source}: cannot be written as JSON ({error})") from error


def _record(data: bytes, source: Path) -> dict[str, Any]:
    """The content of one of the JSON files, its types checked."""
    record = unpack_json(data, source)
    record_types.require_types(record, _RECORDS[source.name](), source)
    return record


def _require_one(path: Path, step: int, records: Mapping[str, Any]) -> None:
    """Raise CheckpointError unless the state is of this step."""
    found = records[STATE].get("step")
    if found != step:
        raise CheckpointError(f"{path / STATE}: of step {found}, expected {step}")


def _require_fit(
    path: Path, name: str, header: Header, records: Mapping[str, Mapping[str, Any]]
) -> None:
    """Compare sizes before any value is read or written: a file's numbers may be false."""
    described = records[CONFIG].get("model", {})
    # A description of an unknown model is refused when the model is built.
    with contextlib.suppress(TypeError, ArgumentError, UnknownModelError):
        if name == WEIGHTS:
            count = len(header.arrays), header.values
            require_weights_of(described, *count, path / name, path / CONFIG)
        else:
            require_state_of(described, header.values, path / name)
    if name == TRAIN_STATE:
        held = {array.name for array in header.arrays}
        for reference in references(records[STATE]):
            if reference not in held:
                raise CheckpointError(
                    f"{path / STATE}: refers to {reprlib.repr(reference)}, "
                    f"which {TRAIN_STATE} does not hold"
                )


def _arrays(
    path: Path, name: str, about: manifest.Manifest, records: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """One of the two files of arrays."""
    expected = about.files[name]
    with manifest.opened_part(path / name, expected) as (file, digest):
        start, header = read_header(file, expected["bytes"], path / name)
        _require_fit(path, name, header, records)
        digest.update(start)
        return read_values(file, header, path / name, digest.update)


def _tokenizer(path: Path, expected: manifest.Entry | None) -> CharTokenizer | None:
    if expected is None:
        return None
    try:
        return CharTokenizer.from_json(manifest.read_record(path, expected), path)
    except DataError as error:
        raise CheckpointError(str(error)) from error
