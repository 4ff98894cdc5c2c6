"""The common part of the commands: lines, one-line errors, exit codes, and closed outputs.

>>> from tinytape.training.command import say
>>> say("step 1")
step 1
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable
from typing import TextIO

from .._terminal import printable
from ..data import DataError
from ..errors import NonFiniteError
from .errors import (
    CheckpointError,
    ConfigError,
    MissingExtraError,
    MissingGradientError,
    RunError,
)
from .signals import BROKEN_PIPE_EXIT

# The user can put these right: exit code 2, as for a wrong flag.
_USAGE = (DataError, ConfigError, RunError, CheckpointError, MissingExtraError)
# These happened to a run that was asked for correctly: exit code 1.
_FAILURES = (NonFiniteError, MissingGradientError, OSError)
_OUT_OF_MEMORY = "out of memory: the system gave no more; what was saved before is whole"


def run_command(body: Callable[[], int]) -> int:
    """Call ``body`` and return the exit code; errors of the user become one line on stderr.

    Other exceptions pass: they are errors of tinytape, and their traceback is needed.
    """
    _occupy_closed_descriptors()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a character the terminal cannot show is no failure
            stream.reconfigure(errors="backslashreplace")
    try:
        code = body()
        if code == 0 and sys.stdout is not None:  # the output must have arrived
            sys.stdout.flush()
        return code
    except BrokenPipeError:
        return BROKEN_PIPE_EXIT
    except KeyboardInterrupt:
        complain("")  # the terminal's ^C gets a line of its own
        complain("interrupted")
        return 130
    except _USAGE as error:
        complain(f"error: {error}")
        return 2
    except MemoryError as error:  # Python's own has no message
        complain(f"error: {str(error) or _OUT_OF_MEMORY}")
        return 1
    except _FAILURES as error:
        complain(f"error: {error}")
        return 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            _settle(stream)


def say(line: str = "") -> None:
    """Print a line on stdout, if there is one. Control characters in it are escaped."""
    print(printable(line), flush=True)


def complain(line: str) -> None:
    """Print a line on stderr, if that is still there. Control characters in it are escaped."""
    if sys.stderr is not None:  # print would take stdout
        with contextlib.suppress(OSError, ValueError):
            print(printable(line), file=sys.stderr, flush=True)


def text_writer() -> Callable[[str], None]:
    """A function that writes pieces of the text that a command was asked for to stdout, at once.

    On a terminal, control characters are escaped; a file or a pipe gets the text as it is.

    Raises:
        OSError: stdout was closed from the start, so the text need not be made.
    """
    stream = sys.stdout
    if stream is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "standard output")
    shown = (lambda text: printable(text, keep="\n\t")) if stream.isatty() else str

    def write(text: str) -> None:
        stream.write(shown(text))
        stream.flush()

    return write


def _occupy_closed_descriptors() -> None:
    """Open the null device in place of outputs that were closed from the start.

    The next file that is opened would otherwise get their number, and the messages of a library.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free


def _settle(stream: TextIO | None) -> None:
    """Flush a stream; one that cannot be flushed is pointed at nothing.

    The interpreter's last flush would otherwise complain, and turn the exit code into its own.
    """
    if stream is None:  # the process was started without it
        return
    try:
        stream.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, stream.fileno())
            os.close(nothing)
