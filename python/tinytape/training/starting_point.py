"""Where a resumed run goes on, or what there is instead. Nothing is changed by looking for it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .checkpoint import (
    Checkpoint,
    is_checkpoint_name,
    list_checkpoints,
    load_checkpoint,
    step_of,
)
from .errors import CheckpointError, RunError
from .replaced import repair
from .run_folder import RunFolder, is_checkpoint, room_problem
from .run_state import RunState, link_problem, look_at, said_step


@dataclass(frozen=True)
class Start:
    """Where a run goes on."""

    checkpoint: Checkpoint | None  # None: at its beginning, since nothing was done yet
    record: dict[str, Any]  # what its config.json holds
    source: Path  # that file
    problems: tuple[str, ...] = ()  # of checkpoints that were skipped


def require_home(folder: RunFolder, checkpoint: Path | None) -> None:
    """Raise RunError unless the folder is that of a run, in which one can go on."""
    state = look_at(folder)
    if state.interrupted:
        return
    if checkpoint is not None and state.record is None:
        raise RunError(
            f"{checkpoint} lies in no run; add --out for a folder where one goes on from it"
        )
    state.require_run()


def starting_point(
    folder: RunFolder,
    checkpoint: Path | None,
    say: Callable[[str], None],
    *,
    in_place: bool,
    changes: bool,
) -> Start:
    """Where a run goes on.

    Args:
        checkpoint: the one that was asked for, if one was.
        in_place: in its own folder, which is held.
        changes: with settings that change the result.

    Raises:
        RunError, CheckpointError: nowhere; nothing has changed.
    """
    state = look_at(folder)
    if state.interrupted and in_place:
        if repair(folder):
            say(f"an --overwrite of {folder} was cut short: the run is as it was before")
        state = look_at(folder)
    start = find_start(state) if checkpoint is None else chosen_start(checkpoint)
    for problem in start.problems:
        say(f"skipped a checkpoint: {problem}")
    if in_place:
        require_going_on(state, start, chosen=checkpoint is not None, changes=changes)
    return start


def find_start(state: RunState) -> Start:
    """The newest checkpoint that verifies; the beginning where nothing at all could be lost by it.

    Raises:
        RunError, CheckpointError: there is neither; the message says what there is, and which
            commands would use it.
    """
    record = state.require_run()
    problems: list[str] = []
    for path in state.checkpoints:
        try:
            return _start(load_checkpoint(path), problems)
        except CheckpointError as error:
            problems.append(str(error))
    best = _first_good(state.best)
    if problems:
        raise CheckpointError(
            f"{state.folder}: no checkpoint is good ({'; '.join(problems)}); nothing was changed. "
            f"There is {_there(state)}"
        )
    # Killed before its first checkpoint, a run may have a best one of that very step.
    if best and not state.strays and not state.origin and not state.beyond(best.step):
        return _start(best, problems)
    if state.is_untouched:
        return Start(None, record, state.folder.config)
    raise RunError(
        f"{state.folder} has no checkpoint to go on from in {state.folder.checkpoints}; nothing "
        f"was changed. There is {_there(state)}"
    )


def chosen_start(path: Path) -> Start:
    """The checkpoint that was asked for, wherever it lies.

    Raises:
        CheckpointError: it is damaged.
        RunError: it is called otherwise than checkpoints are.
    """
    if not is_checkpoint_name(path):
        raise RunError(_misnamed(path) or f"{path} is not a checkpoint folder")
    return _start(load_checkpoint(path), [])


def require_going_on(state: RunState, start: Start, *, chosen: bool, changes: bool) -> None:
    """Raise RunError where a run that goes on in its own folder would lose what lies there.

    Args:
        chosen: the checkpoint was asked for, so there may be later ones.
        changes: settings differ, so that what comes later would not come again.
    """
    folder = state.folder
    if problem := link_problem(folder):
        raise RunError(f"{problem}. To go on in another folder: {_resume(folder.path, state)}")
    if start.checkpoint is None or not (chosen or changes):
        return
    step = start.checkpoint.step
    newest = bool(state.checkpoints) and step_of(state.checkpoints[0]) == step
    if newest and not changes:
        return  # what a plain --resume would take
    if later := state.beyond(step):
        path = start.checkpoint.path
        raise RunError(
            f"{folder} went on from {path} to {', '.join(later)}; add --out for another "
            f"folder, where a run goes on from here and that one stays: {_resume(path, state)}"
        )


def _start(checkpoint: Checkpoint, problems: list[str]) -> Start:
    source = checkpoint.path / "config.json"
    return Start(checkpoint, checkpoint.config, source, tuple(problems))


def _first_good(paths: tuple[Path, ...]) -> Checkpoint | None:
    for path in paths:
        try:
            return load_checkpoint(path)
        except CheckpointError:
            continue
    return None


def _there(state: RunState) -> str:
    """What a run without a usable checkpoint has, and the commands that would use it."""
    found = list(_uses(state))
    return (
        "; ".join(found) if found else "nothing else that could be used; --overwrite starts again"
    )


def _uses(state: RunState) -> Iterator[str]:
    folder = state.folder
    for path in state.strays:
        if path in folder.rooms:
            yield f"{room_problem(path)}: bring that back, and the same command goes on"
        elif path.is_symlink() and not path.exists():
            yield f"{path}, a link to {os.readlink(path)}, which is not there"
        elif is_checkpoint(path):
            yield _misnamed(path) or f"{path}, a checkpoint without a step"
        elif (inner := _first_good(tuple(list_checkpoints(path)))) is not None:
            yield f"{inner.path}: {_resume(inner.path, state)}"
        else:
            yield f"{path}, which is none"
    for path in state.others:
        if path.is_dir() and (inner := _first_good(tuple(list_checkpoints(path)))) is not None:
            yield f"{inner.path}: {_resume(inner.path, state)}"
    if (best := _first_good(state.best)) is not None:
        yield f"the best one, {best.path}: {_resume(best.path, state)}"
    if folder.model.is_file():
        name = shlex.quote(str(folder))
        yield f"final weights, {folder.model}: python -m tinytape.generate {name}"
    if state.origin:
        words = ["--resume", state.origin, "--out", str(folder), "--overwrite"]
        yield (
            f"its origin, {state.origin}, to begin with again: python -m tinytape.train "
            f"{shlex.join(words)} (and the settings that were changed)"
        )
    if (last := state.evaluated_step()) >= 0:
        yield f"{folder.metrics}, with evaluations up to step {last}"


def _misnamed(path: Path) -> str | None:
    """What gives a checkpoint its name back; None where it does not say what that is."""
    step = said_step(path)
    if step is None:
        return None
    path = path if path.name else Path(os.path.abspath(path))
    right = path.with_name(f"step-{step:08d}")
    said = f"{path} is the checkpoint of step {step} under another name"
    if os.path.lexists(right):
        return f"{said}, beside {right}"
    return (
        f"{said}; give it back: mv {shlex.quote(str(path))} {shlex.quote(str(right))} and then: "
        f"python -m tinytape.train --resume {shlex.quote(str(right))}"
    )


def _resume(path: Path, state: RunState) -> str:
    """The command that goes on from there in a folder that does not exist yet."""
    number = 2
    while os.path.lexists(out := f"{state.folder}-{number}"):
        number += 1
    words = ["python", "-m", "tinytape.train", "--resume", str(path), "--out", out]
    return shlex.join(words)
