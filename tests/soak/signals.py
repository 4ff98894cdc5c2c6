"""Every signal in every phase of a run, and outputs that are closed during it."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinytape.training import RunFolder, latest_checkpoint
from tinytape.training.signals import ECHO

from . import _runs
from ._launcher import DEADLINE, ROOT, Ended, Launcher, start_command
from ._traps import NUMBERS, PHASES
from .promise import Outcome, Promise

UNSAVED = ("start-up", "restoring")  # phases in which there is nothing new to save
COMPLETE = ("final weights", "sampling")  # and those in which the run is done
BATCHES = 3  # in a step
LIMIT = 10.0  # seconds after which a signal was not honoured; what it takes is a figure


@dataclass(frozen=True)
class Case:
    """What is done to one command."""

    phase: str
    signals: tuple[str, ...]
    pause: float = 0.0  # between two signals
    command: str = "train"
    model: str = "tiny"
    closed: str = ""  # instead of signals: the "pipe" or "terminal" that is the output

    @property
    def kills(self) -> bool:
        """Whether the second signal is to leave at once: one that does, after one that counts."""
        orders = ("SIGINT", "SIGTERM", "SIGQUIT")
        return (
            len(self.signals) > 1
            and self.pause > ECHO
            and self.signals[0] in (*orders, "SIGHUP")
            and self.signals[1] in orders
        )


def cases() -> list[Case]:
    found = [Case(phase, (name,)) for phase, name in itertools.product(PHASES, NUMBERS)]
    for phase in ("training", "evaluation", "saving", "sampling"):
        for pair in (("SIGINT", "SIGINT"), ("SIGTERM", "SIGTERM"), ("SIGHUP", "SIGINT")):
            found.append(Case(phase, pair, pause=2 * ECHO))
        found.append(Case(phase, ("SIGTERM", "SIGTERM")))  # as timeout(1) sends them
        found.append(Case(phase, ("SIGHUP", "SIGHUP"), pause=2 * ECHO))  # a shell, and the kernel
        found.append(Case(phase, ("SIGUSR1", "SIGTERM"), pause=2 * ECHO))  # a batch system
        found.append(Case(phase, ("SIGXCPU", "SIGXCPU"), pause=2 * ECHO))  # once a second
    found += [Case("sampling", (name,), command="generate") for name in NUMBERS]
    found += [Case("training", (), closed=how) for how in ("pipe", "terminal")]
    return found


SMALL = [
    Case(phase, ("SIGTERM",), model="small")
    for phase in ("training", "update", "evaluation", "metrics", "saving")
]


class Signals:
    """The tries, and what they have in common."""

    def __init__(self, scratch: Path, launcher: Launcher) -> None:
        self.scratch, self._launcher = scratch, launcher
        self.text = _runs.write_text(scratch / "text.txt", 15_000)
        self.worst: dict[str, float] = {}
        self.expected: dict[str, RunFolder] = {}
        self.stopped = RunFolder(scratch / "stopped")
        self.generated = ""

    def flags(self, folder: RunFolder, model: str = "tiny") -> list[str]:
        return _runs.again(
            self.text,
            folder.path,
            model=model,
            iters=6,
            gradient_accumulation_steps=BATCHES,
            eval_interval=2,
            checkpoint_interval=2,
            keep=2,
        )

    def prepare(self, model: str) -> None:
        """The run that nothing happens to, and what is needed besides."""
        if model in self.expected:
            return
        folder = self.expected[model] = RunFolder(self.scratch / f"expected-{model}")
        self.must("train", self.flags(folder, model))
        if model == "tiny":
            self.generated = self.must("generate", self.generate(folder))
            case = Case("training", ("SIGTERM",))
            argv = self.flags(self.stopped)
            self.start(case, argv, self.scratch / "stopped.log", real=False)

    def generate(self, folder: RunFolder) -> list[str]:
        return [str(folder), "--prompt", "the", "--tokens", "40", "--temperature", "0"]

    def must(self, command: str, argv: list[str]) -> str:
        ended = self._launcher.start(command, argv, self.scratch / "log").wait()
        if ended.status:
            raise RuntimeError(ended.output)
        return ended.output

    def start(self, case: Case, argv: list[str], record: Path, *, real: bool) -> Ended:
        arguments: dict[str, Any] = {"phase": case.phase, "names": case.signals}
        arguments |= {"record": str(record), "pause": case.pause}
        if case.closed:
            return closing(case.closed, argv, record, arguments)
        start = start_command if real else self._launcher.start
        return start(case.command, argv, self.scratch / "log", ["_traps:trapped", arguments]).wait()

    def try_once(self, case: Case, *, real: bool) -> Iterator[str]:
        self.prepare(case.model)
        folder, record = RunFolder(self.scratch / "run"), self.scratch / "record"
        shutil.rmtree(folder.path, ignore_errors=True)
        for file in (record, Path(f"{record}.closed")):
            file.unlink(missing_ok=True)
        if case.phase == "restoring":
            shutil.copytree(self.stopped.path, folder.path)
        if case.command == "generate":
            argv = self.generate(self.expected["tiny"])
        else:
            argv = self.flags(folder, case.model)
        ended = self.start(case, argv, record, real=real)
        notes = [json.loads(line) for line in record.read_text().splitlines()]
        if not notes:
            yield f"did not come to the phase; exit code {ended.status}: {ended.output[-300:]}"
            return
        yield from self.judge_end(case, ended, notes)
        if case.command == "generate":
            said = ended.output.removesuffix("\ninterrupted\n")
            if not self.generated.startswith(said) or len(said) < len("the") + 4:
                yield f"what it had written: {ended.output!r}"
            return
        yield from self.judge_folder(case, ended, folder, [what for what, _ in notes])
        again = self._launcher.start("train", self.flags(folder, case.model), self.scratch / "log")
        ended = again.wait()
        if ended.status:
            yield f"not resumable: exit code {ended.status}: {ended.output[-300:]}"
        else:
            yield from _runs.differences(folder, self.expected[case.model])

    def judge_end(self, case: Case, ended: Ended, notes: list[Any]) -> Iterator[str]:
        """How the process ended, and what it did from the signal on."""
        codes = {"pipe": 141, "terminal": 129}
        last = case.signals[-1 if case.kills else 0] if case.signals else "SIGHUP"
        code = codes.get(case.closed, 128 + NUMBERS[last])
        if ended.shell != code:
            yield f"exit code {ended.shell}, expected {code}"
        if case.kills and ended.status >= 0:
            yield "the second signal did not leave at once"
        if "Traceback" in ended.output:
            yield f"a traceback: {ended.output[-500:]}"
        seconds = ended.at - next(
            at for what, at in reversed(notes) if what in ("closed", "signal")
        )
        if case.closed != "pipe":  # which is noticed at the next line
            self.worst[case.model] = max(self.worst.get(case.model, 0.0), seconds)
        if seconds > LIMIT:
            yield f"gone after {seconds:.1f} s"
        did = Counter(what for what, _ in notes)
        limits = {"training batch": 0, "evaluated batch": 1, "saving": 1, "best": 1}
        if case.command == "train":
            limits["token"] = 1
        for what, limit in limits.items():
            if did[what] > limit and not case.closed:
                yield f"{what}: {did[what]} more after the signal"
        handled = case.command == "train" and case.phase not in UNSAVED and not case.kills
        if handled and not case.closed and not did["handlers are back"]:
            yield f"the handlers are not what they were: {notes[-1]}"

    def judge_folder(
        self, case: Case, ended: Ended, folder: RunFolder, notes: list[str]
    ) -> Iterator[str]:
        """What was saved, and what was said about it."""
        yield from _runs.unreadable(folder)
        if case.kills or case.phase in UNSAVED:
            return
        yield from (f"litter: {path}" for path in _runs.leftovers(folder))
        if case.phase in COMPLETE:
            yield from _runs.differences(folder, self.expected[case.model])
        elif not case.closed:
            reason = case.signals[0]
            told = re.search(rf"stopped by {reason} and saved at step (\d+)", ended.output)
            if not told:
                yield f"it does not say how it was stopped: {ended.output[-300:]}"
            elif int(told[1]) != _runs.newest_step(folder):
                yield f"{told[0]!r}, and the newest checkpoint is of {_runs.newest_step(folder)}"
            elif f"{batches_saved(folder)} batches" not in notes:
                yield f"{batches_saved(folder)} batches were saved: {notes}"


def batches_saved(folder: RunFolder) -> int:
    """How many batches the newest checkpoint has seen."""
    newest, _ = latest_checkpoint(folder.checkpoints)
    counters = newest.state["counters"] if newest else {"step": 0, "micro_step": 0}
    return int(counters["step"] * BATCHES + counters["micro_step"])


def closing(how: str, argv: list[str], record: Path, arguments: dict[str, Any]) -> Ended:
    """Start a command as a user does, and close its output when it has come to the phase."""
    terminal = how == "terminal"
    hook = ["_traps:trapped", {**arguments, "terminal": terminal}]
    asked = json.dumps({"module": "train", "argv": argv, "hook": hook})
    ours, theirs = os.openpty() if terminal else os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.soak._launcher", asked],
        cwd=ROOT,
        stdin=theirs if terminal else subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs if terminal else subprocess.DEVNULL,
    )
    os.close(theirs)
    said = b""
    while b"step 2/6" not in said:  # the line of the evaluation before
        said += os.read(ours, 4096)
    with open(record, "a") as notes:
        notes.write(json.dumps(["closed", time.monotonic()]) + "\n")
    os.close(ours)
    Path(f"{record}.closed").touch()
    status = process.wait(DEADLINE)
    return Ended(status, time.monotonic(), "")


def run(count: int, seed: int, say: Callable[[str], None]) -> Outcome:
    every = cases()
    random.Random(seed).shuffle(every)
    failures = []
    with tempfile.TemporaryDirectory() as scratch, Launcher() as launcher:
        signals = Signals(Path(scratch), launcher)
        tries = [(every[i % len(every)], i >= len(every)) for i in range(count)]
        tries += [(case, True) for case in SMALL if count > len(every)]
        for number, (case, real) in enumerate(tries, start=1):
            failures += [f"{case}: {text}" for text in signals.try_once(case, real=real)]
            if number % 20 == 0:
                say(f"{number} of {len(tries)} tries, {len(failures)} failures")
    worst = {f"seconds at most, {model}": round(s, 2) for model, s in signals.worst.items()}
    return Outcome(len(tries), failures, worst)


PROMISE = Promise(
    words="A signal in any phase: the run saves and ends within one step and one save",
    how="SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGXCPU in 14 phases of a run, alone and "
    "in pairs; closed pipes and terminals. Checked: exit codes, the work done after the signal, "
    "and what was saved. The run is then completed and compared with an undisturbed one",
    wanted="all",
    quick=8,
    full=2 * len(cases()),  # forked, and as a user starts it
    run=run,
)
