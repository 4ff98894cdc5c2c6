"""The run that ``--overwrite`` replaces: moved aside until the new run's first checkpoint is whole.

It lies in RUN/before-overwrite-1, the folder of a run like any other. Checkpoints on another disk
stay there, and a link leads to them. A kill at any instant leaves one of three states, which differ
in where ``config.json`` lies:

only aside    it was being moved, and nothing is new yet: :func:`repair` puts all of it back
both          the new run has begun and has saved nothing: the old one is kept
in its place  nothing was moved, or all is back

>>> from tinytape.training import RunFolder
>>> from tinytape.training.replaced import kept, put_back, set_aside
>>> folder = RunFolder("runs/demo")
>>> set_aside(folder).name, folder.config.exists()
('before-overwrite-1', False)
>>> put_back(folder), folder.config.exists()
(True, True)
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from .._files import TEMPORARY_PREFIX, discard_folder, make_folder, sync_folder
from .checkpoint import is_checkpoint_name
from .run_folder import RunFolder, is_run

_NAME = re.compile(r"before-overwrite-([0-9]{1,9})")


def is_kept(path: Path) -> bool:
    """Whether a folder's name is that of a folder with a run that was moved aside."""
    return _NAME.fullmatch(path.name) is not None


def kept(folder: RunFolder) -> list[Path]:
    """The folders with runs that were moved aside, the oldest first.

    Each holds the settings of a run, or nothing; a folder that only has such a name is not ours.
    """
    if not folder.path.is_dir():
        return []
    named = (p for p in folder.path.iterdir() if is_kept(p) and p.is_dir() and not p.is_symlink())
    return sorted((p for p in named if is_run(RunFolder(p)) or not _holds_files(p)), key=_number)


def can_be_put_back(folder: RunFolder) -> bool:
    """Whether a kill left a run aside and no other in its place."""
    return any(_moves(folder, old) for old in kept(folder))


def set_aside(folder: RunFolder) -> Path:
    """Move all files of a run aside, and nothing else; returns the folder where they lie now.

    Raises:
        OSError: they could not be moved, and are where they were.
    """
    taken = [_number(path) for path in folder.path.iterdir() if is_kept(path)]
    old = folder.path / f"before-overwrite-{max(taken, default=0) + 1}"
    try:
        old.mkdir()  # all the folders first: where one cannot be made, nothing was moved
        homes = {
            directory: _home(directory, old)
            for directory in folder.checkpoint_folders
            if any(_steps(directory))
        }
        os.rename(folder.config, old / folder.config.name)
        sync_folder(old)
        sync_folder(folder.path)
        for file in folder.files:
            if os.path.lexists(file):
                os.rename(file, old / file.name)
        for directory, home in homes.items():
            for step in list(_steps(directory)):
                os.rename(step, home / step.name)
            sync_folder(home)
            sync_folder(directory)
        sync_folder(old)
        sync_folder(folder.path)
    except BaseException:
        put_back(folder)
        raise
    return old


def repair(folder: RunFolder) -> bool:
    """After a kill: put back a run that was being moved, and remove half-written files.

    Returns whether a run that was being moved aside is in its place again.
    """
    back = put_back(folder)
    folder.remove_leftovers()
    return back


def put_back(folder: RunFolder) -> bool:
    """Undo an unfinished :func:`set_aside`, where no new run is there; returns whether it did."""
    back = False
    for old in reversed(kept(folder)):
        for path, to in _moves(folder, old):
            make_folder(to.parent)
            os.rename(path, to)
            sync_folder(to.parent)
            back = True
        _remove_empty(folder, old)
    return back


def _moves(folder: RunFolder, old: Path) -> list[tuple[Path, Path]]:
    """The renames that put a run back, the config last; none where it must stay."""
    record = old / folder.config.name
    if not record.exists() or os.path.lexists(folder.config):
        return []
    moves = [
        (p, directory / p.name)
        for directory in folder.checkpoint_folders
        for p in _steps(old / directory.name)
    ]
    for file in reversed(folder.files):
        if os.path.lexists(old / file.name):
            moves.append((old / file.name, file))
    # Somebody may have put something there since.
    return [] if any(os.path.lexists(to) for _, to in moves) else moves


def discard(folder: RunFolder) -> Iterator[str]:
    """Remove a run that was moved aside; yields a message for each file that cannot be removed."""
    for old in kept(folder):
        for directory in folder.checkpoint_folders:
            if (old / directory.name).is_symlink() and (directory / old.name).is_dir():
                yield from _discard(directory / old.name)
        yield from _discard(old)


def _discard(path: Path) -> Iterator[str]:
    discard_folder(path)
    for left in path.parent.glob(f"{TEMPORARY_PREFIX}{path.name}-*"):
        yield f"{left}: not all of it could be removed"


def _home(directory: Path, old: Path) -> Path:
    """Make a folder for ``directory``'s checkpoints: in ``old``, or on the disk where they are."""
    place = old / directory.name
    if not directory.is_symlink() and directory.stat().st_dev == old.stat().st_dev:
        place.mkdir()
        return place
    home = directory / old.name
    home.mkdir()
    place.symlink_to(Path("..", directory.name, old.name))  # also when the run is moved
    return home


def _steps(directory: Path) -> Iterator[Path]:
    """All entries whose name is that of a checkpoint, of whatever kind."""
    if directory.is_dir():
        yield from sorted(path for path in directory.iterdir() if is_checkpoint_name(path))


def _remove_empty(folder: RunFolder, old: Path) -> None:
    """Remove the folders of :func:`set_aside` that nothing is in."""
    for directory in folder.checkpoint_folders:
        for home in (directory / old.name, old / directory.name):
            with contextlib.suppress(OSError):
                home.rmdir()
        if (old / directory.name).is_symlink() and not (old / directory.name).exists():
            (old / directory.name).unlink()
    with contextlib.suppress(OSError):
        old.rmdir()


def _holds_files(folder: Path) -> bool:
    return any(path.is_file() for path in folder.rglob("*"))


def _number(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return int(match[1])
