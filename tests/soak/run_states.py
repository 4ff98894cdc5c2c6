"""Every command that writes a run, in every state of a folder, removes only what it was asked to.

An overwrite is also killed at each of its calls: the previous run is complete at some place until
the new one has a checkpoint.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import shlex
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinytape import generate
from tinytape.training import CheckpointError, RunFolder, load_checkpoint
from tinytape.training.run_folder import is_run

from . import _runs
from ._intercept import Intercept
from ._launcher import Launcher
from ._states_of_others import STATES
from .disk import command
from .promise import Outcome, Promise

FIRST, LAST = 4, 6  # the steps of the run that is there, and of the one that is asked for
SETTINGS: dict[str, Any] = {
    "schedule": "constant",
    "warmup": 0,
    "eval_interval": 1,
    "checkpoint_interval": 1,
    "keep": 5,
}
MOST_KILLS = 300  # of an overwriting
COMMANDS = (
    "train",
    "train --overwrite",
    "resume",
    "resume to another folder",
    "resume to another run, with --overwrite",
    "resume a checkpoint",
    "resume a checkpoint, to another folder",
    "resume the checkpoint one is in",
)
Listing = dict[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Cell:
    """A state of the folder and what is asked for."""

    state: str
    command: str


class States:
    """The tries, and what they have in common."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.text = _runs.write_text(home / "text.txt")
        self.first, self.expected = RunFolder(home / "first"), RunFolder(home / "expected")
        for folder, iters in ((self.first, FIRST), (self.expected, LAST)):
            code, said = command(self.flags(folder.path, iters))
            if code:
                raise RuntimeError(said)
        self.outcomes: Counter[str] = Counter()
        self.followed = 0

    def flags(self, out: Path, iters: int = LAST, **settings: Any) -> list[str]:
        return _runs.flags(self.text, out, iters=iters, **{**SETTINGS, **settings})

    def prepare(self, cell: Cell) -> Path:
        """A scratch folder with the folder in its state, and another run beside it."""
        scratch = self.home / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        shutil.copytree(self.first.path, scratch / "run")
        STATES[cell.state](RunFolder(scratch / "run"))
        if "another run" in cell.command:
            shutil.copytree(self.first.path, scratch / "new")
        return scratch

    def argv(self, cell: Cell, scratch: Path) -> tuple[list[str], Path]:
        """The arguments of the command, and the folder in which it is given."""
        run, new, iters = scratch / "run", scratch / "new", ["--iters", str(LAST)]
        chosen = next(iter(sorted(p.parent for p in run.rglob("MANIFEST.json"))), None)
        chosen = chosen or run / "checkpoints" / "step-00000002"
        match cell.command:
            case "train":
                return self.flags(run), scratch
            case "train --overwrite":
                return [*self.flags(run), "--overwrite"], scratch
            case "resume":
                return ["--resume", str(run), *iters], scratch
            case "resume to another folder":
                return ["--resume", str(run), "--out", str(new), *iters], scratch
            case "resume to another run, with --overwrite":
                return ["--resume", str(run), "--out", str(new), "--overwrite", *iters], scratch
            case "resume a checkpoint":
                return ["--resume", str(chosen), *iters], scratch
            case "resume a checkpoint, to another folder":
                return ["--resume", str(chosen), "--out", str(new), *iters], scratch
            case _:
                return ["--resume", ".", *iters], chosen if chosen.is_dir() else scratch

    def try_once(self, cell: Cell) -> Iterator[str]:
        scratch = self.prepare(cell)
        argv, here = self.argv(cell, scratch)
        before = listing(scratch)
        ours, recorded = is_ours(scratch / "run"), is_run(RunFolder(scratch / "run"))
        with inside(here):
            code, said = command(argv)
        after = listing(scratch)
        self.outcomes["gone on" if code == 0 else "refused"] += 1
        if code:
            if code != 2 or not said.startswith("error: ") or said.count("\n") != 1:
                yield f"expected one line and exit code 2, got {code} and {said!r}"
            yield from (f"refused, and changed: {name}" for name in different(before, after))
            yield from self.follow(cell, said)
            return
        if "another" in cell.command:
            unlike = different(before, after)
            yield from (f"changed: {name}" for name in unlike if not name.startswith("new"))
            wrong = _runs.differences(RunFolder(scratch / "new"), self.expected)
            # Of a checkpoint that lies in no run there are no metrics.
            yield from (text for text in wrong if recorded or not text.startswith("other metrics"))
        elif "--overwrite" in cell.command:
            if not ours:
                yield "a folder that is no run's was overwritten"
            yield from self.judge_overwritten(scratch, before, after)
        else:
            yield from self.judge(scratch, before, after)

    def judge(self, scratch: Path, before: Listing, after: Listing) -> Iterator[str]:
        """A run that went on, or began: all that was there before is there, or what came of it."""
        run = RunFolder(scratch / "run")
        for name in different(before, after):
            if name in before and not is_own(name) and name != "new":
                yield f"changed: {name}"
        if _runs.sha256(run.model) != _runs.sha256(self.expected.model):
            yield "other final weights"
        if not set(_runs.held_out_losses(self.expected)) <= set(_runs.held_out_losses(run)):
            yield f"evaluations lost: {_runs.held_out_losses(run)}"
        saved = set(map(step_in, after))
        for name in before:
            if step_in(name) not in saved and step_in(name) > 1:  # what rotation removes
                yield f"a checkpoint was lost: {name}"

    def judge_overwritten(self, scratch: Path, before: Listing, after: Listing) -> Iterator[str]:
        run = RunFolder(scratch / "run")
        for name in different(before, after):
            if name in before and not is_own(name):
                yield f"changed: {name}"
        if _runs.sha256(run.model) != _runs.sha256(self.expected.model):
            yield "other final weights"
        if _runs.held_out_losses(run) != _runs.held_out_losses(self.expected):
            yield f"other metrics: {_runs.held_out_losses(run)}"
        if not (scratch / "run" / "before-overwrite-1" / "notes.md").exists():
            yield from (f"left over: {name}" for name in after if "overwrite" in name)

    def follow(self, cell: Cell, said: str) -> Iterator[str]:
        """Every command that an error names works when it is given."""
        for found in re.finditer(_COMMAND, said):
            scratch = self.prepare(cell)
            for argv in map(shlex.split, re.split(" and then: ", found[0])):
                with inside(scratch):
                    if argv[0] == "mv":
                        subprocess.run(argv, check=True)
                        code, answer = 0, ""
                    elif argv[2] == "tinytape.generate":
                        code, answer = generated(argv[3:])
                    else:
                        code, answer = command([*argv[3:], "--iters", str(LAST)])
                if code:
                    yield f"advice that does not work: {shlex.join(argv)}: {answer}"
            self.followed += 1

    # An overwriting that is killed.

    def overwriting(self, folder: RunFolder) -> list[str]:
        return [*self.flags(folder.path, seed=5), "--overwrite"]

    def calls(self) -> int:
        """How many calls it makes until the run before is gone."""
        folder = RunFolder(self.home / "counted")
        shutil.copytree(self.first.path, folder.path)
        with Intercept() as intercept:
            command(self.overwriting(folder))
        paths = [call.path for call in intercept.calls]
        return max(n for n, path in enumerate(paths) if "before-overwrite" in path) + 1

    def kill_once(self, launcher: Launcher, number: int, moment: str, linked: bool) -> list[str]:
        scratch = self.prepare(Cell("checkpoints on another disk" if linked else "complete", ""))
        folder = RunFolder(scratch / "run")
        saved = contents(scratch)
        hook = ["_intercept:dying_at", {"number": number, "moment": moment}]
        ended = launcher.start("train", self.overwriting(folder), scratch / "log", hook).wait()
        wrong = []
        if ended.status != -9:
            wrong.append(f"not killed: {ended.output[-200:]}")
        if not is_new(folder) and not saved <= contents(scratch):
            wrong.append("a part of the run before is lost, and the new one has no checkpoint")
        code, said = command(["--resume", str(folder), "--iters", str(LAST)])
        if code:
            wrong.append(f"not resumable: {said}")
        wrong += [f"left over: {name}" for name in listing(folder.path) if "overwrite" in name]
        wrong += [f"litter: {path}" for path in _runs.leftovers(folder)]
        return [f"killed {moment} call {number}: {text}" for text in wrong]


