"""SIGKILL at random instants of a run, and at every kind of moment in its saves."""

from __future__ import annotations

import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any

from tinytape.training import RunFolder

from . import _runs
from ._launcher import Ended, Launcher, Started, start_command
from .promise import Outcome, Promise

ITERS = 8
REAL = 10  # one in so many tries starts every process as a user does; the others are forked
VARIANTS: tuple[dict[str, int], ...] = (
    {},
    {"gradient_accumulation_steps": 3},
)  # settings that change the result


class Kills:
    """The tries, and what they have in common."""

    def __init__(self, scratch: Path, seed: int, launchers: list[Launcher]) -> None:
        self.scratch, self.seed = scratch, seed
        self.text = _runs.write_text(scratch / "text.txt")
        self.counts: Counter[str] = Counter()
        self.lost = 0  # the most steps that a kill cost
        self._lock = Lock()
        self._launchers: SimpleQueue[Launcher] = SimpleQueue()
        for launcher in launchers:
            self._launchers.put(launcher)
        self.expected = [RunFolder(scratch / f"expected-{i}") for i in range(len(VARIANTS))]
        for folder, variant in zip(self.expected, VARIANTS, strict=True):
            begun = time.monotonic()
            log = scratch / "expected.log"
            ended = launchers[0].start("train", self.flags(folder, variant), log).wait()
            self.seconds = time.monotonic() - begun  # of a whole run, without its imports
            if ended.status:
                raise RuntimeError(ended.output)

    def flags(self, folder: RunFolder, variant: dict[str, int], interval: int = 1) -> list[str]:
        return _runs.again(
            self.text,
            folder.path,
            iters=ITERS,
            eval_interval=1,
            keep=2,
            checkpoint_interval=interval,
            **variant,
        )

    def try_once(self, number: int) -> list[str]:
        """One run, killed once or more, then completed. Returns what is wrong."""
        launcher = self._launchers.get()
        try:
            one = Try(self, number, launcher)
            return [f"try {number}: {text}" for text in one.run()]
        finally:
            self._launchers.put(launcher)

    def count(self, name: str) -> None:
        with self._lock:
            self.counts[name] += 1

    def cost(self, steps: int) -> None:
        with self._lock:
            self.lost = max(self.lost, steps)


class Try:
    """One run that is killed."""

    def __init__(self, all: Kills, number: int, launcher: Launcher) -> None:
        self.all, self.number, self.launcher = all, number, launcher
        self.rng = random.Random(f"{all.seed} {number}")
        self.real = number % REAL == REAL - 1
        self.which = self.rng.randrange(len(VARIANTS))
        self.interval = self.rng.choice((1, 1, 1, 2, 3))
        self.folder = RunFolder(all.scratch / f"run-{number}")

    def run(self) -> Iterator[str]:
        wanted, kills = self.rng.choice((1, 1, 2, 3)), 0
        while kills < wanted:
            ended = self.killed()
            if ended.status == -signal.SIGKILL:
                if self.folder.config.is_file():  # else the run had not begun
                    kills += 1
                    self.all.count("kills")
                yield from self.judge()
            elif kills or ended.status or not self.folder.model.is_file():
                break
            else:  # the run was finished before the kill
                shutil.rmtree(self.folder.path)
        ended = self.start().wait()
        if ended.status:
            yield f"not resumable: exit code {ended.status}: {ended.output[-300:]}"
        else:
            yield from _runs.differences(self.folder, self.all.expected[self.which])
        shutil.rmtree(self.folder.path, ignore_errors=True)

    def killed(self) -> Ended:
        """Start or go on, and kill, perhaps too late."""
        if self.rng.random() < 0.4:  # surely in a saving: at one of its calls
            moment = self.rng.choice(("before", "half", "after"))
            hook = ["_intercept:dying_at", {"number": self.rng.randrange(250), "moment": moment}]
            return self.start(hook).wait()
        before = _runs.newest_step(self.folder)
        begun = time.monotonic()
        process = self.start()
        if self.real:  # its imports take longer than the rest: wait until it has done something
            while _runs.newest_step(self.folder) == before and time.monotonic() < begun + 5:
                time.sleep(0.01)
        time.sleep(self.rng.random() * self.all.seconds)
        process.kill()
        return process.wait()

    def judge(self) -> Iterator[str]:
        """The folder as the kill left it."""
        folder = self.folder
        if any(
            left.parent in (folder.checkpoints, folder.best) for left in _runs.leftovers(folder)
        ):
            self.all.count("in a saving")
        yield from _runs.unreadable(folder)
        lost = _runs.steps_lost(folder)
        self.all.cost(lost)
        if lost > self.interval:
            yield f"the newest checkpoint is {lost} steps behind"

    def start(self, hook: Any = None) -> Started:
        start = start_command if self.real else self.launcher.start
        argv = self.all.flags(self.folder, VARIANTS[self.which], self.interval)
        return start("train", argv, self.all.scratch / f"run-{self.number}.log", hook)


def run(count: int, seed: int, say: Callable[[str], None]) -> Outcome:
    failures: list[str] = []
    with (
        tempfile.TemporaryDirectory() as scratch,
        Launcher() as one,
        Launcher() as two,
        ThreadPoolExecutor(2) as pool,
    ):
        kills = Kills(Path(scratch), seed, [one, two])
        for number, wrong in enumerate(pool.map(kills.try_once, range(count)), start=1):
            failures += wrong
            if number % 50 == 0:
                say(f"{number} tries, {kills.counts['kills']} kills, {len(failures)} failures")
    return Outcome(
        count,
        failures,
        {
            **kills.counts,
            "most steps lost": kills.lost,
            "unreadable": sum("unreadable" in f for f in failures),
        },
    )


PROMISE = Promise(
    words="A kill costs at most one checkpoint interval",
    how="SIGKILL at random instants of training and saving, and at every call of a save; up to "
    "three in one run; one try in ten uses the real commands. The run is then completed and "
    "compared with an undisturbed one: weights by SHA-256, metrics, files",
    wanted="500 of 500 resumable, 0 unreadable",
    quick=4,
    full=500,
    run=run,
)
