"""Files that survive a crash: they are complete and synced before they get their name.

The order is always the same: write, fsync the file, rename, fsync the folder. After a power loss, a
rename without the first fsync can leave a file of zeros under the right name, and a rename without
the second fsync can be lost. File modes follow the user's umask.

Files to read may come from anybody: only regular files are opened, and no more of a file is read
than the caller expects.
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

# The content of a file: all at once, or in pieces, so that memory need not hold all of it.
Content = bytes | Iterable[bytes | memoryview]

# A killed process can leave files and folders with this prefix. They are never read, and all may be
# removed but one kind: an old folder whose replacement never got its name (see remove_leftovers).
TEMPORARY_PREFIX = ".tmp-"
# Never rename a leftover to "." or "..", even if its name contains one.
_ASIDE = re.compile(re.escape(TEMPORARY_PREFIX) + r"old-(?!\.{1,2}-[0-9]+$)(.+)-[0-9]+")
_BEGUN = re.compile(re.escape(TEMPORARY_PREFIX) + r"(.+)-[0-9]+")
# Errors of a file system that cannot sync a folder. The program then continues, as SQLite and
# PostgreSQL do: it can do nothing else to make names durable.
_NO_FOLDER_SYNC = {errno.EINVAL, errno.EBADF, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
_NO_FOLDER_OPEN = {errno.EACCES, errno.EISDIR}  # a folder that may be written but not listed


def replace_file(path: str | os.PathLike[str], content: Content) -> None:
    """Give ``path`` the content, or leave it as it was and raise OSError.

    A link is refused: tinytape overwrites neither links nor their targets.
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

    A reader sees the whole folder or none of it. An existing folder is replaced only after all of
    the new one is written, so an error of an iterator of pieces, such as a MemoryError, loses
    nothing. A kill during the replacement can leave the old folder under another name;
    ``remove_leftovers`` gives its name back. The files are written in the order of ``files``.
    """
    path = Path(path)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{os.getpid()}")
    old = path.with_name(f"{TEMPORARY_PREFIX}old-{path.name}-{os.getpid()}")
    try:
        _put_back(old, path)  # left by a killed process with the same id
        _remove(temporary)
        temporary.mkdir()
        for name, content in files.items():
            write_file(temporary / name, content)
        sync_folder(temporary)
        if path.exists():  # rename cannot replace a folder that is not empty
            os.rename(path, old)
        os.rename(temporary, path)
        sync_folder(path.parent)
    finally:
        # After any error, also an interrupt: the old folder is removed only if the new one exists.
        # A folder that cannot be moved back stays for remove_leftovers.
        _put_back(old, path)
        _remove(temporary)


def discard_folder(path: Path) -> None:
    """Remove a folder. A kill meanwhile leaves all of it, or leftovers that are never read."""
    doomed = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{os.getpid()}")
    _remove(doomed)
    os.rename(path, doomed)
    _remove(doomed)


def make_folder(path: str | os.PathLike[str]) -> None:
    """Create a folder and its missing parents, synced so that a crash does not lose them."""
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
    """Write all of the bytes; one call of the system may write only some of them."""
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
    """A descriptor. Errors with it name the path, which the system's own errors do not."""
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
    """Remove a killed process's half-written files in ``folder``; if given, only of these names."""
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
    """Open a regular file for reading; OSError for anything else.

    Reading a pipe could wait for ever, a device may never end, and opening a device can have
    effects.
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
        return file.read(size + 1)  # one byte more: shows that a file grew meanwhile


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting, in case a pipe has replaced the file since it was checked."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _put_back(old: Path, path: Path) -> None:
    """Rename ``old`` back to ``path``, or remove it if something else has that name."""
    if path.exists() or path.is_symlink():
        _remove(old)
    elif old.exists():
        os.rename(old, path)
        sync_folder(path.parent)


def _remove(path: Path) -> None:
    """Remove a file or folder if it exists; ignore errors."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    except OSError:
        pass
