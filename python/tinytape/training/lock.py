"""One process at a time in a folder, where the file system has locks.

>>> from pathlib import Path
>>> from tinytape.training.lock import held
>>> with held(Path("runs/demo")) as warning:
...     print(warning)
None
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from .errors import RunError

# The errors of a file system without locks: a network's without a lock service, or one of FUSE;
# EBADF and EINVAL where only files have locks. SQLite continues then as well.
_NO_LOCKS = {
    errno.ENOLCK,
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EINVAL,
    errno.EBADF,
}
_HELD = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}


@contextlib.contextmanager
def held(folder: Path) -> Iterator[str | None]:
    """A ``with`` block in which no other process can hold the folder; nothing is written into it.

    Its value is a warning where the file system has no locks, so that nothing can be held, else
    None.

    Raises:
        RunError: another process holds it.
        OSError: the folder cannot be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    notice = None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _HELD:
                raise RunError(f"{folder}: another process is training in this folder") from error
            if error.errno not in _NO_LOCKS:
                error.filename = os.fspath(folder)
                raise
            notice = (
                f"warning: {folder}: this file system has no locks ({error.strerror}), so nothing "
                f"keeps a second process from training here"
            )
        yield notice
    finally:
        os.close(descriptor)  # and with it goes the lock, also when the process is killed
