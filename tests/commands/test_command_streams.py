"""The commands' outputs: closed from the start, closed on the way, full."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX streams")

COMMAND = "import sys; from tinytape.training.command import run_command\n"


def shell(body: str, redirection: str) -> subprocess.CompletedProcess[str]:
    """Run a body of a command with its streams redirected by a shell."""
    line = f"exec {sys.executable} -c '{COMMAND}{body}' {redirection}"
    env = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60, env=env)


def test_without_an_output_the_exit_code_is_the_commands() -> None:
    done = shell("sys.exit(run_command(lambda: 7))", ">&- 2>&-")
    assert done.returncode == 7


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_an_output_that_cannot_be_flushed_is_one_line() -> None:
    """Not the interpreter's, whose last flush would complain and exit with 120."""
    done = shell("sys.exit(run_command(lambda: print(1) or 0))", ">/dev/full")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("error: ") and "No space left" in done.stderr


def test_an_error_that_nobody_reads_keeps_its_exit_code() -> None:
    body = "def body(): raise OSError(5, 6)\nsys.exit(run_command(body))"
    assert shell(body, "2>&-").returncode == 1
    if os.path.exists("/dev/full"):
        assert shell(body, "2>/dev/full").returncode == 1


def test_ctrl_c_outside_the_loop_is_one_line() -> None:
    body = "import os\ndef body(): os.kill(os.getpid(), 2)\n"
    body += "import signal; signal.signal(2, signal.default_int_handler)\n"
    done = shell(body + "sys.exit(run_command(body))", "")
    assert (done.returncode, done.stderr) == (130, "\ninterrupted\n")


def test_an_error_does_not_go_to_the_output_instead() -> None:
    done = shell("def body(): raise OSError(5, 6)\nsys.exit(run_command(body))", "2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_a_text_that_nobody_can_get_is_not_written() -> None:
    """``generate >&-``: one line, as cat(1) has it."""
    body = "from tinytape.training.command import text_writer\n"
    body += "sys.exit(run_command(lambda: text_writer()(str(1)) or 0))"
    done = shell(body, ">&-")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "standard output" in done.stderr
    assert shell(body, "").stdout == "1"


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_no_file_takes_the_place_of_a_closed_output(closed: str) -> None:
    """What a library says on descriptor 2 would go into it."""
    body = "import os\ndef body():\n file = os.open(os.devnull, 0)\n return file\n"
    assert shell(body + "sys.exit(run_command(body))", closed).returncode == 3


def test_memory_that_ran_out_is_said() -> None:
    body = "def body(): raise MemoryError\nsys.exit(run_command(body))"
    done = shell(body, "")
    assert done.returncode == 1 and done.stderr.startswith("error: out of memory")
    assert done.stderr.count("\n") == 1
