"""All workers: started with threads set before anything is imported, and asked one at a time."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from .machine import cpus_apart

BENCHMARKS = Path(__file__).resolve().parent.parent
PAUSE = 0.05  # between turns: threads of the last engine go to sleep
PREPARE_TIMEOUT = 900.0  # torch.compile may take minutes on a slow machine
TURN_TIMEOUT = 300.0


class WorkerError(RuntimeError):
    """An engine that could not do what it was asked; the message says why."""


class AbsentError(WorkerError):
    """An engine that is not installed."""


class Worker:
    """One engine in a process of its own.

    Raises:
        AbsentError: it cannot be imported.
        WorkerError: it does not start.
    """

    def __init__(self, engine: str, threads: int, ids: Path) -> None:
        self.engine = engine
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # until close()
        cpus = ",".join(map(str, cpus_apart()[:threads]))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "comparison.worker", engine, str(threads), str(ids), cpus],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=_environment(threads),
            text=True,
        )
        try:
            started = self._answer(PREPARE_TIMEOUT)
        except BaseException:
            self.close()
            raise
        self.versions: dict[str, Any] = started["versions"]
        self.base_bytes: int = started["peak"]

    def ask(self, timeout: float = TURN_TIMEOUT, **request: Any) -> Any:
        """Send a request and wait for its answer."""
        pipe = self._process.stdin
        assert pipe is not None
        try:
            pipe.write(json.dumps(request) + "\n")
            pipe.flush()
        except BrokenPipeError:
            raise WorkerError(self._last_words()) from None
        return self._answer(timeout)

    def prepare(self, case: dict[str, Any]) -> Any:
        return self.ask(PREPARE_TIMEOUT, do="prepare", case=case)

    def turn(self, seconds: float = 0.0, **request: Any) -> Any:
        """Ask for what is timed."""
        time.sleep(PAUSE)
        return self.ask(TURN_TIMEOUT + seconds, **request)

    def burst(self, name: str, seconds: float) -> list[float]:
        samples: list[float] = self.turn(seconds, do="burst", name=name, length=seconds)["samples"]
        return samples

    def _answer(self, timeout: float) -> Any:
        pipe = self._process.stdout
        assert pipe is not None
        # One answer a request: nothing waits in the buffer that select cannot see.
        if not select.select([pipe], [], [], timeout)[0]:
            self._process.kill()
            raise WorkerError(f"no answer in {timeout:.0f} s")
        line = pipe.readline()
        if not line:
            raise WorkerError(self._last_words())
        reply = json.loads(line)
        if "absent" in reply:
            raise AbsentError(reply["absent"])
        if "error" in reply:
            raise WorkerError(reply["error"])
        return reply["ok"]

    def _last_words(self) -> str:
        status = self._process.wait(10)
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", "replace").strip().splitlines()
        return f"its process ended with status {status}" + (f": {lines[-1]}" if lines else "")

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


def _environment(threads: int) -> dict[str, str]:
    env = dict(os.environ)
    names = ("OMP", "MKL", "OPENBLAS", "TINYTAPE", "NPROC")
    env.update({f"{name}_NUM_THREADS" if name != "NPROC" else name: str(threads) for name in names})
    env["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # no idle helpers beside the workers
    env["JAX_PLATFORMS"] = "cpu"
    if threads == 1:
        env["XLA_FLAGS"] = f"{env.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()
    path = [str(BENCHMARKS), *filter(None, [env.get("PYTHONPATH")])]
    env["PYTHONPATH"] = os.pathsep.join(path)
    return env
