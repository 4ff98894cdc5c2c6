"""Stop requests: the first signal asks, the second kills, the old handlers come back."""

from __future__ import annotations

import dataclasses
import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tinytape.training import RunFolder, TrainConfig, latest_checkpoint, loop, signals, train
from tinytape.training.progress import Console
from tinytape.training.signals import ECHO, StopSignals

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


# Those that end a process: by default, not for a fault of its own, and not beyond all handling.
ENDING = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGXCPU", "SIGALRM"]
ENDING += ["SIGVTALRM", "SIGPROF", "SIGIO", "SIGPWR", "SIGSTKFLT", "SIGRTMIN", "SIGRTMAX"]


@pytest.mark.parametrize("name", [name for name in ENDING if hasattr(signal, name)])
def test_a_signal_becomes_a_request(name: str) -> None:
    number = getattr(signal, name)
    before = signal.getsignal(number)
    with StopSignals() as stop:
        assert stop.requested is None and stop.exit_code == 0
        signal.raise_signal(number)
        assert stop.requested == signal.Signals(number).name
        assert stop.exit_code == 128 + number
    assert signal.getsignal(number) is before


@pytest.mark.skipif(not hasattr(signal, "SIGRTMIN"), reason="no real-time signals")
def test_a_signal_without_a_name_of_its_own() -> None:
    with StopSignals() as stop:
        signal.raise_signal(signal.SIGRTMIN + 3)
        assert (stop.requested, stop.exit_code) == ("SIGRTMIN+3", 128 + signal.SIGRTMIN + 3)


def test_what_does_not_end_a_process_and_what_others_handle_stays() -> None:
    untouched = [
        signal.SIGCHLD,
        signal.SIGWINCH,
        signal.SIGCONT,
        signal.SIGTSTP,
        signal.SIGSEGV,
        signal.SIGABRT,
    ]
    seen: list[int] = []
    old = signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    try:
        before = [signal.getsignal(number) for number in untouched]
        with StopSignals() as stop:
            assert [signal.getsignal(number) for number in untouched] == before
            signal.raise_signal(signal.SIGUSR1)
            assert seen == [signal.SIGUSR1] and stop.requested is None
    finally:
        signal.signal(signal.SIGUSR1, old)


def test_handlers_come_back_after_an_exception() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ZeroDivisionError), StopSignals():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_ignored_signal_stays_ignored() -> None:
    """nohup ignores SIGHUP, and a shell's background jobs ignore SIGINT."""
    old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert stop.requested is None
    finally:
        signal.signal(signal.SIGHUP, old)


def after_two_signals(first: str, second: str, pause: float) -> tuple[int, bytes]:
    """How a process ends that gets two, and what it said in between and afterwards."""
    code = (
        "import os, resource, signal, time\n"
        "from tinytape.training.signals import StopSignals\n"
        "for name in ('SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'):\n"
        "    signal.signal(getattr(signal, name), signal.SIG_DFL)\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        "with StopSignals() as stop:\n"
        f"    os.kill(os.getpid(), signal.{first})\n"
        "    print('still here', flush=True)\n"
        f"    time.sleep({pause})\n"
        f"    os.kill(os.getpid(), signal.{second})\n"
        "    print(stop.requested, stop.exit_code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=20)
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("first", "second"),
    [("SIGTERM", "SIGTERM"), ("SIGHUP", "SIGINT"), ("SIGQUIT", "SIGTERM")],
)
def test_a_second_signal_leaves_at_once(first: str, second: str) -> None:
    left = -getattr(signal, second)
    assert after_two_signals(first, second, 2 * ECHO) == (left, b"still here\n")


def test_the_echo_of_a_signal_is_no_second_one() -> None:
    """timeout(1) sends its signal to the process, and then to the group that it is in."""
    assert after_two_signals("SIGTERM", "SIGTERM", 0.0) == (0, b"still here\nSIGTERM 143\n")


def test_a_terminal_that_closes_may_say_so_twice() -> None:
    """Its shell passes SIGHUP on and leaves, upon which the kernel sends another."""
    assert after_two_signals("SIGHUP", "SIGHUP", 2 * ECHO) == (0, b"still here\nSIGHUP 129\n")


@pytest.mark.parametrize(
    ("first", "second", "leaves"),
    [
        ("SIGXCPU", "SIGXCPU", False),
        ("SIGUSR1", "SIGTERM", False),
        ("SIGINT", "SIGUSR1", False),
        ("SIGALRM", "SIGINT", False),
        ("SIGHUP", "SIGHUP", False),
        ("SIGHUP", "SIGQUIT", True),
        ("SIGQUIT", "SIGINT", True),
    ],
)
def test_an_announcement_never_leaves_at_once(
    monkeypatch: pytest.MonkeyPatch, first: str, second: str, leaves: bool
) -> None:
    """The kernel repeats SIGXCPU every second, batch systems announce SIGTERM by SIGUSR1."""
    now, sent = [0.0], []
    monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(signals.os, "kill", lambda process, number: sent.append(number))
    monkeypatch.setattr(signals.signal, "signal", lambda *_: None)
    stop = StopSignals()
    for name in (first, second):
        stop._handle(getattr(signal, name), None)
        now[0] += 2 * ECHO
    assert (stop.requested, stop.exit_code) == (first, 128 + getattr(signal, first))
    assert sent == ([getattr(signal, second)] if leaves else [])


