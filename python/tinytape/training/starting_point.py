"""The checkpoint from which a resumed run continues. Looking for it changes nothing.

>>> from tinytape.training import RunFolder
>>> from tinytape.training.run_state import look_at
>>> from tinytape.training.starting_point import find_start
>>> find_start(look_at(RunFolder("runs/demo"))).checkpoint.step
2
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data import CharTokenizer
from ..errors import TinytapeError
from .checkpoint import (
    Checkpoint,
    copy_checkpoint,
    is_checkpoint,
    latest_checkpoint,
    list_checkpoints,
    load_checkpoint,
    step_of,
)
from .errors import CheckpointError, RunError
from .load import settings_of
from .replaced import is_kept, repair
from .run_folder import RunFolder, folder_problem
from .run_state import RunState, link_problem, look_at
from .shell import command_line


@dataclass(frozen=True)
class Start:
    """The place where a run continues."""

    checkpoint: Checkpoint | None  # None: at its beginning, since nothing was done yet
    record: dict[str, Any]  # what its config.json holds
    source: Path  # that file
    problems: tuple[str, ...] = ()  # of checkpoints that were skipped

    def tokenizer_of(self, folder: RunFolder) -> CharTokenizer:
        """The checkpoint's own tokenizer; a checkpoint of version 1 has none, so the run's."""
        own = None if self.checkpoint is None else self.checkpoint.tokenizer
        return own or CharTokenizer.load(folder.tokenizer)


def require_home(folder: RunFolder, checkpoint: Path | None) -> None:
    """Check that the folder is that of a run which can be continued in it.

    Raises:
        RunError: it is not.
    """
    home = Path(os.path.abspath(folder.path))
    if is_kept(home):
        raise RunError(
            f"{folder} is kept until the run in {home.parent} has a checkpoint; add --out for "
            f"another folder to go on from it"
        )
    state = look_at(folder)
    if state.interrupted:
        return
    if checkpoint is not None and state.record is None:
        raise RunError(
            f"{checkpoint} lies in no run; add --out for a folder where one goes on from it"
        )
    _require_record(state)


def starting_point(
    folder: RunFolder,
    checkpoint: Path | None,
    say: Callable[[str], None],
    *,
    in_place: bool,
    changes: bool,
) -> Start:
    """The place where a run continues.

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
    start = find_start(state) if checkpoint is None else _start(load_checkpoint(checkpoint), [])
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
    record = _require_record(state)
    found, problems = latest_checkpoint(state.folder.checkpoints)
    if found is not None:
        return _start(found, problems)
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


def require_going_on(state: RunState, start: Start, *, chosen: bool, changes: bool) -> None:
    """Check that a run which continues in its own folder loses nothing there.

    Args:
        chosen: the checkpoint was asked for, so there may be later ones.
        changes: settings differ, so that the later steps would not come again.

    Raises:
        RunError: it would lose something.
    """
    folder = state.folder
    if problem := link_problem(folder):
        path = start.checkpoint.path if chosen and start.checkpoint else folder.path
        raise RunError(f"{problem}. To go on in another folder: {_resume(path, state)}")
    if start.checkpoint is None:
        return
    step = start.checkpoint.step
    newest = bool(state.checkpoints) and step_of(state.checkpoints[0]) == step
    usual = not chosen or newest  # a plain --resume takes it, and all after it comes again
    if usual and not changes and (start.problems or _is_due_after(start, state.evaluated_step())):
        return
    if later := state.beyond(step):
        path = start.checkpoint.path
        raise RunError(
            f"{folder} went on from {path} to {', '.join(later)}; add --out for another "
            f"folder, where a run goes on from here and that one stays: {_resume(path, state)}"
        )


def _is_due_after(start: Start, step: int) -> bool:
    """Whether evaluations up to a step can be those that a kill leaves before a checkpoint."""
    assert start.checkpoint is not None
    interval = settings_of(start.record, start.source).checkpoint_interval
    return step <= (start.checkpoint.step // interval + 1) * interval


def place_for_best(folder: RunFolder, record: Mapping[str, Any]) -> Path:
    """The folder for the best checkpoint of another text or another measure: nothing replaces it
    there.
    """
    name = re.sub(r"[^\w.-]", "-", str(record["corpus"].get("name")))
    place, number = folder.path / f"best-{name}", 1
    while os.path.lexists(place):
        number += 1
        place = folder.path / f"best-{name}-{number}"
    return place


def copy_good(paths: Iterable[Path], place: Path, say: Callable[[str], None]) -> list[Path]:
    """Copy the checkpoints that verify into another folder; report the others with ``say``."""
    copies = []
    for path in paths:
        try:
            copies.append(copy_checkpoint(path, place))
        except CheckpointError as error:
            say(f"did not copy a checkpoint: {error}")
    return copies


def _start(checkpoint: Checkpoint, problems: list[str]) -> Start:
    source = checkpoint.path / "config.json"
    return Start(checkpoint, checkpoint.config, source, tuple(problems))


def _require_record(state: RunState) -> dict[str, Any]:
    """The run's record, or an error that says what else can be resumed."""
    try:
        return state.require_run()
    except TinytapeError as error:
        good = _first_good((*state.checkpoints, *state.best))
        if good is None:
            raise
        words = f"{error}. There is {good.path}: {_resume(good.path, state)}"
        raise type(error)(words) from error


def _first_good(paths: tuple[Path, ...]) -> Checkpoint | None:
    for path in paths:
        try:
            return load_checkpoint(path)
        except CheckpointError:
            continue
    return None


def _there(state: RunState) -> str:
    """A message: the contents of a run without a usable checkpoint, and the commands that would use
    them.
    """
    found = list(_uses(state))
    return (
        "; ".join(found) if found else "nothing else that could be used; --overwrite starts again"
    )


def _uses(state: RunState) -> Iterator[str]:
    folder = state.folder
    for path in (*state.strays, *state.others):
        good = _good_in(path)
        if good is not None:
            yield f"{good.path}, of step {good.step}: {_resume(good.path, state)}"
        elif path in folder.checkpoint_folders:
            yield f"{folder_problem(path)}: bring that back, and the same command goes on"
        elif path.is_symlink() and not path.exists():
            yield f"{path}, a link to {os.readlink(path)}, which is not there"
        elif path in state.strays:
            yield f"{path}, which is none"
    if (best := _first_good(state.best)) is not None:
        yield f"the best one, {best.path}: {_resume(best.path, state)}"
    if folder.model.is_file():
        yield f"final weights, {folder.model}: {command_line('generate', folder.path)}"
    if state.origin:
        origin, out = Path(state.origin), folder.path
        again = command_line("train", "--resume", origin, "--out", out, "--overwrite")
        yield (
            f"its origin, {origin}, to begin with again: {again} (and the settings that were "
            f"changed)"
        )
    if (last := state.evaluated_step()) >= 0:
        yield f"{folder.metrics}, with evaluations up to step {last}"


def _good_in(path: Path) -> Checkpoint | None:
    """A checkpoint under another name, or the newest in a folder of them."""
    if not path.is_dir():
        return None
    return _first_good((path,) if is_checkpoint(path) else tuple(list_checkpoints(path)))


def _resume(path: Path, state: RunState) -> str:
    """The command that resumes it in a folder that does not exist yet."""
    number = 2
    while os.path.lexists(out := f"{state.folder}-{number}"):
        number += 1
    return command_line("train", "--resume", path, "--out", Path(out))
