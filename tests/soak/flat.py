"""Flat memory: a step of any kind leaves no memory behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ._loops import LOOPS, SETTLED
from .promise import Outcome, Promise

MOST_GROWTH = 2**20  # resident bytes
ROOT = Path(__file__).parents[2]


def try_loop(name: str, steps: int) -> tuple[list[str], int | None]:
    """What was not as after 200 steps, and by how many bytes the process grew."""
    command = [sys.executable, "-m", "tests.soak._loops", name, str(steps)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        return [f"it ended with {done.returncode}: {done.stderr[-500:]}"], None
    early, late = json.loads(done.stdout)
    before, after = early.pop("resident"), late.pop("resident")
    wrong = [f"{k} was {v} and is {late[k]}" for k, v in early.items() if late[k] != v]
    # AddressSanitizer keeps what was freed, to notice when it is used.
    if before is None or "libasan" in os.environ.get("LD_PRELOAD", ""):
        return wrong, None
    growth = after - before
    if growth > MOST_GROWTH:
        wrong.append(f"the process grew by {growth:,} bytes")
    return wrong, growth


def run(count: int, seed: int, say: Callable[[str], None]) -> Outcome:
    outcome = Outcome(0)
    growths = {}
    for name in LOOPS:
        wrong, growth = try_loop(name, count)
        outcome.tried += 1
        outcome.failures += [f"{name}, {count:,} steps: {w}" for w in wrong]
        growths[name] = "not measured" if growth is None else f"{growth:,} bytes"
        say(f"{name}: {count:,} steps, resident growth {growths[name]}")
    outcome.figures = {
        "steps of each loop": f"{count:,}",
        "resident growth": ", ".join(f"{k} {v}" for k, v in growths.items()),
    }
    return outcome


PROMISE = Promise(
    words="Memory is flat",
    how=f"loops in a process each, {', '.join(LOOPS)}: all of memory_stats() and the resident "
    f"bytes after {SETTLED} steps and at the end",
    wanted="blocks, bytes and system allocations equal; resident growth at most 1 MB",
    quick=400,
    full=10_000,
    run=run,
)
