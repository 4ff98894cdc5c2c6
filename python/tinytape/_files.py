"""Files that survive a crash: whole and synced before they get their name.

The order is always the same: write, fsync the file, rename, fsync the folder. A rename without the
first fsync can leave a correctly named file of zeros after a power loss; a rename without the
second can be forgotten. Modes are what the user's umask says.

Reading is for files that somebody else may have put there: regular ones only, and no more of them
than is expected.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

# What a file is to hold: all of it, or piece by piece, so that it need not be in memory at once.
Content = bytes | Iterable[bytes | memoryview]

# What a killed process can leave behind; never read. All of it may be removed but a folder that
# was moved out of the way and whose successor never got its name: see remove_leftovers.
TEMPORARY_PREFIX = ".tmp-"
# "." and ".." are names of no folder of ours, whatever a leftover is called.
_ASIDE = re.compile(re.escape(TEMPORARY_PREFIX) + r"old-(?!\.{1,2}-[0-9]+$)(.+)-[0-9]+")
_BEGUN = re.compile(re.escape(TEMPORARY_PREFIX) + r"(.+)-[0-9]+")
# What a file system says that cannot sync a folder. SQLite and PostgreSQL go on then as well: it
# keeps names as it does, and there is nothing else that a program could do.
_NO_FOLDER_SYNC = {errno.EINVAL, errno.EBADF, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
_NO_FOLDER_OPEN = {errno.EACCES, errno.EISDIR}  # one that may be written but not listed


def replace_file(path: str | os.PathLike[str], content: Content) -> None:
    """Give ``path`` the content, or leave it as it was and raise OSError.

    A link is refused: neither what it leads to nor the link itself is ours to write over.
    """
    path = Path(path)
    if path.is_symlink():
        raise OSError(errno.ELOOP, f"a link to {os.readlink(path)}, not written over", str(path))
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{os.getpid()}")
    try:
        temporary.unlink(missing_ok=True)
        write_file(temporary, content)
        os.replace(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def publish_folder(path: str | os.PathLike[str], files: Mapping[str, Content]) -> None:
    """Create the folder ``path`` with ``files``, contents by name, or raise OSError.

    A reader sees the whole folder or none of it. A folder that is there already is replaced when
    all of the new one is written, so whatever an iterator of pieces raises, a MemoryError among
    others, loses nothing; a kill while it is can leave it under another name, which
    ``remove_leftovers`` puts right. The files are written one after the other, in this order.
    """
    path = Path(path)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{os.getpid()}")
    old = path.with_name(f"{TEMPORARY_PREFIX}old-{path.name}-{os.getpid()}")
    try:
        _put_back(old, path)  # of a killed process that had this one's number
        _remove(temporary)
        temporary.mkdir()
        for name, content in files.items():
            write_file(temporary / name, content)
        sync_folder(temporary)
        if path.exists():  # rename cannot replace a folder that holds something
            os.rename(path, old)
        os.rename(temporary, path)
        sync_folder(path.parent)
    finally:
        # Whatever stopped it, an interrupt as well: the old folder goes only when the new one is
        # there. What cannot be moved back is kept for remove_leftovers.
        _put_back(old, path)
        _remove(temporary)


def discard_folder(path: Path) -> None:
    """Remove a folder. A kill on the way leaves all of it, or leftovers that nobody reads."""
    doomed = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{os.getpid()}")
    _remove(doomed)
    os.rename(path, doomed)
    _remove(doomed)


def make_folder(path: str | os.PathLike[str]) -> None:
    """Create a folder, and what is missing above it, so that a crash does not forget it."""
    path = Path(path)
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def write_file(path: Path, content: Content) -> None:
    """Create ``path``, which must not exist, write all of the content and sync it."""
    with opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as descriptor:
        for piece in [content] if isinstance(content, bytes) else content:
            write_all(descriptor, piece)
        os.fsync(descriptor)


def write_all(descriptor: int, piece: bytes | memoryview) -> None:
    """Write all of the bytes: the system may take less at a time."""
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable, where the system can sync a folder."""
    if os.name == "nt":
        return
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        if error.errno in _NO_FOLDER_OPEN:
            return
        raise
    with _naming(path), _closing(descriptor):
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _NO_FOLDER_SYNC:
                raise


@contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    """A descriptor. What fails with it names the path, which the system does not do."""
    with _naming(path):
        descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666)
        with _closing(descriptor):
            yield descriptor


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = os.fspath(path)
        raise


@contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path, names: re.Pattern[str] | None = None) -> None:
    """Remove what a killed process left half written in ``folder``, of these names alone if given.

    A kill between the two renames of a replacement leaves the old folder aside and nothing under
    its name: it is the last one that was whole for certain, so it gets its name back.
    """
    for entry in sorted(folder.glob(f"{TEMPORARY_PREFIX}*")):
        aside = _ASIDE.fullmatch(entry.name)
        begun = aside or _BEGUN.fullmatch(entry.name)
        if names is not None and not (begun and names.fullmatch(begun[1])):
            continue
        if aside:
            _put_back(entry, entry.with_name(aside[1]))
        else:
            _remove(entry)


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file for reading. OSError when it is something else that has the name.

    A pipe would be waited for, a device may never end, and opening one can have effects.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
    return open(path, "rb", opener=_open_at_once)


def read_file(path: str | os.PathLike[str], limit: int | None = None) -> bytes:
    """The content of a regular file. OSError also when it has more than ``limit`` bytes."""
    with open_regular(path) as file:
        if limit is None:
            return file.read()
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise OSError(errno.EFBIG, f"{size} bytes, expected at most {limit}", os.fspath(path))
        return file.read(size + 1)  # a file that grows meanwhile shows it, and no more


def _open_at_once(path: str, flags: int) -> int:
    """Without waiting, should a pipe have taken the file's place since it was looked at."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _put_back(old: Path, path: Path) -> None:
    """Give ``old`` its name ``path`` again, or remove it when another has the name."""
    if path.exists() or path.is_symlink():
        _remove(old)
    elif old.exists():
        os.rename(old, path)
        sync_folder(path.parent)


def _remove(path: Path) -> None:
    """Remove a file or folder, if there is one; what cannot be removed stays."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    except OSError:
        pass
