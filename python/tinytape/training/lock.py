"""One process at a time in a folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from .errors import RunError


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Within it no other process can hold the folder; nothing is written into it.

    Raises:
        RunError: another process holds it.
        OSError: the folder cannot be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(f"{folder}: another process is training in this folder") from error
        yield
    finally:
        os.close(descriptor)  # and with it goes the lock, also when the process is killed
