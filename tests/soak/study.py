"""A study that is stopped at random instants, in every way.

``python -m tests.soak.study ARGUMENTS`` is a study of two short runs; the real ones take longer.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tinytape import studies, study
from tinytape.training import RunFolder
from tinytape.training.errors import RunError
from tinytape.training.lock import held

from . import _runs
from ._launcher import DEADLINE, ROOT
from .promise import Outcome, Promise

RUNS = ("a-1", "b-1")
# The signal, and whether all processes of the group get it, as they do from a terminal and from
# timeout(1).
STOPS = (
    (signal.SIGKILL, False),
    (signal.SIGTERM, False),
    (signal.SIGTERM, True),
    (signal.SIGHUP, False),
    (signal.SIGINT, True),
    (signal.SIGUSR1, False),
)
LEAVES = 10.0  # seconds after which a training that was left alone is still there


class Studies:
    """The tries, and what they have in common."""

    def __init__(self, scratch: Path, seed: int) -> None:
        self.scratch, self.seed = scratch, seed
        self.text = _runs.write_text(scratch / "text.txt")
        self.counts: Counter[str] = Counter()
        self.slowest = 0.0  # seconds in which a training left alone was gone
        self.expected = scratch / "expected"
        begun = time.monotonic()
        ended = self.start(self.expected).wait(DEADLINE)
        self.seconds = time.monotonic() - begun
        if ended:
            raise RuntimeError((scratch / "log").read_text())

    def start(self, out: Path) -> subprocess.Popen[bytes]:
        with open(self.scratch / "log", "wb") as log:
            return subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.soak.study",
                    "two",
                    "--seeds",
                    "1",
                    "--data",
                    self.text,
                    "--out",
                    out,
                ],
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def try_once(self, number: int) -> Iterator[str]:
        """One study, stopped up to three times, then completed."""
        rng = random.Random(f"{self.seed} {number}")
        out = self.scratch / f"study-{number}"
        for _ in range(rng.choice((1, 1, 2, 3))):
            process = self.start(out)
            time.sleep(rng.uniform(0.3, 1.0) * self.seconds)
            if process.poll() is not None:
                break  # it was complete
            which, to_all = STOPS[number % len(STOPS)]
            (os.killpg if to_all else os.kill)(process.pid, which)
            status = process.wait(DEADLINE)
            self.counts[which.name] += 1
            if which == signal.SIGKILL:
                if rng.random() < 0.5:  # else it is started again at once
                    yield from self.gone(out)
            else:
                # 128 and the signal; before it listens, or when it was at its end, that of Python.
                if status not in (128 + which, -which, 0):
                    yield f"{which.name}: exit code {status}: {self.said()}"
                yield from (f"{which.name}: {name} goes on" for name in under_way(out))
        status = self.start(out).wait(DEADLINE)
        if status:
            yield f"does not go on: exit code {status}: {self.said()}"
            return
        for name in RUNS:
            run = RunFolder(out / "runs" / name)
            yield from _runs.differences(run, RunFolder(self.expected / "runs" / name))
        names, wanted = ({p.name for p in folder.iterdir()} for folder in (out, self.expected))
        if names != wanted:
            yield f"other files: {sorted(names ^ wanted)}"
        shutil.rmtree(out)

    def gone(self, out: Path) -> Iterator[str]:
        """The training that a killed study leaves is to save and leave."""
        begun = time.monotonic()
        while under_way(out):
            if time.monotonic() - begun > LEAVES:
                yield f"{under_way(out)} goes on without its study"
                return
            time.sleep(0.01)
        self.slowest = max(self.slowest, time.monotonic() - begun)

    def said(self) -> str:
        return (self.scratch / "log").read_text()[-300:]


def under_way(out: Path) -> list[str]:
    """The runs in whose folder somebody trains."""
    found = []
    for folder in sorted((out / "runs").glob("*-1")):
        try:
            with held(folder):
                pass
        except RunError:
            found.append(folder.name)
    return found


def run(count: int, seed: int, say: Callable[[str], None]) -> Outcome:
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        tries = Studies(Path(scratch), seed)
        for number in range(count):
            failures += [f"try {number}: {text}" for text in tries.try_once(number)]
            if (number + 1) % 10 == 0:
                say(f"{number + 1} of {count} tries, {len(failures)} failures")
        figures = {**tries.counts, "seconds at most, left alone": round(tries.slowest, 2)}
    return Outcome(count, failures, figures)


PROMISE = Promise(
    words="A stopped study stops its training run too, and can continue",
    how="SIGKILL, SIGTERM, SIGHUP, SIGINT and SIGUSR1 to the study or to its whole group at "
    "random instants, up to three in one study, some started again at once; no process may go on "
    "training. The study is then completed and compared with an undisturbed one: weights by "
    "SHA-256, metrics, files",
    wanted="all",
    quick=1,
    full=60,
    run=run,
)


if __name__ == "__main__":
    studies.STUDIES["two"] = studies.Study(
        "Which?",
        (studies.Variant("a", {"model": "tiny"}), studies.Variant("b", {"model": "small"})),
        {"context": 8, "batch_size": 1, "threads": 1},
        iters=200,
    )
    sys.exit(study.main())
