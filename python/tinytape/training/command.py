"""What the commands share: one-line errors, exit codes, and outputs that go away."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

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
_FAILURES = (NonFiniteError, MissingGradientError, MemoryError, OSError)


def run_command(body: Callable[[], int]) -> int:
    """Call ``body`` and return the exit code; errors that we know become one line on stderr.

    Other exceptions pass: they are our mistakes, and their traceback is wanted.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a character the terminal cannot show is no failure
            stream.reconfigure(errors="backslashreplace")
    try:
        code = body()
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _silence_stdout()
        return BROKEN_PIPE_EXIT
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except _USAGE as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except _FAILURES as error:
        print(f"error: {error or type(error).__name__}", file=sys.stderr)
        return 1


def _silence_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush does not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
