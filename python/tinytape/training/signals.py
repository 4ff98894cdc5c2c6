"""Stop requests: a signal, or an output that went away, ends a run after the step in hand."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

BROKEN_PIPE_EXIT = 128 + 13  # what a shell reports for a program that SIGPIPE ended


class StopSignals:
    """While open, SIGINT, SIGTERM and SIGHUP ask for a stop instead of killing.

    ``requested`` becomes a few words when a stop is asked for, ``exit_code`` what the process
    should return (128 + the signal's number). A second signal leaves at once. The old handlers come
    back on exit. A signal that was being ignored (``nohup``) stays ignored. Outside the main
    thread, where Python cannot install handlers, nothing is installed.
    """

    def __init__(self) -> None:
        self.requested: str | None = None
        self.exit_code = 0
        self._old: dict[int, Any] = {}

    def request(self, reason: str, exit_code: int) -> None:
        """Ask for a stop after the step in hand. The first reason stays."""
        if self.requested is None:
            self.requested = reason
            self.exit_code = exit_code

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
        if self.requested is not None:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self.request(signal.Signals(number).name, 128 + number)
