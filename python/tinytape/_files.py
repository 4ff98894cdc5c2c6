"""Files that survive a crash: whole and synced before they get their name.

The order is always the same: write, fsync the file, rename, fsync the folder. A rename without the
first fsync can leave a correctly named file of zeros after a power loss; a rename without the
second can be forgotten. Modes are what the user's umask says.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

TEMPORARY_PREFIX = ".tmp-"  # what a killed process can leave behind; never read, safe to remove


def replace_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Give ``path`` the content, or leave it as it was and raise OSError."""
    path = Path(path)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{os.getpid()}")
    try:
        temporary.unlink(missing_ok=True)
        write_file(temporary, content)
        os.replace(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def publish_folder(path: str | os.PathLike[str], files: Mapping[str, bytes]) -> None:
    """Create the folder ``path`` with ``files``, contents by name, or raise OSError.

    A reader sees the whole folder or none of it. A folder that is there already is replaced.
    """
    path = Path(path)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{os.getpid()}")
    old = path.with_name(f"{TEMPORARY_PREFIX}old-{path.name}-{os.getpid()}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        for name, content in files.items():
            write_file(temporary / name, content)
        sync_folder(temporary)
        if path.exists():  # rename cannot replace a folder that holds something
            shutil.rmtree(old, ignore_errors=True)
            os.rename(path, old)
        try:
            os.rename(temporary, path)
        except OSError:
            if old.exists():
                os.rename(old, path)
            raise
        sync_folder(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_file(path: Path, content: bytes) -> None:
    """Create ``path``, which must not exist, write all of the content and sync it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o666)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable (where the system can sync a folder)."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process left half written in ``folder``."""
    for entry in folder.glob(f"{TEMPORARY_PREFIX}*"):
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
