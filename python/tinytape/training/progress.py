"""The output of a run while it trains: a bar on a terminal, plain lines anywhere else.

No line needs more than 80 columns, so that none wraps, and the bar has a third of them.

>>> import sys
>>> from tinytape.training.progress import Console
>>> Console(sys.stdout).line("step 1")
step 1
"""

from __future__ import annotations

import os
import stat
import sys
import time
from typing import Any, TextIO

from .._terminal import printable
from .signals import BROKEN_PIPE_EXIT, StopSignals

HEARTBEAT = 10.0  # seconds


class Console:
    """Lines to ``stream``. An output that was closed becomes a request to stop, not an exception.

    Control characters are escaped: lines may hold names of files, and text that a model wrote.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        # None where the process was started without an output: there is no reader then, and
        # nothing goes away either.
        self.stream: TextIO | None = sys.stdout if stream is None else stream
        self._stop: StopSignals | None = None
        self._lost = False

    def attach(self, stop: StopSignals) -> None:
        """Set the stop signals that a closed output asks for a stop, also when it is closed now."""
        self._stop = stop
        if self._lost:
            self.lost()

    def line(self, text: str = "") -> None:
        """Print a line."""
        if self.stream is not None:
            try:
                self._write(printable(text, keep="\t") + "\n")
            except (OSError, ValueError):  # broken pipe, closed terminal, closed file
                self.stream = None
                self.lost()

    def lost(self) -> None:
        """An output was closed, this one or the bar's: the run ends after the current step."""
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
        eval_interval: steps from one evaluation to the next; 0 for none.
    """

    def __init__(
        self,
        console: Console,
        *,
        total: int,
        start: int,
        tokens_per_step: int,
        eval_interval: int = 0,
    ) -> None:
        self.console = console
        self.total = total
        self.tokens_per_step = tokens_per_step
        self.eval_interval = eval_interval
        self._done = start
        self._loss = 0.0  # smoothed, over the steps seen here
        self._seen = 0
        self._steps = 0.0  # of late, and the seconds that they took
        self._seconds = 0.0
        self._evaluation = 0.0  # seconds that the last one took
        self._begun = self._spoke = time.perf_counter()
        self._state = f"{start}/{total}"  # what stands beside the bar
        self._drawn = 0.0  # when it was
        self._bar: Any = None
        if _may_draw(console):
            from tqdm import tqdm

            self._bar = tqdm(
                total=total,
                initial=start,
                dynamic_ncols=True,
                desc=self._state,
                bar_format="{percentage:3.0f}%|{bar}| {desc}",
            )

    def step(self, done: int, loss: float, seconds: float) -> None:
        """One optimiser step took ``seconds``; ``done`` steps are done in all."""
        self._done = done
        self._seen += 1
        weight = max(0.02, 1 / self._seen)  # a mean at first, then one that forgets
        self._loss += weight * (loss - self._loss)
        keep = 0.99  # the rate forgets, so that it follows a machine that gets busy
        self._steps = keep * self._steps + 1
        self._seconds = keep * self._seconds + seconds
        self._show(*self._facts())

    def evaluating(self, share: float) -> None:
        """A fraction ``share`` of the current evaluation is done."""
        self._show(f"evaluating {share:.0%}", share=share)

    def evaluated(
        self, done: int, train: float | None, held_out: float, lr: float, seconds: float = 0.0
    ) -> None:
        """A held-out loss was measured, which took ``seconds``."""
        self._done, self._evaluation = done, seconds
        loss = "     -" if train is None else f"{train:.4f}"
        # With a bar, the time left stands there.
        last = (f"lr {lr:.1e}", self._rate()) if self._bar else (self._rate(), self._left(1.0))
        step = f"step {done:>{len(str(self.total))}}/{self.total}"
        self._say(_joined("  ", step, f"loss {loss}", f"held-out {held_out:.4f}", *last))
        self._show(*self._facts())

    def note(self, text: str) -> None:
        """A line that stays."""
        self._say(text)

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._guarded(self._finish)

    def _show(self, *facts: str, share: float = 1.0) -> None:
        """Where the run is: on the bar; or, after some silence, on a line."""
        now = time.perf_counter()
        if self._bar is not None:
            # The time left comes early: a narrow terminal cuts off the end of the line.
            done = f"{self._done}/{self.total}"
            self._state = _joined(", ", done, self._left(share), *facts)
            if now - self._drawn >= self._bar.mininterval:
                self._drawn = now
                self._guarded(self._draw)
        elif now - self._spoke > _silence(now - self._begun):
            step = f"step {self._done}/{self.total}"
            self._say(_joined("  ", step, *facts, self._left(share)))

    def _finish(self) -> None:
        self._draw()
        self._bar.close()

    def _draw(self) -> None:
        self._bar.n = self._done
        self._bar.set_description_str(self._state)

    def _facts(self) -> tuple[str, ...]:
        return (f"loss {self._loss:.3f}", self._rate()) if self._seen else ()

    def _rate(self) -> str:
        if not self._seconds:
            return ""
        return f"{_short(self._steps / self._seconds * self.tokens_per_step)} tok/s"

    def _left(self, share: float) -> str:
        """The time left, from the fraction of the current evaluation that is done."""
        if not self._seconds or (self._done == self.total and share == 1.0):
            return ""
        seconds = (self.total - self._done) * self._seconds / self._steps
        evaluations = 1.0 - share
        if self.eval_interval and self._done < self.total:
            evaluations += self.total // self.eval_interval - self._done // self.eval_interval
            evaluations += self.total % self.eval_interval > 0
        return f"left {_clock(seconds + evaluations * self._evaluation)}"

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


def _silence(elapsed: float) -> float:
    """Seconds without a line after which a plain output says that the run is alive.

    They are more in a long run, which would print thousands of lines.
    """
    return max(HEARTBEAT, elapsed / 100)


def _may_draw(console: Console) -> bool:
    """Whether stderr is a terminal to which no other process writes."""
    if sys.stderr is None or not sys.stderr.isatty():
        return False
    try:
        mode = os.fstat(console.stream.fileno()).st_mode if console.stream else 0
    except (OSError, ValueError):  # a stream of Python's own, or one that was closed
        return True
    return not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode))


def _joined(separator: str, *texts: str) -> str:
    """The texts that say something, side by side."""
    return separator.join(text for text in texts if text)


def _short(number: float) -> str:
    return f"{number / 1000:.1f}k" if number >= 1000 else f"{number:.0f}"


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds; days and hours where seconds are no matter."""
    whole = round(seconds)
    minutes, hours = whole // 60 % 60, whole // 3600
    if hours >= 100:
        return f"{hours // 24}d{hours % 24:02d}h"
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
