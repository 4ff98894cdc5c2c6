"""A run folder: the names of its files, the process that holds it, and its metrics.

config.json         resolved settings, model, corpus with its hash
tokenizer.json      characters and their ids
metrics.jsonl       one line per evaluation
checkpoints/        see checkpoint.py
best/               the checkpoint of the best held-out loss
model.safetensors   the final weights, written when the run is complete
curve.png           drawn by ``python -m tinytape.plot``

``checkpoints`` and ``best`` may be links to folders, on a larger disk for instance: a run writes
and removes in the folders that they lead to. The files are never written through a link. What kind
of folder it is, and what may be done with it, is decided in ``run_state``.

>>> from tinytape.training import RunFolder
>>> folder = RunFolder("runs/demo")
>>> folder.has_settings, [line["step"] for line in folder.read_metrics()]
(True, [0, 2])
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .._files import (
    make_folder,
    open_regular,
    opened,
    read_file,
    remove_leftovers,
    replace_file,
    sync_folder,
    write_all,
)
from .._json import about_values, parse
from ..errors import TinytapeError
from .checkpoint import is_checkpoint
from .errors import CheckpointError, FolderGoneError, RunError
from .json_records import MEBIBYTE, RECORD_LIMIT
from .lock import held
from .manifest import MANIFEST
from .record_types import CONFIG, require_types
from .run_config import pack_config, unpack_config

# A line has less than 1 kB; 100,000 evaluations have less than this.
_LINE_LIMIT = 1 << 16
_METRICS_LIMIT = 64 * MEBIBYTE
_METRICS_VALUES = 1 << 22
RUN_FORMAT = "tinytape-run"
# The names under which a run publishes, to find the leftovers of a killed process.
_OWN_FILES = re.compile(
    r"(config|tokenizer)\.json|metrics\.jsonl|model\.safetensors|curve\.png|before-overwrite-[0-9]+"
)
_OWN_FOLDERS = re.compile(r"step-[0-9]{8,}|before-overwrite-[0-9]+")


class RunFolder:
    """The files of one run, by name."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._descriptor: int | None = None  # of the folder, while it is held
        self._name(Path(path))

    def _name(self, path: Path) -> None:
        self.path = path
        self.config = self.path / "config.json"
        self.tokenizer = self.path / "tokenizer.json"
        self.metrics = self.path / "metrics.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self.best = self.path / "best"
        self.model = self.path / "model.safetensors"
        self.curve = self.path / "curve.png"
        self.checkpoint_folders = (self.checkpoints, self.best)
        self.files = (self.config, self.tokenizer, self.metrics, self.model, self.curve)

    def __str__(self) -> str:
        return str(self.path)

    @contextlib.contextmanager
    def held(self) -> Iterator[str | None]:
        """A ``with`` block in which no other process trains here, nor in a folder that a link leads
        to.

        The folder is made if it is not there. The block's value is a warning where the file system
        cannot keep that, else None.

        Raises:
            RunError: another process does, or this is no folder.
        """
        require_folder_or_nothing(self.path)
        make_folder(self.path)
        with contextlib.ExitStack() as stack:
            # A lock stays with a folder that is moved, and so does this.
            self._descriptor = os.open(self.path, os.O_RDONLY)
            stack.callback(self._let_go)
            notice = stack.enter_context(held(self.path))
            for place in sorted(_led_to(self.checkpoint_folders) - {self.path.resolve()}):
                stack.enter_context(held(place))
            self.follow()
            yield notice

    def _let_go(self) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):  # nothing was written through it
                os.close(self._descriptor)
            self._descriptor = None

    def follow(self) -> str | None:
        """Check whether the folder that is held is still where it was; if it was moved, follow it.

        Returns a message when it was moved: this object names the new place from then on.

        Raises:
            FolderGoneError: it was removed, or is nowhere to be found. Nothing can be saved then.
        """
        if self._descriptor is None:
            return None
        there = os.fstat(self._descriptor)
        if _is_folder(self.path, there):
            return None
        now = _path_of(self._descriptor)
        if now is None or not _is_folder(now, there):
            other = "; another folder has its name now" if self.path.exists() else ""
            raise FolderGoneError(
                f"{self}: the folder of this run was removed while it trained, and what it had "
                f"saved with it{other}"
            )
        before = self.path
        self._name(now)
        return f"{before} was moved to {now}: going on there"

    @property
    def has_settings(self) -> bool:
        """Whether the files are there that every checkpoint needs to be resumed."""
        return self.config.is_file() and self.tokenizer.is_file()

    def require_checkpoint_folders(self) -> None:
        """Check that checkpoints can still be saved.

        Raises:
            FolderGoneError: they cannot: links lead to nothing.
        """
        for directory in self.checkpoint_folders:
            if problem := folder_problem(directory):
                raise FolderGoneError(problem)

    def require_run(self) -> None:
        """Check that this folder holds a run.

        Raises:
            RunError: it does not.
        """
        if not self.config.is_file():
            there = "holds no config.json" if self.path.is_dir() else "is not there"
            raise RunError(f"{self} {there}; expected the folder of a run (runs/NAME)")

    def read_config(self) -> dict[str, Any]:
        """The run's ``config.json``.

        Raises:
            RunError: there is no run.
            CheckpointError: the file is damaged, or was edited.
            OSError: it cannot be read.
        """
        self.require_run()
        return unpack_config(read_file(self.config, RECORD_LIMIT), self.config)

    def write_config(self, record: Mapping[str, Any]) -> None:
        """Replace ``config.json``.

        Raises:
            OSError: it cannot be written.
        """
        replace_file(self.config, pack_config(record))

    def remove_leftovers(self) -> None:
        """Remove the temporary files of a process that was killed; other such names stay."""
        remove_leftovers(self.path, _OWN_FILES)
        for directory in self.checkpoint_folders:
            if directory.is_dir():
                remove_leftovers(directory, _OWN_FOLDERS)

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Add one line to ``metrics.jsonl`` and sync it, ahead of the checkpoint that counts it.

        Raises:
            OSError: it could not be written, and none of it is there.
        """
        _append(self.metrics, (json.dumps(record) + "\n").encode())

    def read_metrics(self) -> list[dict[str, Any]]:
        """The evaluations in order. A last line that a kill cut short is left out.

        Raises:
            RunError: a line is damaged.
            OSError: the file cannot be read.
        """
        try:
            return list(self._metrics())
        except FileNotFoundError:
            return []

    def _metrics(self) -> Iterator[dict[str, Any]]:
        """Line by line: a file that somebody else put there is given up at its first wrong line."""
        with open_regular(self.metrics) as file:
            size = os.fstat(file.fileno()).st_size
            if size > _METRICS_LIMIT:
                raise RunError(f"{self.metrics}: {size} bytes, expected at most {_METRICS_LIMIT}")
            number = values = 0
            while line := file.readline(_LINE_LIMIT + 1):
                number += 1
                values += about_values(line)
                if values > _METRICS_VALUES:
                    raise RunError(f"{self.metrics}: more than {_METRICS_VALUES} values")
                try:
                    record = parse(line, _LINE_LIMIT)
                    if not isinstance(record, dict) or type(record.get("step")) is not int:
                        raise ValueError("expected an object with a step")
                except ValueError as error:
                    if len(line) <= _LINE_LIMIT and not file.read(1):
                        return  # a kill cut it short
                    raise RunError(f"{self.metrics} line {number}: {error}") from error
                yield record

    def write_metrics(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Replace the evaluations.

        Raises:
            OSError: they cannot be written; the file is unchanged.
        """
        replace_file(self.metrics, ((json.dumps(r) + "\n").encode() for r in records))


