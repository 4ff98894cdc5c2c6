"""Stop requests: a signal, or a closed output, ends a run after the current step.

>>> from tinytape.training.signals import StopSignals
>>> with StopSignals() as stop:
...     stop.request("enough", 0)
...     print(stop.requested)
enough
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

BROKEN_PIPE_EXIT = 128 + 13  # the exit code of a program that SIGPIPE ended, in a shell
# One request can arrive twice: timeout(1) signals the process and then its group, and a wrapper
# passes on the Ctrl-C that the terminal sent to both. On a busy machine the second one may be late.
# A user who sends two within this time has to send a third: that is better than an unsaved step.
ECHO = 0.5  # seconds

# Sent by people and by programs for them; a second one of these leaves at once.
_ORDERS = ("SIGINT", "SIGTERM", "SIGQUIT")
# A terminal that closes. It is sent more than once: by the shell, then by the kernel.
_HANGUP = "SIGHUP"
# Not stop requests: faults of the program itself, signals that do not end a process, and signals
# that cannot be handled.
_OTHERS = (
    "SIGABRT",
    "SIGBUS",
    "SIGEMT",
    "SIGFPE",
    "SIGILL",
    "SIGSEGV",
    "SIGSYS",
    "SIGTRAP",
    "SIGCHLD",
    "SIGCONT",
    "SIGINFO",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGWINCH",
    "SIGKILL",
    "SIGSTOP",
)
# Time between the soft limit of processor time and the hard one, where there is none: enough to
# finish the current step and to save.
_CPU_MARGIN = 30  # seconds, of at least ten times as many


class StopSignals:
    """While open, every signal that would end the process asks for a stop instead.

    ``requested`` becomes a short text when a stop is asked for, ``exit_code`` what the process
    should return (128 + the signal's number). SIGINT, SIGTERM and SIGQUIT leave at once when one of
    them, or SIGHUP, has come before, unless they are its echo. The others announce an end that is
    near (SIGXCPU once a second; batch systems send SIGUSR1, and then SIGTERM): they ask, and never
    leave at once.

    The old handlers come back on exit. A signal that was being ignored (``nohup``) stays ignored,
    and one besides SIGINT, SIGTERM and SIGHUP that the program handles already keeps its handler.
    Outside the main thread, where Python cannot install handlers, nothing is installed.
    """

    def __init__(self) -> None:
        self.requested: str | None = None
        self.exit_code = 0
        self._old: dict[int, Any] = {}
        self._ordered: float | None = None  # when the first order or hangup came
        self._stack = contextlib.ExitStack()

    def request(self, reason: str, exit_code: int) -> None:
        """Ask for a stop after the current step. The first reason stays."""
        if self.requested is None:
            self.exit_code = exit_code
            self.requested = reason

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in _stopping():
                self._old[number] = signal.signal(number, self._handle)
            self._stack.enter_context(_notice_of_the_cpu_limit())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
        for number, handler in self._old.items():
            # None stands for a handler that was not installed from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._old.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        name, now = signal_name(number), time.monotonic()
        if name in _ORDERS and self._ordered is not None and now - self._ordered > ECHO:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        if name in (*_ORDERS, _HANGUP) and self._ordered is None:
            self._ordered = now
        self.request(name, 128 + number)


def signal_name(number: int) -> str:
    """``SIGTERM`` and so on, also of a real-time signal that has no name of its own."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


def _stopping() -> Iterator[int]:
    """The signals that would end this process."""
    for number in sorted(signal.valid_signals()):
        name, handler = signal_name(number), signal.getsignal(number)
        if handler == signal.SIG_IGN or name in _OTHERS:
            continue
        if handler == signal.SIG_DFL or name in ("SIGINT", "SIGTERM", _HANGUP):
            yield number


@contextlib.contextmanager
def _notice_of_the_cpu_limit() -> Iterator[None]:
    """Where processor time is limited without a notice, let one come ahead of the end.

    ``ulimit -t`` sets the soft limit, at which SIGXCPU comes, and the hard one, at which SIGKILL
    does, to the same number of seconds: nothing could be saved.
    """
    try:
        import resource
    except ImportError:  # not on Windows
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if soft != hard or hard == resource.RLIM_INFINITY:
        yield
        return
    early = max(1, hard - min(_CPU_MARGIN, -(-hard // 10)))
    resource.setrlimit(resource.RLIMIT_CPU, (early, hard))
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):  # somebody lowered the hard one meanwhile
            resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))
