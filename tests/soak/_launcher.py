"""Commands in separate processes: as a user starts them, or forked after the imports are done.

A short command spends most of its time in imports. A ``Launcher`` is a process that has done them.
Each of its commands runs in a fork, so it can be killed or signalled, and can end in any way. A
hook is a function ``module:name(**arguments)`` of this folder that returns a context manager, in
which the command runs.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 120.0  # seconds after which a command hangs


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int  # as subprocess has it: the exit code, or minus the signal
    at: float  # time.monotonic()
    output: str  # stdout and stderr together

    @property
    def shell(self) -> int:
        """The exit code as a shell reports it."""
        return 128 - self.status if self.status < 0 else self.status


class Started:
    """A command that is running."""

    def __init__(self, pid: int, log: Path, launcher: Launcher | None, process: Any) -> None:
        self.pid = pid
        self._log, self._launcher, self._process = log, launcher, process

    def kill(self) -> None:
        """SIGKILL, wherever it is. It may have ended: its process stays until it is waited for."""
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> Ended:
        if self._launcher is None:
            try:
                status = self._process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                status = self._process.wait()
            at = time.monotonic()
        else:
            self._launcher.tell({"wait": True})
            status, at = self._launcher.answer()
        return Ended(status, at, self._log.read_text(errors="replace"))


class Launcher:
    """A process that has imported tinytape and forks commands, one at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.soak._launcher", "serve"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Launcher:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def start(self, module: str, argv: Sequence[str], log: Path, hook: Any = None) -> Started:
        """Fork ``python -m tinytape.MODULE ARGV``, its output to ``log``."""
        log.write_bytes(b"")  # it may be killed before it can do so
        self.tell({"module": module, "argv": list(argv), "log": str(log), "hook": hook})
        return Started(self.answer(), log, self, None)

    def tell(self, record: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(record) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


def start_command(module: str, argv: Sequence[str], log: Path, hook: Any = None) -> Started:
    """``python -m tinytape.MODULE ARGV`` as a user starts it, or with a hook put around it."""
    words = ["-m", f"tinytape.{module}", *argv]
    if hook is not None:
        asked = {"module": module, "argv": list(argv), "hook": hook}
        words = ["-m", "tests.soak._launcher", json.dumps(asked)]
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    return Started(process.pid, log, None, process)


def _run(asked: dict[str, Any]) -> int:
    """Run a command here, within its hook."""
    # As in a terminal, whatever the caller ignores.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    # SIGQUIT and SIGXCPU would leave their dumps of memory in the working directory.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    context: AbstractContextManager[Any] = nullcontext()
    if asked["hook"] is not None:
        place, arguments = asked["hook"]
        module, name = place.split(":")
        context = getattr(importlib.import_module(f"{__package__}.{module}"), name)(**arguments)
    command = importlib.import_module(f"tinytape.{asked['module']}")
    with context:
        code: int = command.main(asked["argv"])
    return code


def _child(asked: dict[str, Any]) -> int:
    log = os.open(asked["log"], os.O_WRONLY)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        return _run(asked)
    except SystemExit as error:
        return int(error.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
        return 70
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()


def _serve() -> None:
    for module in ("train", "generate"):
        importlib.import_module(f"tinytape.{module}")
    pid = 0
    for line in sys.stdin:
        asked = json.loads(line)
        if "wait" in asked:
            signal.alarm(int(DEADLINE))
            _, status = os.waitpid(pid, 0)
            signal.alarm(0)
            print(json.dumps([os.waitstatus_to_exitcode(status), time.monotonic()]), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            os._exit(_child(asked))
        signal.signal(signal.SIGALRM, lambda *_, pid=pid: os.kill(pid, signal.SIGKILL))
        print(pid, flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        _serve()
    else:
        sys.exit(_run(json.loads(sys.argv[1])))
