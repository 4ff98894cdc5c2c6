"""The folder of a run that trains is moved, removed or replaced, at each call that writes to it."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from tinytape.training import RunFolder

from . import _runs
from ._intercept import Call, Intercept
from .disk import command
from .promise import Outcome, Promise
from .run_states import Listing, different, listing

STEPS = 3
KINDS = ("moved", "removed", "checkpoints removed", "settings removed")
# At the first calls of a writing, what has the folder's name is what is written to: in the moment
# between a look and these nobody can tell. Another folder is put there at all other calls.
FIRST_CALLS = ("mkdir", "open")


class Moves:
    """The tries, and what they have in common."""

    def __init__(self, home: Path) -> None:
        self.home, self.scratch = home, home / "scratch"
        self.text = _runs.write_text(home / "text.txt")
        self.other, self.expected = home / "other", RunFolder(home / "expected")
        with Intercept() as intercept:
            self.must(self.flags(self.expected.path))
        self.must([*self.flags(self.other), "--seed", "5"])
        first = next(n for n, call in enumerate(intercept.calls) if ".tmp-config" in call.path)
        self.calls = [  # from where the folder is made and held; one write of each file
            call
            for before, call in pairwise(intercept.calls[first - 1 :])
            if (call.name, call.path) != (before.name, before.path)
        ]

    def flags(self, out: Path) -> list[str]:
        return _runs.flags(
            self.text, out, iters=STEPS, eval_interval=1, checkpoint_interval=1, keep=2
        )

    def must(self, argv: list[str]) -> None:
        code, said = command(argv)
        if code:
            raise RuntimeError(said)

    def tries(self) -> Iterator[tuple[Call, str, bool]]:
        for call in self.calls:
            for kind in KINDS:
                yield call, kind, False
                first = call.name in FIRST_CALLS or call.path == str(self.expected.path)
                if kind in ("moved", "removed") and not first:
                    yield call, kind, True

    def try_once(self, at: Call, kind: str, another: bool) -> Iterator[str]:
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir()
        run, moved = RunFolder(self.scratch / "run"), RunFolder(self.scratch / "moved")

        def strike(call: Call) -> Any:
            if call.number == at.number:
                if kind == "moved":
                    run.path.rename(moved.path)
                elif kind == "removed":
                    shutil.rmtree(run.path)
                elif kind == "checkpoints removed":
                    shutil.rmtree(run.checkpoints, ignore_errors=True)
                else:
                    run.config.unlink(missing_ok=True)
                    run.tokenizer.unlink(missing_ok=True)
                if another:
                    shutil.copytree(self.other, run.path)
            return call.do()

        with Intercept(strike):
            code, said = command(self.flags(run.path))
        if another and (wrong := different(files(self.other), files(run.path))):
            yield f"wrote into another run: {wrong}"
        if kind == "removed":
            if code != 1 or "was removed while it trained" not in said:
                yield f"expected one line and exit code 1, got {code} and {said!r}"
            if not another and run.path.exists():
                yield f"a part of a run is there: {sorted(listing(self.scratch))}"
            return
        if code:
            yield f"exit code {code}: {said!r}"
            return
        if kind == "moved" and not another and run.path.exists():
            yield f"a part of a run is there: {sorted(listing(run.path))}"
        where = moved if kind == "moved" else run
        wrong = list(_runs.differences(where, self.expected))
        if kind == "checkpoints removed":  # after the last one was saved they stay removed
            wrong = [text for text in wrong if text != "other files: ['checkpoints']"]
        yield from wrong
        yield from _runs.unreadable(where)
        code, said = command(["--resume", str(where.path)])
        if code:
            yield f"not resumable: {said!r}"


def files(folder: Path) -> Listing:
    """What lies there, without folders: those have other times when something passes."""
    return {name: about for name, about in listing(folder).items() if (folder / name).is_file()}


def run(count: int, seed: int, say: Callable[[str], None]) -> Outcome:
    with tempfile.TemporaryDirectory() as home:
        moves = Moves(Path(home))
        tries = list(moves.tries())
        random.Random(seed).shuffle(tries)
        tries = tries[:count]
        failures = []
        for number, (call, kind, another) in enumerate(tries, start=1):
            words = f"{kind}{', and another run is there' if another else ''}"
            failures += [f"{words} at {call}: {t}" for t in moves.try_once(call, kind, another)]
            if number % 100 == 0:
                say(f"{number} of {len(tries)}, {len(failures)} failures")
    return Outcome(len(tries), failures, dict(Counter(kind for _, kind, _ in tries)))


PROMISE = Promise(
    words="A run whose folder is moved or removed loses nothing more, and writes nowhere else",
    how="at each call that writes to a run's folder: the folder is moved, removed, either with "
    "another run in its place, or its checkpoints or its settings are removed. Expected: the "
    "weights, metrics and files of an undisturbed run, or exit code 1 and no trace of a run",
    wanted="all",
    quick=6,
    full=1_000,
    run=run,
)
