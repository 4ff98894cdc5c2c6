"""What a run writes, and that it is written where the run's folder lies by now."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from .. import models
from .._files import TEMPORARY_PREFIX, discard_folder
from .arrays import NotFiniteError
from .checkpoint import list_checkpoints, prune_checkpoints, save_checkpoint, step_of
from .environment import environment
from .final_weights import save_final_weights
from .nonfinite import nonfinite_error
from .replaced import discard
from .run_folder import RunFolder
from .run_state import ORIGIN
from .session import Session

T = TypeVar("T")
Note = Callable[[str], None]  # where lines go that stay


def write_settings(
    session: Session, folder: RunFolder, note: Note, origin: str | None = None
) -> None:
    """The config first: it is what shows that the rest is a run's.

    Args:
        origin: the checkpoint of another run that this one goes on from. Without a checkpoint of
            its own, it must not be taken for a run that had not begun.
    """
    record = session.record()
    if origin:
        record[ORIGIN] = origin

    def write() -> None:
        folder.write_config(record)
        if not folder.tokenizer.is_file():
            session.tokenizer.save(folder.tokenizer)

    persist(folder, note, write)


def save(
    session: Session,
    folder: RunFolder,
    where: Path,
    note: Note = lambda text: None,
) -> Path:
    """Write a checkpoint into ``where``, a folder of the run, wherever that lies by now.

    Raises:
        NonFiniteError: it would hold a number that no reader accepts.
        FolderGoneError: there is no folder any more to save in.
        OSError: the disk is full or fails; what was there before is untouched.
    """
    state, arrays = session.state()
    step = session.counters.step

    def write() -> Path:
        folder.require_rooms()
        settle(session, folder, note)
        return save_checkpoint(
            folder.path / where.name,
            step,
            model=session.weights(),
            arrays=arrays,
            state=state,
            config=session.record(),
            env=environment(),
            tokenizer=session.tokenizer,
        )

    try:
        return persist(folder, note, write)
    except NotFiniteError as error:  # a bad checkpoint must not push out a good one
        raise nonfinite_error(step, error.name, math.nan, "", "it was not saved", folder) from error


def discard_before(best: Path, folder: RunFolder, note: Note) -> None:
    """Remove what was best before; what is of a later step stays, the run will come there again."""

    def remove() -> None:
        for path in list_checkpoints(folder.best):
            if step_of(path) < step_of(best):
                discard_folder(path)

    persist(folder, note, remove)


def rotate(folder: RunFolder, keep: int, note: Note) -> None:
    """Now that a checkpoint is saved, remove those that it takes the place of."""

    def remove() -> None:
        for left in discard(folder):
            note(left)
        before = _leftovers(folder.checkpoints)
        prune_checkpoints(folder.checkpoints, keep)
        for path in sorted(_leftovers(folder.checkpoints) - before):
            note(f"{path}: not all of it could be removed")

    persist(folder, note, remove)


def _leftovers(room: Path) -> set[Path]:
    """What could not be removed, here or before."""
    return set(room.glob(f"{TEMPORARY_PREFIX}*"))


def save_final(session: Session, folder: RunFolder, note: Note) -> None:
    """Write the weights of a run that is complete."""

    def write() -> None:
        save_final_weights(
            folder.model,
            session.weights(),
            step=session.counters.step,
            model=models.config_of(session.model),
            tokenizer=session.tokenizer,
        )

    persist(folder, note, write)


def persist(folder: RunFolder, note: Note, write: Callable[[], T]) -> T:
    """Write into a run's folder where it lies by now.

    Again if it is moved meanwhile, and once more if somebody removes what is being written.

    Raises:
        FolderGoneError: there is no folder any more to write into.
    """
    removed = False
    while True:
        follow(folder, note)
        try:
            return write()
        except OSError as error:
            if not follow(folder, note):
                if removed or not isinstance(error, FileNotFoundError):
                    raise
                removed = True
            folder.remove_leftovers()


def settle(session: Session, folder: RunFolder, note: Note) -> None:
    """Make what is said of the folder true: where it lies, and that a run can go on there."""
    follow(folder, note)
    if not folder.has_settings:  # somebody removed them
        write_settings(session, folder, note)


def follow(folder: RunFolder, note: Note) -> bool:
    """Go after a folder that was moved, and say so. FolderGoneError where it is gone."""
    moved = folder.follow()
    if moved:
        note(moved)
    return moved is not None