def run_of(path: str | os.PathLike[str]) -> tuple[Path, Path | None]:
    """A run folder and None; or, if ``path`` is a checkpoint, its run and the checkpoint."""
    path = Path(path)
    if path.name in ("", ".."):  # "." inside of one
        path = Path(os.path.abspath(path))
    if not is_checkpoint(path):
        return path, None
    # By name, so that links of a run's folders lead back to it.
    near = len(path.parts) > 2 and ".." not in path.parts[-2:]
    return (path if near else Path(os.path.abspath(path))).parent.parent, path


def own_record(folder: RunFolder) -> tuple[dict[str, Any] | None, TinytapeError | None]:
    """The content of ``config.json``, where it can be shown to be that of a run, or why it cannot.

    Both are None where there is no such file.
    """
    path = folder.config
    if not os.path.lexists(path):
        return None, None
    if os.path.lexists(folder.path / MANIFEST):
        return None, RunError(f"{folder} is a checkpoint")
    try:
        record = unpack_config(read_file(path, RECORD_LIMIT), path)
        if record.get("format") != RUN_FORMAT:
            return None, RunError(f'{path} is not that of a run (no "format": "{RUN_FORMAT}")')
        require_types(record, CONFIG, path)
    except OSError as error:
        return None, RunError(f"cannot read {path}: {error.strerror or error}")
    except CheckpointError as error:
        return None, error
    if missing := [key for key in CONFIG if key not in record]:
        return None, RunError(f"{path} is not that of a run (no {missing[0]!r})")
    return record, None


def is_run(folder: RunFolder) -> bool:
    """Whether a folder can be shown to be that of a run."""
    return own_record(folder)[0] is not None


def require_folder_or_nothing(path: Path) -> None:
    """Check that ``path`` is a folder, or does not exist.

    Raises:
        RunError: it is something else.
    """
    if path.is_symlink() and not path.exists():
        raise RunError(f"--out {path}: a link to {os.readlink(path)}, which is not there")
    if path.exists() and not path.is_dir():
        raise RunError(f"--out {path}: this is a file, expected a folder")


def folder_problem(directory: Path) -> str | None:
    """Why checkpoints cannot be saved in their folder; None where they can, or it is made."""
    if directory.is_symlink() and not directory.exists():
        return f"{directory} is a link to {os.readlink(directory)}, which is not there"
    if directory.exists() and not directory.is_dir():
        return f"{directory} is a file, expected a folder"
    return None


def _append(path: Path, line: bytes) -> None:
    """Add a line to a file and sync it, or leave the file as it was and raise OSError.

    A link is not followed: the file that it leads to is none of this run's.
    """
    new = not path.exists()
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    with opened(path, flags) as descriptor:
        size = os.fstat(descriptor).st_size
        try:
            write_all(descriptor, line)
            os.fsync(descriptor)
            if new:
                sync_folder(path.parent)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, size)
            raise


def _led_to(directories: Iterable[Path]) -> set[Path]:
    """Where the folders that are links lead."""
    return {
        directory.resolve()
        for directory in directories
        if directory.is_symlink() and directory.is_dir()
    }


def _is_folder(path: Path, about: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), about)
    except OSError:
        return False


def _path_of(descriptor: int) -> Path | None:
    """The present path of an open folder, where the system gives it."""
    try:
        if hasattr(fcntl, "F_GETPATH"):  # macOS
            name = fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0")
            return Path(os.fsdecode(name))
        return Path(os.readlink(f"/proc/self/fd/{descriptor}"))
    except OSError:
        return None
