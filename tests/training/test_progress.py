"""What a run says while it works: a bar or lines, one estimate of the time left, 80 columns."""

from __future__ import annotations

import fcntl
import io
import os
import re
import struct
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tinytape.models.spec import evaluate
from tinytape.training import TrainConfig, progress, resolve, session, train
from tinytape.training.checkpoint import Checkpoint
from tinytape.training.progress import Console, Progress
from tinytape.training.report import header
from tinytape.training.run_folder import RunFolder
from tinytape.training.signals import StopSignals

MODELS = ("tiny", "nested-surprise")


class Terminal(io.StringIO):
    """What is written to a terminal of 80 columns."""

    def __init__(self) -> None:
        super().__init__()
        self._ends = os.openpty()
        fcntl.ioctl(self._ends[1], termios.TIOCSWINSZ, struct.pack("HHHH", 25, 80, 0, 0))

    def __del__(self) -> None:
        for end in self._ends:
            os.close(end)

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._ends[1]


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """As stderr."""
    made = Terminal()
    monkeypatch.setattr("sys.stderr", made)
    return made


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The seconds that have passed, to be set."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: 1000.0 + now[0])
    yield now


def settings(tmp_path: Path, **more: Any) -> TrainConfig:
    (tmp_path / "cats.txt").write_text("nobody knows why the cat sat on the mat\n" * 60)
    return TrainConfig(
        **{
            "model": "tiny",
            "data": str(tmp_path / "cats.txt"),
            "out": str(tmp_path / "run"),
            "iters": 4,
            "batch_size": 2,
            "eval_interval": 2,
            **more,
        }
    )


def on_screen(written: str) -> list[str]:
    """What each carriage return left on the line of the bar."""
    return [part for part in re.split(r"[\r\n]", written) if part.strip()]


def test_on_a_terminal_there_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, output = terminal(monkeypatch), io.StringIO()
    bar = Progress(Console(output), total=10_000, start=1000, tokens_per_step=768)
    bar._bar.mininterval = 0
    bar.evaluated(1000, None, 2.5, 1e-3)
    for step in range(1001, 1100):
        bar.step(step, 2.25, 0.01)
    bar.evaluated(1099, 2.25, 2.375, 1e-3)
    bar.close()
    states = on_screen(screen.getvalue())
    assert " 1099/10000, left 1:29, loss 2.250, 76.8k tok/s" in states[-1]
    assert max(map(len, states)) <= 80
    assert min(len(s.split("|")[1]) for s in states) >= 20  # cells of the bar
    lines = output.getvalue().splitlines()
    assert lines[0] == "step  1000/10000  loss      -  held-out 2.5000  lr 1.0e-03"
    assert lines[1] == (
        "step  1099/10000  loss 2.2500  held-out 2.3750  lr 1.0e-03  76.8k tok/s"
    )  # the time left stands at the bar, and once there


def test_elsewhere_there_are_plain_lines(clock: list[float]) -> None:
    output = io.StringIO()
    lines = Progress(Console(output), total=1000, start=0, tokens_per_step=768)
    for step in range(1, 301):
        clock[0] += 0.1
        lines.step(step, 2.25, 0.1)
    lines.evaluated(300, 2.25, 2.375, 1e-3)
    lines.close()
    said = output.getvalue().splitlines()
    assert said == [
        "step 101/1000  loss 2.250  7.7k tok/s  left 1:30",
        "step 202/1000  loss 2.250  7.7k tok/s  left 1:20",
        "step  300/1000  loss 2.2500  held-out 2.3750  7.7k tok/s  left 1:10",
    ]


def test_a_long_run_speaks_rarely(clock: list[float]) -> None:
    output = io.StringIO()
    lines = Progress(Console(output), total=10**6, start=0, tokens_per_step=1)
    for step in range(1, 10**5, 10):  # a day
        clock[0] += 8.64
        lines.step(step, 2.25, 0.864)
    assert 300 < output.getvalue().count("\n") < 800


