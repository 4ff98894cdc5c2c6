"""Stop requests: a signal, or an output that went away, ends a run after the step in hand."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

BROKEN_PIPE_EXIT = 128 + 13  # what a shell reports for a program that SIGPIPE ended
# One request can arrive twice: timeout(1) signals the process and then its group, and a wrapper
# passes on the Ctrl-C that the terminal sent to both. Nobody asks twice as quickly as that.
ECHO = 0.1  # seconds


class StopSignals:
    """While open, SIGINT, SIGTERM and SIGHUP ask for a stop instead of killing.

    ``requested`` becomes a few words when a stop is asked for, ``exit_code`` what the process
    should return (128 + the signal's number). A second signal leaves at once, unless it is the echo
    of the first or a SIGHUP: a terminal that closes says so more than once (its shell, then the
    kernel). The old handlers come back on exit. A signal that was being ignored (``nohup``) stays
    ignored. Outside the main thread, where Python cannot install handlers, nothing is installed.
    """

    def __init__(self) -> None:
        self.requested: str | None = None
        self.exit_code = 0
        self._old: dict[int, Any] = {}
        self._signalled: float | None = None  # when the first signal came

    def request(self, reason: str, exit_code: int) -> None:
        """Ask for a stop after the step in hand. The first reason stays."""
        if self.requested is None:
            self.exit_code = exit_code
            self.requested = reason

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)  # no SIGHUP on Windows
                if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                    self._old[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._old.items():
            # None stands for a handler that was not installed from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._old.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        now = time.monotonic()
        if self._signalled is None:
            self._signalled = now
        elif name != "SIGHUP" and now - self._signalled > ECHO:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self.request(name, 128 + number)