def test_a_limit_of_processor_time_is_a_request() -> None:
    """``ulimit -t`` sets both limits to the same: SIGKILL would come without a notice."""
    code = (
        "import resource, signal\n"
        "from tinytape.training.signals import StopSignals\n"
        "limits = ((500, 600), (600, 600), (3, 3))\n"
        "for pair in limits:\n"
        "    resource.setrlimit(resource.RLIMIT_CPU, pair)\n"
        "    with StopSignals() as stop:\n"
        "        print(resource.getrlimit(resource.RLIMIT_CPU))\n"
        "        while stop.requested is None and pair == (3, 3):\n"
        "            pass\n"
        "    assert resource.getrlimit(resource.RLIMIT_CPU) == pair\n"
        "print(stop.requested, stop.exit_code)\n"
        "assert signal.getsignal(signal.SIGXCPU) is signal.SIG_DFL\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    said = "(500, 600)\n(570, 600)\n(2, 3)\nSIGXCPU 152\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")


def test_an_output_that_went_away_is_no_first_signal() -> None:
    with StopSignals() as stop:
        stop.request("the output was closed", 141)
        signal.raise_signal(signal.SIGTERM)
        assert (stop.requested, stop.exit_code) == ("the output was closed", 141)


def test_outside_the_main_thread_nothing_is_installed() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with StopSignals() as stop:
            seen.append((signal.getsignal(signal.SIGINT), stop.requested))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(before, None)]


def test_an_output_that_goes_away_becomes_a_request() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w", closefd=False) as stream, StopSignals() as stop:
        console = Console(stream)
        console.attach(stop)
        console.line("nobody reads this")
        assert stop.requested == "the output was closed" and stop.exit_code == 141
        console.line("nor this")  # silent, no second exception
        with StopSignals() as later:  # a loop that starts after the header was not read
            console.attach(later)
            assert later.exit_code == 141
        # What the buffer still holds must not fail at close either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), write)


@pytest.mark.parametrize("accumulated", [1, 2])
def test_a_stop_is_saved_wherever_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accumulated: int
) -> None:
    """Before each look that the loop takes at the request, in turn."""
    (tmp_path / "text.txt").write_text("to be or not to be, that is the question.\n" * 20)
    at = 0
    while True:
        at += 1

        class Signals(StopSignals):
            looks = 0
            at_look = at

            @property
            def requested(self) -> str | None:
                self.looks += 1
                return "SIGTERM" if self.looks >= self.at_look else None

            @requested.setter
            def requested(self, value: str | None) -> None:
                pass

        monkeypatch.setattr(loop, "StopSignals", Signals)
        out = tmp_path / f"run-{at}"
        settings = TrainConfig(
            model="tiny",
            data=str(tmp_path / "text.txt"),
            out=str(out),
            iters=3,
            batch_size=1,
            gradient_accumulation_steps=accumulated,
            eval_interval=2,
            checkpoint_interval=100,
        )
        done = train(settings, console=Console(io.StringIO()))
        saved, problems = latest_checkpoint(RunFolder(out).checkpoints)
        assert problems == [] and saved is not None, at
        assert saved.state["counters"] == dataclasses.asdict(done.session.counters), at
        if (out / "model.safetensors").exists():
            break
    assert at > 10


def test_a_process_without_an_output_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)  # as after >&-
    with StopSignals() as stop:
        console = Console()
        console.attach(stop)
        console.line("nobody asked")
        assert stop.requested is None


def test_a_character_that_the_output_does_not_have_is_no_reason_to_stop() -> None:
    buffer = io.BytesIO()
    with StopSignals() as stop:
        console = Console(io.TextIOWrapper(buffer, encoding="ascii"))
        console.attach(stop)
        console.line("Z\u00fcrich")
        assert stop.requested is None
    assert buffer.getvalue() == b"Z\\xfcrich\n"


def test_the_bar_of_a_terminal_that_goes_away_leaves_the_lines_alone() -> None:
    """``train > log``: the log tells how it ended."""
    stream = io.StringIO()
    with StopSignals() as stop:
        console = Console(stream)
        console.attach(stop)
        console.lost()
        console.line("saved")
        assert stop.requested == "the output was closed"
    assert stream.getvalue() == "saved\n"
