"""The training of one run, in a process of its own that does not outlive the study.

The study holds one end of a pipe and writes nothing into it. The child reads the other end: when
the study closes its end or ends in any way (SIGKILL too), the child asks itself for a stop, saves
and exits.

>>> from pathlib import Path
>>> from tinytape.studies.child import how_it_ended
>>> how_it_ended(-9, Path("log.txt"))
'was killed by SIGKILL'
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from ..training.signals import StopSignals, signal_name

_LOOK = 0.2  # seconds between two looks at a stop request
# Sent by the child to itself. It never counts as a second signal, should the child have got a
# Ctrl-C or a SIGTERM of the whole group already.
_END = signal.SIGUSR1
_LINE = 4096  # of the end of a log


def train_in_child(flags: Sequence[str], log: Path, stop: StopSignals) -> int:
    """``tinytape.train FLAGS``, its outputs added to ``log``; returns the exit code.

    When ``stop`` is requested, the training is ended and waited for.

    Raises:
        OSError: the log cannot be written, or is a link or a pipe.
    """
    # With the path of this process, which may not be what ``python -m`` would look through.
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; from tinytape.studies.child import main; main()"
    )
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(log, "ab", opener=_regular_only))
        reader, writer = os.pipe()
        theirs = stack.enter_context(open(reader, "rb", buffering=0))
        ours = stack.enter_context(open(writer, "wb", buffering=0))
        process = subprocess.Popen(
            [sys.executable, "-c", code, *flags], stdin=theirs, stdout=file, stderr=file
        )
        try:
            theirs.close()
            while process.poll() is None and stop.requested is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_LOOK)
        finally:
            ours.close()
            process.wait()
    return process.returncode


def how_it_ended(code: int, log: Path) -> str:
    """The cause of a training's failure: its signal, or the last line of its log."""
    stopped = {128 + number: number for number in signal.valid_signals()}
    if code < 0:
        return f"was killed by {signal_name(-code)}"
    if code in stopped:
        return f"was stopped by {signal_name(stopped[code])}"
    with open(log, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _LINE))
        said = file.read(_LINE).decode(errors="replace").strip().splitlines()
    return said[-1] if said else f"failed with exit code {code}"


def main() -> None:
    """The child process: train as the arguments say, until the study ends."""
    from .. import train

    signal.signal(_END, signal.SIG_DFL)  # also where the study's caller ignores it
    threading.Thread(target=_end_with_the_study, daemon=True).start()
    sys.exit(train.main())


def _end_with_the_study() -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            pass
    os.kill(os.getpid(), _END)


def _regular_only(path: str, flags: int) -> int:
    """Open a log: not through a link, and not a pipe, which would be waited for."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
