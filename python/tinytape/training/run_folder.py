"""A run folder: the names of its files, who may write there, and its metrics.

config.json         resolved settings, model, corpus with its hash
tokenizer.json      characters and their ids
metrics.jsonl       one line per evaluation
checkpoints/        see checkpoint.py
best/               the checkpoint of the best held-out loss
model.safetensors   the final weights, written when the run is complete
curve.png           drawn by ``python -m tinytape.plot``
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
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
from .._json import parse
from .checkpoint import is_checkpoint_name
from .errors import RunError
from .json_records import MEBIBYTE, RECORD_LIMIT
from .lock import held
from .run_config import pack_config, unpack_config

# A line has less than 1 kB; 100,000 evaluations have less than this.
_LINE_LIMIT = 1 << 16
_METRICS_LIMIT = 64 * MEBIBYTE


class RunFolder:
    """The files of one run, by name."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.config = self.path / "config.json"
        self.tokenizer = self.path / "tokenizer.json"
        self.metrics = self.path / "metrics.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self.best = self.path / "best"
        self.model = self.path / "model.safetensors"
        self.curve = self.path / "curve.png"
        self._files = (self.model, self.metrics, self.tokenizer, self.curve, self.config)

    def __str__(self) -> str:
        return str(self.path)

    @contextlib.contextmanager
    def held(self) -> Iterator[str | None]:
        """Within it no other process trains here. The folder is made if it is not there.

        Gives a warning where the file system cannot keep that.

        Raises:
            RunError: another process does, or this is a file.
        """
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"--out {self}: this is a file, expected a folder")
        make_folder(self.path)
        with held(self.path) as notice:
            yield notice

    def claim(self, *, overwrite: bool) -> None:
        """Make the folder ready for a new run.

        Raises:
            RunError: it holds a run and ``overwrite`` is False, or it holds something else.
        """
        self.remove_leftovers()
        held = {p.name for p in self.path.iterdir()} if self.path.is_dir() else set()
        own = (*self._files, self.checkpoints, self.best)
        foreign = sorted(held - {p.name for p in own})
        if foreign and self.config.name not in held:
            raise RunError(
                f"--out {self}: the folder holds {foreign[0]!r} and is not a run; choose another"
            )
        if self.config.name in held and not overwrite:
            raise RunError(
                f"{self} holds a run already; add --resume to go on with it, --overwrite to "
                f"start it again, or --out for another folder"
            )
        # Only what a run writes is removed, the config last: without it this is no run any more.
        for folder in (self.checkpoints, self.best):
            shutil.rmtree(folder, ignore_errors=True)
        for file in self._files:
            file.unlink(missing_ok=True)
        make_folder(self.path)

    def require_run(self) -> None:
        """Raise RunError unless this folder holds a run."""
        if not self.config.is_file():
            there = "holds no config.json" if self.path.is_dir() else "is not there"
            raise RunError(f"{self} {there}; expected the folder of a run (runs/NAME)")

    def read_config(self) -> dict[str, Any]:
        """The run's ``config.json``."""
        self.require_run()
        return unpack_config(read_file(self.config, RECORD_LIMIT), self.config)

    def write_config(self, record: Mapping[str, Any]) -> None:
        replace_file(self.config, pack_config(record))

    def remove_leftovers(self) -> None:
        """Remove the temporary files of a process that was killed."""
        for folder in (self.path, self.checkpoints, self.best):
            if folder.is_dir():
                remove_leftovers(folder)

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Add one line to ``metrics.jsonl`` and sync it, ahead of the checkpoint that counts it.

        Raises:
            OSError: it could not be written, and none of it is there.
        """
        _append(self.metrics, (json.dumps(record) + "\n").encode())

    def read_metrics(self) -> list[dict[str, Any]]:
        """The evaluations in order. A last line that a kill cut short is left out."""
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
            number = 0
            while line := file.readline(_LINE_LIMIT + 1):
                number += 1
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
        """Replace the evaluations."""
        replace_file(self.metrics, ((json.dumps(r) + "\n").encode() for r in records))


def run_of(path: str | os.PathLike[str]) -> tuple[Path, Path | None]:
    """A run folder and None; or, if ``path`` is a checkpoint, its run and the checkpoint."""
    path = Path(path)
    if is_checkpoint_name(path):
        return path.parent.parent, path
    return path, None


def _append(path: Path, line: bytes) -> None:
    """Add a line to a file and sync it, or leave the file as it was and raise OSError."""
    new = not path.exists()
    with opened(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as descriptor:
        size = os.fstat(descriptor).st_size
        try:
            write_all(descriptor, line)
            os.fsync(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, size)
            raise
    if new:
        sync_folder(path.parent)
