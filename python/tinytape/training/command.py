"""What the commands share: one-line errors, exit codes, and outputs that go away."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import TextIO

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
    """Call ``body`` and return the exit code; errors that we know become one line on stderr.

    Other exceptions pass: they are our mistakes, and their traceback is wanted.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a character the terminal cannot show is no failure
            stream.reconfigure(errors="backslashreplace")
    try:
        code = body()
        if code == 0 and sys.stdout is not None:  # what was written must have arrived
            sys.stdout.flush()
        return code
    except BrokenPipeError:
        return BROKEN_PIPE_EXIT
    except KeyboardInterrupt:
        _complain("\ninterrupted")
        return 130
    except _USAGE as error:
        _complain(f"error: {error}")
        return 2
    except MemoryError as error:  # Python's own says nothing
        _complain(f"error: {str(error) or _OUT_OF_MEMORY}")
        return 1
    except _FAILURES as error:
        _complain(f"error: {error}")
        return 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            _settle(stream)


def _complain(text: str) -> None:
    """A line on stderr, if that is still there."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


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
