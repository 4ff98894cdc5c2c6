"""The checkpoints and weights that a run has saved, and whether they can be used.

>>> from tinytape.training.verify import verify
>>> [(saved.kind, saved.problem) for saved in verify("runs/demo")][:2]
[('checkpoint', None), ('checkpoint', None)]
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .. import models
from ..data import DataError
from .belonging import require_config, require_tokenizer
from .checkpoint import (
    ATTEMPTS,
    Checkpoint,
    Presence,
    is_checkpoint,
    is_checkpoint_name,
    latest_checkpoint,
    list_checkpoints,
    load_checkpoint,
    step_of,
)
from .errors import CheckpointError, RunError
from .final_weights import about_final_weights, read_final_weights
from .load import build_model, require_vocabulary, settings_of
from .manifest import MANIFEST
from .run_folder import RunFolder
from .state_tree import join_state


@dataclass(frozen=True)
class Saved:
    """One thing that a run has saved."""

    path: Path
    kind: str  # "checkpoint", "best", "weights", "config" or "tokenizer"
    step: int | None  # in its name
    bytes: int
    written: datetime | None
    held_out_loss: float | None
    problem: str | None  # None when it can be used

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return {
            "path": str(self.path),
            "kind": self.kind,
            "step": self.step,
            "bytes": self.bytes,
            "written": _iso(self.written),
            "held_out_loss": self.held_out_loss,
            "problem": self.problem,
        }


def verify(target: str | os.PathLike[str]) -> Iterator[Saved]:
    """Check everything that is saved in a run folder, or one checkpoint folder.

    The checkpoints come first, the newest before the others; then the best, the final weights, and
    the files that belong to all of them. A checkpoint that the run removes meanwhile is left out.

    Raises:
        RunError: neither is there.
        CheckpointError, DataError, OSError: from a file that changes while it is read.
    """
    path = _checkpoint_or_none(target)
    if path is not None:
        yield _verify_checkpoint(path, "checkpoint")[0]
        return
    folder = RunFolder(target)
    folder.require_run()
    good = None
    found = False
    for kind, where in (("checkpoint", folder.checkpoints), ("best", folder.best)):
        for saved, checkpoint in _verify_all(where, kind):
            found, good = True, good or checkpoint
            yield saved
    if os.path.lexists(folder.model):
        found = True
        yield _verify_weights(folder)
    if found:
        yield _verify_file(folder.config, "config", lambda: _require_config(folder, good))
        yield _verify_file(folder.tokenizer, "tokenizer", lambda: _require_tokenizer(folder, good))


def choose(target: str | os.PathLike[str]) -> tuple[Checkpoint, list[str]]:
    """The checkpoint that is meant: the folder itself, or the latest of a run.

    Returns it with the problem of each newer one.

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
    """Check that weights and training state fit the checkpoint's own config.

    Raises:
        CheckpointError: they do not.
    """
    path, state = checkpoint.path, checkpoint.state
    model = build_model(checkpoint.config, path / "config.json", checkpoint.model, path)
    require_vocabulary(model, checkpoint.tokenizer, path / "tokenizer.json")
    spec = models.spec_of(model)
    updates = spec.updates(model, settings_of(checkpoint.config, path / "config.json"))
    for name in updates.state():
        if name not in state:
            raise CheckpointError(f"{path / 'state.json'}: expected the key {name!r}")
    try:
        parts = {name: join_state(state[name], checkpoint.arrays) for name in updates.state()}
        updates.load(parts, checkpoint.step)
        spec.task.require_state(model, checkpoint.arrays)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: {error}") from error


def listed(found: Sequence[Saved]) -> list[dict[str, Any]]:
    """The checkpoints among ``found``, newest step first, each with whether it is latest, best."""
    checkpoints = [entry for entry in found if entry.kind in ("checkpoint", "best")]
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
                {
                    "name": name,
                    "dtype": str(array.dtype),
                    "shape": list(array.shape),
                    "bytes": array.nbytes,
                }
                for name, array in sorted(arrays.items())
            ]
            for file, arrays in (
                ("model.safetensors", checkpoint.model),
                ("train_state.safetensors", checkpoint.arrays),
            )
        },
    }


