"""A disk that is full, fails, or writes less than asked, at each call that saves a run."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import random
import resource
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tinytape import train
from tinytape.training import RunFolder, report
from tinytape.training.checkpoint import list_checkpoints

from . import _runs
from ._intercept import NAMES, Call, Intercept
from .promise import Outcome, Promise

FIRST, LAST = 2, 4  # the steps of a run, and those of the same run made longer


@dataclass(frozen=True)
class Fault:
    """What happens, and when."""

    begun: bool  # the run goes on from step FIRST, with everything in its place already
    number: int  # of the call
    kind: str  # one of KINDS, or "file size": the system's own limit, of ``number`` bytes


KINDS: dict[str, tuple[int, bool]] = {  # the error, and whether it stays
    "no space": (errno.ENOSPC, False),
    "no space any more": (errno.ENOSPC, True),
    "I/O error": (errno.EIO, False),
    "I/O errors": (errno.EIO, True),
    "short write": (0, False),
    "short writes": (0, True),
}
SIZES = 12  # file size limits that are tried


class Disk:
    """The tries, and what they have in common."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.text = _runs.write_text(scratch / "text.txt")
        self.first, self.expected = RunFolder(scratch / "first"), RunFolder(scratch / "expected")
        self.calls: dict[bool, list[Call]] = {}
        with Intercept() as intercept:
            self.must(self.flags(self.first, FIRST))
        self.calls[False] = intercept.calls
        shutil.copytree(self.first.path, self.expected.path)
        with Intercept() as intercept:
            self.must(self.flags(self.expected, LAST))
        self.calls[True] = intercept.calls
        self.largest = max(p.stat().st_size for p in self.first.path.rglob("*"))

    def faults(self) -> Iterator[Fault]:
        """Every fault at every call."""
        for begun, calls in self.calls.items():
            for call in calls:
                for kind in KINDS:
                    if call.name == "write" or "short" not in kind:
                        yield Fault(begun, call.number, kind)
            for part in range(SIZES):
                yield Fault(begun, (self.largest + 100) * part // SIZES, "file size")

    def flags(self, folder: RunFolder, iters: int) -> list[str]:
        return _runs.again(
            self.text,
            folder.path,
            iters=iters,
            schedule="constant",
            warmup=0,
            eval_interval=1,
            checkpoint_interval=1,
            keep=1,
        )

    def must(self, argv: list[str]) -> None:
        code, said = command(argv)
        if code:
            raise RuntimeError(said)

    def try_once(self, fault: Fault) -> Iterator[str]:
        folder = RunFolder(self.scratch / "run")
        shutil.rmtree(folder.path, ignore_errors=True)
        if fault.begun:
            shutil.copytree(self.first.path, folder.path)
        iters, expected = (LAST, self.expected) if fault.begun else (FIRST, self.first)
        before: list[tuple[Path, str]] = []

        def strike(call: Call) -> Any:
            """Fail where it was asked for, and note what was there by then."""
            error, stays = KINDS[fault.kind]
            if call.number < fault.number or (call.number > fault.number and not stays):
                return call.do()
            if not error:
                return call.do_half() if call.do_half else call.do()
            if call.number == fault.number:
                before.extend(checkpoints(folder))
            if call.name == "close":  # it closes all the same
                call.do()
            raise call.fail(error)

        argv = self.flags(folder, iters)
        if fault.kind == "file size":
            with file_size_limit(fault.number):
                code, said = command(argv)
        else:
            with Intercept(strike):
                code, said = command(argv)
        if fault.kind.startswith("short"):
            if code:
                yield f"stopped: {said!r}"
        elif code or fault.kind != "file size":
            yield from self.judge(folder, code, said, before)
        code, said = command(self.flags(folder, iters))
        if code:
            yield f"not resumable: exit code {code}: {said!r}"
        else:
            yield from _runs.differences(folder, expected)

    def judge(
        self, folder: RunFolder, code: int, said: str, before: list[tuple[Path, str]]
    ) -> Iterator[str]:
        """What the command said, and the folder as the fault left it."""
        if code != 1 or not said.startswith("error: ") or said.count("\n") != 1:
            yield f"expected one line and exit code 1, got {code} and {said!r}"
        elif str(self.scratch) not in said:
            yield f"the error does not name the file: {said!r}"
        yield from _runs.unreadable(folder)
        yield from (f"litter: {path}" for path in _runs.leftovers(folder))
        if _runs.steps_lost(folder) > 1:
            yield f"the newest checkpoint is {_runs.steps_lost(folder)} steps behind"
        if before and before[0] not in checkpoints(folder):
            yield f"the checkpoint before is gone: {before[0][0]}"


def checkpoints(folder: RunFolder) -> list[tuple[Path, str]]:
    """The checkpoints, newest first, and what their manifests say."""
    return [(p, _runs.sha256(p / "MANIFEST.json")) for p in list_checkpoints(folder.checkpoints)]


def command(argv: list[str]) -> tuple[int, str]:
    """``python -m tinytape.train`` in this process; returns its exit code and its stderr."""
    errors = io.StringIO()
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(errors),
        patch.object(report, "SAMPLE_TOKENS", 3),
    ):
        return train.main(argv), errors.getvalue()


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """The system's own limit: a write is cut there, and the next one fails with EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def run(count: int, seed: int, say: Callable[[str], None]) -> Outcome:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # nothing wears out there
    with tempfile.TemporaryDirectory(dir=memory) as scratch:
        disk = Disk(Path(scratch))
        faults = list(disk.faults())
        random.Random(seed).shuffle(faults)
        faults = faults[:count]
        failures = []
        for number, fault in enumerate(faults, start=1):
            call = disk.calls[fault.begun][fault.number] if fault.kind in KINDS else fault.number
            failures += [f"{fault.kind} at {call}: {text}" for text in disk.try_once(fault)]
            if number % 100 == 0:
                say(f"{number} of {len(faults)} faults, {len(failures)} failures")
        met = Counter(call.name for calls in disk.calls.values() for call in calls)
    failures += [f"no {name} was intercepted" for name in NAMES if not met[name]]
    return Outcome(len(faults), failures, {"calls": sum(met.values()), **met})


PROMISE = Promise(
    words="A full or failing disk leaves the previous checkpoint complete",
    how="ENOSPC and EIO, once and for ever, and short writes at every call that changes a run's "
    "folder, and the system's own file size limit. Expected: one line with the file's name, exit "
    "code 1, no leftover files, and the same final weights from there",
    wanted="every place",
    quick=12,
    full=10_000,  # more than there are: each is tried once
    run=run,
)
