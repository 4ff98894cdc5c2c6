"""What a run says while it works: a bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from .signals import BROKEN_PIPE_EXIT, StopSignals

HEARTBEAT = 10.0  # seconds of silence after which a plain output says that it is alive


class Console:
    """Lines to ``stream``. An output that goes away becomes a request to stop, not an exception."""

    def __init__(self, stream: TextIO | None = None) -> None:
        # None where the process was started without an output: nobody is listening then, and
        # nothing goes away either.
        self.stream: TextIO | None = sys.stdout if stream is None else stream
        self._stop: StopSignals | None = None
        self._lost = False

    def attach(self, stop: StopSignals) -> None:
        """Where to ask for a stop when the output goes away, or has gone already."""
        self._stop = stop
        if self._lost:
            self.lost()

    def line(self, text: str = "") -> None:
        if self.stream is not None:
            try:
                self._write(text + "\n")
            except (OSError, ValueError):  # broken pipe, closed terminal, closed file
                self.stream = None
                self.lost()

    def lost(self) -> None:
        """An output is gone, this one or the bar's: the run ends after the step in hand."""
        self._lost = True
        if self._stop is not None:
            self._stop.request("the output was closed", BROKEN_PIPE_EXIT)

    def _write(self, text: str) -> None:
        assert self.stream is not None
        try:
            self.stream.write(text)
        except UnicodeEncodeError:  # a character that the stream does not have
            self.stream.write(text.encode("ascii", "backslashreplace").decode())
        self.stream.flush()


class Progress:
    """The state of a run on one line, refreshed or repeated.

    Args:
        console: where the lines of the evaluations go.
        total: steps of the whole run.
        start: steps already done.
        tokens_per_step: targets in one step.
    """

    def __init__(self, console: Console, *, total: int, start: int, tokens_per_step: int) -> None:
        self.console = console
        self.total = total
        self.tokens_per_step = tokens_per_step
        self.held_out: float | None = None
        self._loss = 0.0  # smoothed, over the steps seen here
        self._seen = 0
        self._steps = 0.0  # of late, and the seconds that they took
        self._seconds = 0.0
        self._spoke = time.perf_counter()
        self._bar: Any = None
        if sys.stderr is not None and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=total, initial=start, unit="it", dynamic_ncols=True, smoothing=0.1,
                bar_format="{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} "
                "[{elapsed}<{remaining}]{postfix}",
            )  # fmt: skip

    def step(self, done: int, loss: float, seconds: float) -> None:
        """One optimiser step took ``seconds``; ``done`` steps are done in all."""
        self._seen += 1
        weight = max(0.02, 1 / self._seen)  # a mean at first, then one that forgets
        self._loss += weight * (loss - self._loss)
        keep = 0.99  # the rate forgets, so that it follows a machine that gets busy
        self._steps = keep * self._steps + 1
        self._seconds = keep * self._seconds + seconds
        if self._bar is not None:
            self._guarded(self._advance, done)
        elif time.perf_counter() - self._spoke > HEARTBEAT:
            self._say(f"step {done}/{self.total}  loss {self._loss:.4f}  {self._rate(done)}")

    def evaluated(self, done: int, train: float | None, held_out: float, lr: float) -> None:
        """A held-out loss was measured."""
        self.held_out = held_out
        loss = "     -" if train is None else f"{train:.4f}"
        text = (
            f"step {done:>{len(str(self.total))}}/{self.total}  loss {loss}  "
            f"held-out {held_out:.4f}  lr {lr:.2e}"
        )
        if self._bar is not None and self._seconds:
            self._bar.set_postfix_str(self._postfix(), refresh=False)
        self._say(f"{text}  {self._rate(done)}" if self._seconds else text)

    def note(self, text: str) -> None:
        """A line that stays."""
        self._say(text)

    def close(self) -> None:
        if self._bar is not None:
            self._guarded(self._bar.close)

    def _advance(self, done: int) -> None:
        self._bar.set_postfix_str(self._postfix(), refresh=False)
        self._bar.update(done - self._bar.n)

    def _postfix(self) -> str:
        held_out = "" if self.held_out is None else f"held-out {self.held_out:.3f}, "
        rate = self._steps / self._seconds
        tokens = _short(rate * self.tokens_per_step)
        return f"loss {self._loss:.3f}, {held_out}{rate:.1f} it/s, {tokens} tok/s"

    def _rate(self, done: int) -> str:
        rate = self._steps / self._seconds
        left = (self.total - done) / rate
        return (
            f"{rate:.1f} it/s  {_short(rate * self.tokens_per_step)} tok/s  "
            f"left {int(left) // 60}:{int(left) % 60:02d}"
        )

    def _say(self, text: str) -> None:
        self._spoke = time.perf_counter()
        if self._bar is not None:
            self._guarded(self._bar.clear)
        self.console.line(text)
        if self._bar is not None:
            self._guarded(self._bar.refresh)

    def _guarded(self, call: Any, *arguments: Any) -> None:
        """Draw, unless the terminal is gone."""
        try:
            call(*arguments)
        except (OSError, ValueError):
            if self._bar is not None:
                self._bar.disable = True  # or its destructor draws once more
                self._bar = None
            self.console.lost()


def _short(number: float) -> str:
    return f"{number / 1000:.1f}k" if number >= 1000 else f"{number:.0f}"