# A command ends where the next thing that there is begins.
_COMMAND = r"(mv [^;]* and then: )?python -m tinytape\.(train|generate) [^;(\n]*"


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def listing(scratch: Path) -> Listing:
    """All that lies there, with contents, targets of links, and times."""
    found: Listing = {}
    for path in sorted(scratch.rglob("*")):
        about = path.lstat()
        content = os.readlink(path) if path.is_symlink() else _runs.sha256(path)
        found[str(path.relative_to(scratch))] = (about.st_mode, about.st_mtime_ns, content)
    return found


def different(before: Listing, after: Listing) -> list[str]:
    return sorted(n for n in before.keys() | after.keys() if before.get(n) != after.get(n))


def contents(scratch: Path) -> set[str]:
    """What is in the files of runs and checkpoints, wherever they lie."""
    names = ("model.safetensors", "MANIFEST.json", "metrics.jsonl", "train_state.safetensors")
    return {_runs.sha256(p) for p in scratch.rglob("*") if p.name in names and p.is_file()}


def step_in(name: str) -> int:
    """The step of a checkpoint whose manifest that is; -1 of anything else."""
    found = re.search("step-([0-9]+)", name) if name.endswith("MANIFEST.json") else None
    return int(found[1]) if found else -1


def is_own(name: str) -> bool:
    """Whether a run writes it, there or on another disk."""
    parts = Path(name).parts
    if parts == ("run",) or parts[:1] == ("disk",):
        return True
    if "notes" in name or "mine" in name or parts[0] != "run":
        return False
    own = (
        "config.json",
        "tokenizer.json",
        "metrics.jsonl",
        "model.safetensors",
        "curve.png",
        "checkpoints",
        "best",
    )
    return parts[1] in own or parts[1].startswith((".tmp-config", "before-overwrite"))