def bytes_in(path: Path) -> int:
    """The size of a file, or of the files in a folder."""
    size = 0
    with contextlib.suppress(OSError):  # a running training removes it meanwhile
        for entry in list(path.iterdir()) if path.is_dir() else [path]:
            about = entry.lstat()
            size += about.st_size if stat.S_ISREG(about.st_mode) else 0
    return size


def written_at(path: Path) -> datetime | None:
    """When a checkpoint was complete, or a file written."""
    try:
        seconds = (path / MANIFEST if path.is_dir() else path).stat().st_mtime
        return datetime.fromtimestamp(seconds, timezone.utc).astimezone()
    except (OSError, OverflowError, ValueError):
        return None


def _checkpoint_or_none(target: str | os.PathLike[str]) -> Path | None:
    """The folder when its name or manifest is that of a checkpoint, None for that of a run."""
    path = Path(target)
    if not is_checkpoint(path):
        return None
    if not path.is_dir():
        raise RunError(f"{path} is not there; expected a checkpoint folder or that of a run")
    return path


def _verify_all(folder: Path, kind: str) -> Iterator[tuple[Saved, Checkpoint | None]]:
    """All checkpoints in a folder; with the good ones their JSON content, without arrays."""
    seen: set[Path] = set()
    for _ in range(ATTEMPTS):
        for path in list_checkpoints(folder):
            if path in seen:
                continue
            was_there = Presence(path)
            found = _verify_checkpoint(path, kind)
            if found[1] is None and was_there.has_ended():
                break  # there may be a newer one
            seen.add(path)
            yield found
        else:
            return


def _verify_checkpoint(path: Path, kind: str) -> tuple[Saved, Checkpoint | None]:
    loss = problem = checkpoint = None
    try:
        checkpoint = load_checkpoint(path)
        counters = checkpoint.state.get("counters", {})
        if counters.get("evaluated_step") == checkpoint.step:
            loss = counters.get("held_out_loss")
        require_usable(checkpoint)
    except CheckpointError as error:
        problem = _one_line(error)
    step = checkpoint.step if checkpoint is not None else None
    if step is None and is_checkpoint_name(path):
        step = step_of(path)
    saved = Saved(path, kind, step, bytes_in(path), written_at(path), loss, problem)
    if checkpoint is None or problem is not None:
        return saved, None
    return saved, replace(checkpoint, model={}, arrays={})


def _verify_weights(folder: RunFolder) -> Saved:
    step: int | None = None

    def check() -> None:
        nonlocal step
        step = about_final_weights(folder.model).step
        # Problems of the config are reported with that file, unless the weights need it.
        record = {} if step is not None else require_config(folder)
        about, weights = read_final_weights(folder.model, record.get("model"), folder.config)
        if about.model is not None:
            dtype = next((str(x.dtype) for x in weights.values() if x.dtype.kind == "f"), None)
            record = {"train": {"dtype": dtype}, "model": about.model}
        build_model(record, folder.config, weights, folder.model)

    saved = _verify_file(folder.model, "weights", check)
    return replace(saved, step=step)


def _require_config(folder: RunFolder, good: Checkpoint | None) -> None:
    settings_of(require_config(folder, good), folder.config)


def _require_tokenizer(folder: RunFolder, good: Checkpoint | None) -> None:
    final = None
    # The CheckpointError is reported with the file.
    with contextlib.suppress(FileNotFoundError, CheckpointError):
        final = about_final_weights(folder.model)
    require_tokenizer(folder, good, final)


def _verify_file(path: Path, kind: str, check: Callable[[], None]) -> Saved:
    problem = None
    try:
        check()
    except (CheckpointError, DataError, OSError) as error:
        problem = _one_line(error)
    return Saved(path, kind, None, bytes_in(path), written_at(path), None, problem)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
