"""The kind of a folder, found before a run uses it, without changing it.

A folder is a run of ours where its ``config.json`` can be shown to be one, by its content. Only
in the presence of that file do the other names mean anything: without it ``checkpoints`` or
``model.safetensors`` belong to somebody else, and stay.

>>> from tinytape.training import RunFolder
>>> from tinytape.training.run_state import look_at
>>> state = look_at(RunFolder("runs/demo"))
>>> [path.name for path in state.checkpoints], state.problem, state.is_untouched
(['step-00000002', 'step-00000000'], None, False)
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._files import TEMPORARY_PREFIX
from ..errors import TinytapeError
from .checkpoint import is_checkpoint, is_checkpoint_name, list_checkpoints, step_of
from .errors import CheckpointError, RunError
from .final_weights import about_final_weights
from .replaced import can_be_put_back, is_kept, kept
from .run_folder import RunFolder, folder_problem, is_run, own_record

ORIGIN = "origin"  # in config.json of a run that went on from another's checkpoint: its path


@dataclass(frozen=True)
class RunState:
    """The content of a folder, as far as runs are concerned."""

    folder: RunFolder
    record: dict[str, Any] | None  # config.json, where it can be shown to be a run's
    problem: TinytapeError | None  # why it cannot, where there is one
    checkpoints: tuple[Path, ...]  # by their names alone, newest first
    best: tuple[Path, ...]
    strays: tuple[Path, ...]  # what else lies beside these, links to nothing included
    others: tuple[Path, ...]  # files whose names a run does not use
    interrupted: bool  # a kill came while something was moved; repair() puts it back

    def require_run(self) -> dict[str, Any]:
        """The run's record.

        Raises:
            RunError: there is no run; the message says what there is instead.
        """
        if self.record is not None:
            return self.record
        path = self.folder.path
        if path.is_symlink() and not path.exists():
            raise RunError(f"{path} is a link to {os.readlink(path)}, which is not there")
        if self.problem is not None:
            raise self.problem
        self.folder.require_run()
        raise AssertionError("a folder with a config.json has a record or a problem")

    def evaluated_step(self) -> int:
        """The highest step that has a line in the metrics, -1 where there is none."""
        return max((record["step"] for record in self.folder.read_metrics()), default=-1)

    def beyond(self, step: int) -> list[str]:
        """The things of later steps in the folder, as a message names them."""
        found = [
            str(path) for path in (*self.checkpoints, *self.best) if step_of(path) > step
        ]  # by name: a damaged one may still be saved
        found += [str(path) for path in self.strays if (said_step(path) or 0) > step]
        if (last := self.evaluated_step()) > step:
            found.append(f"evaluations up to step {last} in {self.folder.metrics}")
        if os.path.lexists(self.folder.model) and self._final_step() > step:
            found.append(f"final weights in {self.folder.model}")
        return found

    def _final_step(self) -> float:
        """The step of the final weights; infinite where it is unknown."""
        try:
            step = about_final_weights(self.folder.model).step
        except (OSError, CheckpointError):
            return math.inf
        if step is None and self.record is not None:  # of an earlier version
            step = self.record["train"].get("iters")
        return step if isinstance(step, int) else math.inf

    @property
    def origin(self) -> str | None:
        """The checkpoint that the run continued, when it began as a branch of another."""
        origin = (self.record or {}).get(ORIGIN)
        return origin if isinstance(origin, str) else None

    @property
    def is_untouched(self) -> bool:
        """Whether a run that begins here again would lose nothing, because no step was done yet."""
        return not (
            self.origin
            or self.checkpoints
            or self.best
            or self.strays
            or os.path.lexists(self.folder.model)
            or self.evaluated_step() > 0
        )


def look_at(folder: RunFolder) -> RunState:
    """Look at a folder; nothing in it is changed."""
    record, problem = own_record(folder)
    entries = {directory: list(_entries(directory)) for directory in folder.checkpoint_folders}
    named = {
        directory: tuple(list_checkpoints(directory)) for directory in folder.checkpoint_folders
    }
    own, keeping = {path.name for path in (*folder.checkpoint_folders, *folder.files)}, kept(folder)
    aside = any(
        _is_put_aside(path)
        for directory in folder.checkpoint_folders
        for path in entries[directory]
    )
    return RunState(
        folder=folder,
        record=record,
        problem=problem,
        checkpoints=named[folder.checkpoints],
        best=named[folder.best],
        strays=tuple(
            path
            for directory in folder.checkpoint_folders
            for path in [directory, *entries[directory]]
            if (
                folder_problem(directory)
                if path == directory
                else _is_stray(path, named[directory])
            )
        ),
        others=tuple(
            path
            for path in _entries(folder.path)
            if path.name not in own and path not in keeping and not _is_leftover(path)
        ),
        interrupted=can_be_put_back(folder) or (record is not None and aside),
    )


def link_problem(folder: RunFolder) -> str | None:
    """Why a run may not write here: links that lead nowhere, to others, or from its files."""
    for directory in folder.checkpoint_folders:
        if problem := folder_problem(directory):
            return problem
        for path in filter(is_checkpoint_name, _entries(directory)):
            if problem := folder_problem(path):
                return problem
        if not directory.is_symlink():
            continue
        real = directory.resolve()
        if real == folder.path.resolve() or real in folder.path.resolve().parents:
            return f"{directory} is a link to {real}, in which the run itself lies"
        if is_checkpoint_folder(real) and real.parent != folder.path.resolve():
            return f"{directory} is a link into another run, {real.parent}"
    if folder.best.exists() and folder.best.resolve() == folder.checkpoints.resolve():
        return f"{folder.best} and {folder.checkpoints} are one folder"
    for file in folder.files:
        if file.is_symlink():
            return (
                f"{file} is a link to {os.readlink(file)}; a run writes to files of its own alone "
                f"(only checkpoints and best may be links)"
            )
    return None


def is_checkpoint_folder(path: Path) -> bool:
    """Whether a folder is where another run has its checkpoints."""
    home = RunFolder(path.parent)
    return path.name in {directory.name for directory in home.checkpoint_folders} and is_run(home)


def said_step(path: Path) -> int | None:
    """The step in a checkpoint's name, or in its manifest; None where neither has one."""
    try:
        return step_of(path)
    except CheckpointError:
        return None


def _entries(folder: Path) -> Iterator[Path]:
    """What lies in a folder, in a fixed order; nothing where there is none."""
    if folder.is_dir():
        yield from sorted(folder.iterdir())


def _is_stray(path: Path, named: tuple[Path, ...]) -> bool:
    """Whether something beside checkpoints may be a saved one, or be meant as one."""
    if path in named or is_kept(path) or _is_leftover(path):
        return False
    return not path.name.startswith(".") or is_checkpoint(path)


def _is_leftover(path: Path) -> bool:
    """Whether a killed process left it half written; it is never read."""
    begun = path.name.startswith(TEMPORARY_PREFIX) and path.name[-1].isdigit()
    return begun and not _is_put_aside(path)


def _is_put_aside(path: Path) -> bool:
    """Whether it was moved out of the way and its successor has not come."""
    if not path.name.startswith(f"{TEMPORARY_PREFIX}old-step-"):
        return False
    after = path.with_name(path.name.removeprefix(f"{TEMPORARY_PREFIX}old-").rpartition("-")[0])
    return is_checkpoint_name(after) and not os.path.lexists(after)