@pytest.mark.parametrize("on_terminal", [False, True])
def test_no_line_is_wider_than_80_columns(
    on_terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = terminal(monkeypatch)
    if not on_terminal:
        monkeypatch.setattr("sys.stderr", io.StringIO())
    monkeypatch.setattr(progress, "_silence", lambda elapsed: -1.0)
    output = io.StringIO()
    made = Progress(Console(output), total=999_999, start=0, tokens_per_step=10**6, eval_interval=7)
    made.step(1, 12.3456, 1.2)
    made.evaluating(0.994)
    made.evaluated(100_000, 12.3456, 12.3456, 1.234e-10, 3.0)
    made.step(100_001, 12.3456, 1.2)
    made.close()
    assert max(map(len, output.getvalue().splitlines())) <= 79
    assert all(len(part) <= 80 for part in on_screen(screen.getvalue()))


def test_the_time_left_counts_the_evaluations(clock: list[float]) -> None:
    made = Progress(Console(io.StringIO()), total=100, start=0, tokens_per_step=1, eval_interval=30)
    made.evaluated(0, None, 2.0, 1e-3, 50.0)
    assert made._left(1.0) == ""  # nobody knows how long a step takes
    made.step(1, 2.0, 1.0)
    assert made._left(1.0) == "left 4:59"  # 99 steps, and evaluations at 30, 60, 90 and 100
    made.step(60, 2.0, 1.0)
    assert made._left(0.5) == "left 2:45"  # 40 steps, half an evaluation, and two
    made.evaluated(90, 2.0, 2.0, 1e-3, 50.0)
    assert made._left(1.0) == "left 1:00"
    made.evaluated(100, 2.0, 2.0, 1e-3, 50.0)
    assert made._left(1.0) == ""


def test_how_long_that_is_is_readable() -> None:
    seconds = (0, 59.4, 59.6, 3599, 3600, 360_000)
    assert [progress._clock(s) for s in seconds] == [
        "0:00",
        "0:59",
        "1:00",
        "59:59",
        "1:00:00",
        "4d04h",
    ]


@pytest.mark.parametrize("model", MODELS)
def test_a_long_evaluation_is_not_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.setattr(progress, "_silence", lambda elapsed: -1.0)
    monkeypatch.setattr("tinytape.data.batches.EVALUATION_TOKENS", 32)
    monkeypatch.setattr(evaluate, "EVALUATION_ROWS", 2)
    output = io.StringIO()
    train(settings(tmp_path, model=model, iters=1, context=16), console=Console(output))
    shares = [int(x) for x in re.findall(r"step 0/1  evaluating (\d+)%\n", output.getvalue())]
    assert len(shares) > 3 and shares == sorted(shares) and shares[-1] == 100
    assert "step 1/1  evaluating" in output.getvalue()


def test_the_bar_shows_a_long_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    made = Progress(Console(io.StringIO()), total=10, start=0, tokens_per_step=1)
    made._bar.mininterval = 0
    made.evaluating(0.25)
    assert on_screen(screen.getvalue())[-1].endswith("| 0/10, evaluating 25%")


@pytest.mark.parametrize(("output", "bar"), [("pipe", False), ("file", True), ("terminal", True)])
def test_a_pipe_may_end_on_the_terminal_of_the_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, bar: bool
) -> None:
    """``train | tee log`` tore every line: what tee writes does not wait for the bar."""
    ours, theirs = os.openpty()
    if output == "pipe":
        reader, writer = os.pipe()
        os.close(reader)
    else:
        writer = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT) if bar else -1
        writer = os.dup(theirs) if output == "terminal" else writer
    with os.fdopen(theirs, "w") as stderr, os.fdopen(writer, "w") as stdout:
        monkeypatch.setattr("sys.stderr", stderr)
        made = Progress(Console(stdout), total=10, start=0, tokens_per_step=1)
        assert (made._bar is not None) == bar
        made.close()
        monkeypatch.undo()
    os.close(ours)


def test_a_terminal_that_goes_away_asks_for_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(Terminal):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    terminal(monkeypatch)
    made = Progress(Console(io.StringIO()), total=10, start=0, tokens_per_step=1)
    made._bar.fp = Gone()
    made._bar.sp = lambda text: Gone().write(text)
    made._bar.mininterval = 0
    with StopSignals() as stop:
        made.console.attach(stop)
        made.step(1, 1.0, 0.1)
        assert stop.requested == "the output was closed"
        made.step(2, 1.0, 0.1)
        made.close()


@pytest.mark.parametrize("model", MODELS)
def test_the_report_fits_80_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    """But for names that are longer: a path is one word."""
    monkeypatch.chdir(tmp_path)
    more: dict[str, Any] = {"data": "cats.txt", "out": "run", "iters": 1}
    if model != "tiny":
        more |= {
            "reset": "document",
            "level_memory": "16,256",
            "level_update": "sum",
            "optimizer": "sgd",
            "surprise": "second_order",
            "level_rates": "divided",
            "chunk_sizes": "100,1000,10000",
        }
    output = io.StringIO()
    given = settings(tmp_path, model=model, **more)
    train(given, console=Console(output))
    found = Checkpoint(RunFolder("run").checkpoints / "step-00000001", 1, {}, {}, {}, {}, {})
    made = session.build_session(resolve(given))
    report = output.getvalue().split("\n\n")
    lines = [*"\n".join(report[:3]).splitlines(), *header(made, RunFolder("run"), found)]
    assert "weights in run/model.safetensors" in lines  # after it, the sample
    assert max(map(len, lines)) <= 80, max(lines, key=len)


def test_a_line_cannot_command_the_terminal() -> None:
    output = io.StringIO()
    Console(output).line("a\x1b[2J\x9bb\n\u202e\tc")
    assert output.getvalue() == "a\\x1b[2J\\x9bb\\n\\u202e\tc\n"
