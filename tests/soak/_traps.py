"""Signals that a process sends itself from inside one phase of a command, and what it does then.

A hook of ``_launcher``. Everything from the signal on is written to a file at once, because the
process may end before it could report later.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from tinytape import sampling
from tinytape.models.spec import evaluate
from tinytape.nn import functional as F
from tinytape.training import loop, session

from ._intercept import Call, Intercept

PHASES = (
    "start-up",  # before there is anything to save
    "restoring",  # the checkpoint that the run goes on from
    "first evaluation",
    "first step",
    "training",
    "between two batches",  # of one step, whose gradients are accumulated
    "update",  # the gradients are there, the weights are about to change
    "evaluation",
    "metrics",
    "saving",
    "saving the best",
    "rotation",
    "final weights",
    "sampling",
)
NUMBERS = {
    name: getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGXCPU")
}


class Trap:
    """Sends the signals, once, and keeps the record; or waits until the output was closed."""

    def __init__(self, record: str, names: list[str], pause: float) -> None:
        self._closed = f"{record}.closed"
        self._record = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        self._numbers = [NUMBERS[name] for name in names]
        self._pause = pause
        self.sprung = False

    def note(self, what: str) -> None:
        if self.sprung:
            line = json.dumps([what, time.monotonic()]) + "\n"
            os.write(self._record, line.encode())

    def spring(self) -> None:
        if self.sprung:
            return
        self.sprung = True
        while not self._numbers and not os.path.exists(self._closed):
            time.sleep(0.001)
        for i, number in enumerate(self._numbers):
            if i:
                time.sleep(self._pause)
            self.note("signal")
            os.kill(os.getpid(), number)


@contextmanager
def trapped(
    phase: str, names: list[str], record: str, pause: float = 0.0, terminal: bool = False
) -> Iterator[None]:
    """Send the signals from inside the phase, ``pause`` seconds apart."""
    if terminal:  # the one on the output becomes this process's own: its end is told by SIGHUP
        os.setsid()
        fcntl.ioctl(1, termios.TIOCSCTTY, 0)
    trap = Trap(record, names, pause)
    before = [signal.getsignal(number) for number in NUMBERS.values()]
    with ExitStack() as stack:

        def around(owner: Any, name: str, first: Callable[[int], None]) -> None:
            """Call ``first`` with the number of the call, then the function."""
            real, count = getattr(owner, name), 0

            def wrapped(*args: Any, **named: Any) -> Any:
                nonlocal count
                if named.get("reduction") != "none":  # the losses of an evaluation
                    count += 1
                    first(count)
                return real(*args, **named)

            stack.enter_context(patch.object(owner, name, wrapped))

        def at(owner: Any, name: str, number: int) -> None:
            around(owner, name, lambda count: trap.spring() if count == number else None)

        def batches(*args: Any) -> Iterator[Any]:
            nonlocal evaluations
            evaluations += 1
            for number, batch in enumerate(real_batches(*args)):
                if number == 1 and evaluations == {"first evaluation": 1, "evaluation": 3}.get(
                    phase
                ):
                    trap.spring()
                trap.note("evaluated batch")
                yield batch

        def disk(call: Call) -> Any:
            parts = call.path.split("/")
            if call.name == "mkdir" and parts[-1].startswith(".tmp-step"):
                trap.note("best" if parts[-2] == "best" else "saving")
            step = parts[-2:] == ["checkpoints", "step-00000000"]
            here = {
                "metrics": call.name == "fsync" and parts[-1] == "metrics.jsonl",
                "saving": call.name == "write"
                and parts[-3] == "checkpoints"
                and parts[-1] == "train_state.safetensors"
                and "-00000004" in parts[-2],
                "saving the best": call.name == "rename" and parts[-2] == "best",
                "rotation": call.name == "rename" and step,
                "final weights": call.name == "replace" and "model.safetensors" in parts[-1],
            }
            if here.get(phase):
                trap.spring()
            return call.do()

        evaluations = 0
        real_batches = evaluate.held_out_batches
        stack.enter_context(patch.object(evaluate, "held_out_batches", batches))
        stack.enter_context(Intercept(disk))
        if phase == "start-up":
            at(loop, "build_session", 1)
        if phase == "restoring":
            at(session.Session, "restore", 1)
        if phase == "update":
            at(loop.tt.nn.utils, "clip_grad_norm_", 3)
        token = 5 if phase == "sampling" else None
        around(
            sampling,
            "choose",
            lambda count: trap.spring() if count == token else trap.note("token"),
        )
        which = {"first step": 1, "training": 7, "between two batches": 8}.get(phase)
        batches_done = 0

        def trained(count: int) -> None:
            nonlocal batches_done
            batches_done = count
            if count == which:
                trap.spring()
            else:
                trap.note("training batch")

        around(F, "cross_entropy", trained)
        yield
    trap.note(f"{batches_done} batches")
    after = [signal.getsignal(number) for number in NUMBERS.values()]
    trap.note("handlers are back" if after == before else f"handlers: {after}")
