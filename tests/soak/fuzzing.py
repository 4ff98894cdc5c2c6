"""Every reader against inputs that are mutated to reach new code.

At full length each reader has its own process (``_fuzz.py``), in which Atheris guides the mutations
by the code that they reach; this needs Linux and the extra [fuzz]. The brief form, in the test
suite, runs the same harness on random mutations.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .hostile_files import DOCUMENTED, TEXTS, TOML, Target, targets
from .promise import Outcome, Promise

GUIDED_FROM = 20_000  # inputs in all: fewer are not worth a process for each reader
SECONDS = 40  # at most, for each reader
ROOT = Path(__file__).parents[2]


@dataclass
class Reader:
    """One file that something reads."""

    path: Path
    target: Target
    seeds: list[bytes]

    def spoil(self, data: bytes, random: np.random.Generator) -> bytes:
        changed: bytes = self.target.spoil(data, random)[1]
        return changed

    def try_one(self, data: bytes) -> BaseException | None:
        """Have it read; what it raised that is not documented."""
        self.path.write_bytes(data)
        self.target.after(self.path, data)
        try:
            self.target.read()
        except DOCUMENTED:
            return None
        except Exception as error:
            return error
        finally:
            self.target.restore()
            self.path.write_bytes(self.target.files[self.path])
        return None


def readers(home: Path) -> dict[str, Reader]:
    """All of them by name, in a run folder at ``home``."""
    found = {}
    for name, target in targets(home).items():
        for path, data in target.files.items():
            seeds = [data, *(TEXTS if name == "corpus" else [TOML] if name == "settings" else [])]
            found[f"{name}: {path.name}"] = Reader(path, target, seeds)
    return found


def blindly(names: list[str], home: Path, count: int, seed: int, outcome: Outcome) -> None:
    kinds = readers(home)
    for i in range(count):
        name = names[i % len(names)]
        reader, random = kinds[name], np.random.default_rng([seed, i])
        data = reader.spoil(reader.seeds[int(random.integers(len(reader.seeds)))], random)
        error = reader.try_one(data)
        if error is not None:
            outcome.failures.append(f"{name}: {type(error).__name__}: {str(error)[:200]}")
    outcome.tried = count


def guided(name: str, scratch: Path, count: int, seed: int) -> tuple[int, int, list[str]]:
    """(inputs, those that reached something new, what went wrong) of one reader."""
    command = [
        sys.executable,
        "-m",
        "tests.soak._fuzz",
        name,
        str(count),
        str(SECONDS),
        str(seed),
        str(scratch),
    ]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=SECONDS * 10
    )
    trouble = scratch / "trouble"
    failures = []
    if trouble.exists():
        for line in trouble.read_text().splitlines():
            record = json.loads(line)
            failures.append(f"{name}: {record['what']}: {record['says']}: {record['input'][:400]}")
    if done.returncode != 0:
        failures.append(f"{name}: ended with {done.returncode}: {done.stderr[-500:]}")
    counts = dict(re.findall(r"stat::(\w+):\s+(\d+)", done.stderr))
    tried = int(counts.get("number_of_executed_units", 0))
    if tried == 0 and not failures:
        failures.append(f"{name}: nothing was tried: {done.stderr[-500:]}")
    return tried, int(counts.get("new_units_added", 0)), failures


def run(count: int, seed: int, say: Callable[[str], None]) -> Outcome:
    outcome = Outcome(0)
    with tempfile.TemporaryDirectory(prefix="tinytape-fuzz-") as scratch:
        names = list(readers(Path(scratch) / "names"))
        if count < GUIDED_FROM:
            blindly(names, Path(scratch) / "run", count, seed, outcome)
            return outcome
        if importlib.util.find_spec("atheris") is None:
            outcome.failures.append("atheris is not installed: pip install 'tinytape[fuzz]'")
            return outcome
        bred = 0
        for i, name in enumerate(names):
            folder = Path(scratch) / str(i)
            folder.mkdir()
            tried, new, failures = guided(name, folder, count // len(names), seed)
            outcome.tried += tried
            outcome.failures += failures
            bred += new
            say(f"{name}: {tried:,} inputs, {new} reached something new, {len(failures)} failed")
    outcome.figures = {"readers": len(names), "inputs that reached something new": f"{bred:,}"}
    return outcome


PROMISE = Promise(
    words="Every reader survives a fuzzer",
    how="coverage-guided fuzzing (Atheris) of every reader, 40 s each: checkpoints with right "
    "manifests, manifests, settings, tokenizers, texts, metrics, weights",
    wanted="only documented errors; no hang, no crash, at most 2 GB",
    quick=400,
    full=1_000_000,
    run=run,
)