def is_ours(run: Path) -> bool:
    """Whether a run is there, or what is left of one that was being moved, or nothing at all."""
    if not run.is_dir() or not [p for p in run.rglob("*") if p.is_file() and ".tmp-" not in p.name]:
        return True
    if (run / "MANIFEST.json").exists():
        return False
    for config in (run / "config.json", run / "before-overwrite-1" / "config.json"):
        with contextlib.suppress(OSError, ValueError, LookupError):
            return bool(json.loads(config.read_text())["format"] == "tinytape-run")
    return False


def is_new(folder: RunFolder) -> bool:
    """Whether the overwriting run has a checkpoint that is whole."""
    for path in folder.checkpoints.glob("step-*"):
        with contextlib.suppress(CheckpointError):
            if load_checkpoint(path).config["train"]["seed"] == 5:
                return True
    return False


def generated(argv: list[str]) -> tuple[int, str]:
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        return generate.main([*argv, "--tokens", "2", "--prompt", "a"]), errors.getvalue()


def run(count: int, seed: int, say: Callable[[str], None]) -> Outcome:
    rng = random.Random(seed)
    cells = [Cell(state, argv) for state in STATES for argv in COMMANDS]
    rng.shuffle(cells)
    cells = cells[:count]
    failures = []
    with tempfile.TemporaryDirectory() as home, Launcher() as launcher:
        states = States(Path(home))
        for number, cell in enumerate(cells, start=1):
            wrong = list(states.try_once(cell))
            failures += [f"{cell.state}, {cell.command}: {text}" for text in wrong]
            if number % 100 == 0:
                say(f"{number} of {len(cells)} cells, {len(failures)} failures")
        kills = [
            (number, moment, linked)
            for number in range(states.calls())
            for moment in ("before", "half", "after")
            for linked in (False, True)
        ]
        rng.shuffle(kills)
        kills = kills[: min(count // 8, MOST_KILLS)]
        for kill in kills:
            failures += states.kill_once(launcher, *kill)
    figures = {
        "states": len({cell.state for cell in cells}),
        "commands": len({cell.command for cell in cells}),
        **states.outcomes,
        "commands in errors followed": states.followed,
        "kills of an overwriting": len(kills),
    }
    return Outcome(len(cells) + len(kills), failures, figures)


PROMISE = Promise(
    words="A command never removes what it was not asked to remove",
    how="every state of a folder (complete, stopped and damaged runs, renamed steps, steps on a "
    "disk that is absent, other people's folders, mixtures) x every command that writes a run. "
    "Expected: a refusal changes no byte and no time, and each command that it names works; a run"
    " that continues has everything that was there before. An overwrite is also killed at each of"
    " its calls",
    wanted="all",
    quick=16,
    full=10_000,  # more than there are: each is tried once
    run=run,
)
