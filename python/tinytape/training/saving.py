"""The files that a run writes, always into the run's folder, wherever that was moved.

>>> from tinytape.training import RunFolder
>>> from tinytape.training.saving import persist
>>> folder = RunFolder("runs/demo")
>>> with folder.held():
...     persist(folder, print, lambda: (folder.path / "note.txt").write_text("done"))
4
"""

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
    """Write the settings of a run, ``config.json`` first: by it the other files are a run's.

    Args:
        origin: the checkpoint of another run that this one continues. Without a checkpoint of
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
    """Write a checkpoint into ``where``, a folder of the run, wherever the run lies now.

    Raises:
        NonFiniteError: it would hold a number that no reader accepts.
        FolderGoneError: the folder to save in is gone.
        OSError: the disk is full or fails; the earlier files are untouched.
    """
    state, arrays = session.state()
    step = session.counters.step

    def write() -> Path:
        folder.require_checkpoint_folders()
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
    """Remove the earlier best checkpoint; one of a later step stays: the run will reach that step
    again.
    """

    def remove() -> None:
        for path in list_checkpoints(folder.best):
            if step_of(path) < step_of(best):
                discard_folder(path)

    persist(folder, note, remove)


def rotate(folder: RunFolder, keep: int, note: Note) -> None:
    """After a checkpoint was saved, remove those that it replaces."""

    def remove() -> None:
        for left in discard(folder):
            note(left)
        before = _leftovers(folder.checkpoints)
        prune_checkpoints(folder.checkpoints, keep)
        for path in sorted(_leftovers(folder.checkpoints) - before):
            note(f"{path}: not all of it could be removed")

    persist(folder, note, remove)


def _leftovers(directory: Path) -> set[Path]:
    """What could not be removed, here or before."""
    return set(directory.glob(f"{TEMPORARY_PREFIX}*"))


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
    """Write into a run's folder where it lies now.

    The write is repeated if the folder is moved meanwhile, and once more if somebody removes what
    is being written.

    Raises:
        FolderGoneError: the folder to write into is gone.
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
    """Update the message about the folder: where it lies, and that a run can be resumed there."""
    follow(folder, note)
    if not folder.has_settings:  # somebody removed them
        write_settings(session, folder, note)


def follow(folder: RunFolder, note: Note) -> bool:
    """Follow a folder that was moved, and say so.

    Raises:
        FolderGoneError: it is gone.
    """
    moved = folder.follow()
    if moved:
        note(moved)
    return moved is not None
