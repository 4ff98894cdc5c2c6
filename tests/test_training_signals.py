"""Stop requests: the first signal asks, the second kills, the old handlers come back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from tinytape.training.progress import Console
from tinytape.training.signals import StopSignals

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_becomes_a_request(number: int, code: int) -> None:
    before = signal.getsignal(number)
    with StopSignals() as stop:
        assert stop.requested is None and stop.exit_code == 0
        os.kill(os.getpid(), number)
        assert stop.requested == signal.Signals(number).name
        assert stop.exit_code == code
    assert signal.getsignal(number) is before


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
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.requested is None
    finally:
        signal.signal(signal.SIGHUP, old)


def test_a_second_signal_leaves_at_once() -> None:
    code = (
        "import os, signal, time\n"
        "from tinytape.training.signals import StopSignals\n"
        "with StopSignals():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('still here', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(30)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=20)
    assert done.stdout == b"still here\n"
    assert done.returncode == -signal.SIGTERM


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
