"""What a run has saved, and whether it can be used; ``python -m tinytape.checkpoint`` asks."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..models import NestedLM
from .checkpoint import (
    MANIFEST,
    Checkpoint,
    is_checkpoint_name,
    latest_checkpoint,
    list_checkpoints,
    load_checkpoint,
    step_of,
)
from .errors import CheckpointError, RunError
from .load import build_model, read_weights, settings_of
from .record_types import CONFIG, require_types
from .run_folder import RunFolder
from .state_tree import join_state
from .tasks import remembered
from .updates import updates_of


@dataclass(frozen=True)
class Saved:
    """One thing that a run has saved."""

    path: Path
    kind: str  # "checkpoint", "best" or "weights"
    step: int | None  # that its name says
    bytes: int
    written: datetime | None
    held_out_loss: float | None
    problem: str | None  # None when it can be used

    def to_dict(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "kind": self.kind,
            "step": self.step,
            "bytes": self.bytes,
            "written": _iso(self.written),
            "held_out_loss": self.held_out_loss,
            "problem": self.problem,
        }


def examine(target: str | os.PathLike[str]) -> Iterator[Saved]:
    """Look at everything that is saved in a run folder, or at one checkpoint folder.

    The checkpoints come first, the newest before the others; then the best, then the final weights.

    Raises:
        RunError: neither is there.
    """
    path = _checkpoint_or_none(target)
    if path is not None:
        yield _examine_checkpoint(path, "checkpoint")
        return
    folder = RunFolder(target)
    folder.require_run()
    for checkpoint in list_checkpoints(folder.checkpoints):
        yield _examine_checkpoint(checkpoint, "checkpoint")
    for checkpoint in list_checkpoints(folder.best):
        yield _examine_checkpoint(checkpoint, "best")
    if os.path.lexists(folder.model):
        yield _examine_weights(folder)


def choose(target: str | os.PathLike[str]) -> tuple[Checkpoint, list[str]]:
    """The checkpoint that is meant: the folder itself, or the latest of a run.

    Returns it with what is wrong with each newer one.

    Raises:
        CheckpointError: it is damaged, or there is no good one.
        RunError: there is nothing of the kind.
    """
    path = _checkpoint_or_none(target)
    if path is not None:
        return load_checkpoint(path), []
    folder = RunFolder(target)
    folder.require_run()
    checkpoint, problems = latest_checkpoint(folder.checkpoints)
    if checkpoint is None:
        if problems:
            raise CheckpointError("no checkpoint is good: " + "; ".join(problems))
        raise RunError(f"{folder}: there is no checkpoint yet")
    return checkpoint, problems


def require_usable(checkpoint: Checkpoint) -> None:
    """Raise CheckpointError unless weights and training state fit the checkpoint's own config."""
    path, state = checkpoint.path, checkpoint.state
    model = build_model(checkpoint.config, path / "config.json", checkpoint.model, path)
    updates = updates_of(model, settings_of(checkpoint.config, path / "config.json"))
    for name in updates.state():
        if name not in state:
            raise CheckpointError(f"{path / 'state.json'}: expected the key {name!r}")
    try:
        parts = {name: join_state(state[name], checkpoint.arrays) for name in updates.state()}
        updates.load(parts, checkpoint.step)
        if isinstance(model, NestedLM):
            model.nested.load_state_arrays(remembered(checkpoint.arrays))
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: {error}") from error


def listed(found: Sequence[Saved]) -> list[dict[str, Any]]:
    """The checkpoints among ``found``, newest step first, each with whether it is latest, best."""
    checkpoints = [entry for entry in found if entry.kind != "weights"]
    good = [entry for entry in checkpoints if entry.problem is None]
    latest = next((entry for entry in good if entry.kind == "checkpoint"), None)
    best = next((entry for entry in good if entry.kind == "best"), None)
    checkpoints.sort(key=lambda entry: entry.step or 0, reverse=True)
    return [
        {**entry.to_dict(), "latest": entry is latest, "best": entry is best}
        for entry in checkpoints
    ]


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """All that there is to know about a checkpoint, as plain values."""
    state = checkpoint.state
    return {
        "path": str(checkpoint.path),
        "step": checkpoint.step,
        "bytes": bytes_in(checkpoint.path),
        "written": _iso(written_at(checkpoint.path)),
        "counters": state.get("counters", {}),
        "data": state.get("data", {}),
        "generators": state.get("generators", {}),
        "config": checkpoint.config,
        "environment": checkpoint.env,
        "arrays": {
            file: [
                {"name": name, "dtype": str(array.dtype), "shape": list(array.shape),
                 "bytes": array.nbytes}
                for name, array in sorted(arrays.items())
            ]
            for file, arrays in (
                ("model.safetensors", checkpoint.model),
                ("train_state.safetensors", checkpoint.arrays),
            )
        },
    }  # fmt: skip


def bytes_in(path: Path) -> int:
    """The size of a file, or of the files in a folder."""
    entries = list(path.iterdir()) if path.is_dir() else [path]
    about = [entry.lstat() for entry in entries]
    return sum(entry.st_size for entry in about if stat.S_ISREG(entry.st_mode))


def written_at(path: Path) -> datetime | None:
    """When a checkpoint was complete, or a file written."""
    try:
        seconds = (path / MANIFEST if path.is_dir() else path).stat().st_mtime
        return datetime.fromtimestamp(seconds, timezone.utc).astimezone()
    except (OSError, OverflowError, ValueError):
        return None


def _checkpoint_or_none(target: str | os.PathLike[str]) -> Path | None:
    """The folder when its name says that it is a checkpoint, None when it should be a run."""
    path = Path(target)
    if not is_checkpoint_name(path):
        return None
    if not path.is_dir():
        raise RunError(f"{path} is not there; expected a checkpoint folder or that of a run")
    return path


def _examine_checkpoint(path: Path, kind: str) -> Saved:
    loss = problem = None
    try:
        checkpoint = load_checkpoint(path)
        counters = checkpoint.state.get("counters", {})
        if counters.get("evaluated_step") == checkpoint.step:
            loss = counters.get("held_out_loss")
        require_usable(checkpoint)
    except CheckpointError as error:
        problem = _one_line(error)
    return Saved(path, kind, step_of(path), bytes_in(path), written_at(path), loss, problem)


def _examine_weights(folder: RunFolder) -> Saved:
    path, problem = folder.model, None
    try:
        record = folder.read_config()
        require_types(record, CONFIG, folder.config)
        build_model(record, folder.config, read_weights(path), path)
    except CheckpointError as error:
        problem = _one_line(error)
    return Saved(path, "weights", None, bytes_in(path), written_at(path), None, problem)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
