"""Files that somebody else made: a documented error or a load; no crash, no hang."""

from __future__ import annotations

import copy
import dataclasses
import gc
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tinytape.data import CharTokenizer, load_corpus, split_corpus
from tinytape.errors import TinytapeError
from tinytape.training import RunFolder, TrainConfig, load_run
from tinytape.training.checkpoint import load_checkpoint
from tinytape.training.config import read_toml
from tinytape.training.environment import resident_mb
from tinytape.training.manifest import MANIFEST
from tinytape.training.session import Session
from tinytape.training.verify import require_usable

from ._miniature import TEXT, manifest_of, write_run
from ._mutations import one_of, spoil_bytes, spoil_json, spoil_manifest, spoil_safetensors
from .promise import Outcome, Promise

DOCUMENTED = (TinytapeError, OSError, MemoryError)
SLOW = 1.0  # seconds that no file of this size may take
HANG = 20.0  # after which one is given up
GROWTH = 64.0  # MB of resident memory that a million of them may cost
STEP = 2

TOML = b"""\
# settings
model = "tiny"
data = "rome.txt"
lr = 1e-3
batch-size = 4
clip = 1
schedule = "cosine"
betas = [0.9, 0.99]
seed = 18446744073709551615
"""
TEXTS = (
    TEXT.encode(),
    b"",
    b"\0",
    b"x",
    b"\xff\xfe",
    "\ufeffz\u00fc\U0001f600".encode() * 9,
    b"\r\n" * 40,
    bytes(range(256)),
    b"ab" * 3000,
    "\U0010ffff".encode() * 50,
)


class Hang(BaseException):
    """What was given up."""


@dataclasses.dataclass
class Target:
    """A kind of file: where it lies, what spoils it, and who reads it."""

    files: dict[Path, bytes]
    spoil: Any
    read: Callable[[], Any]
    after: Callable[[Path, bytes], None] = lambda path, data: None
    restore: Callable[[], None] = lambda: None


def targets(home: Path) -> dict[str, Target]:
    """Everything that tinytape reads, by name, in a run folder at ``home``."""
    session = write_run(home, (STEP,))
    path = home / "checkpoints" / f"step-{STEP:08d}"
    parts = {p: p.read_bytes() for p in path.iterdir() if p.name != MANIFEST}
    manifest = (path / MANIFEST).read_bytes()

    def checkpoint() -> None:
        checkpoint = load_checkpoint(path)
        before = state_of(session)
        try:
            session.restore(checkpoint)
        except Exception:
            assert state_of(session) == before, "a load that failed changed something"
            raise
        require_usable(checkpoint)

    def seal(changed: Path, data: bytes) -> None:
        contents = {p.name: data if p == changed else old for p, old in parts.items()}
        (path / MANIFEST).write_bytes(manifest_of(contents, STEP))

    def unseal() -> None:
        (path / MANIFEST).write_bytes(manifest)

    def corpus() -> None:
        text = load_corpus(home / "text.txt")
        tokenizer = CharTokenizer.from_text(text.text)
        split_corpus(text, tokenizer, 4)

    def settings() -> None:
        TrainConfig(**read_toml(home / "run.toml"))

    def tokenizer() -> None:
        known = CharTokenizer.load(home / "tokenizer.json")
        known.decode(known.encode(known.characters[0]))

    def metrics() -> None:
        folder = RunFolder(home)
        folder.write_metrics(folder.read_metrics())

    def own(name: str, data: bytes | None = None) -> dict[Path, bytes]:
        if data is not None:
            (home / name).write_bytes(data)
        return {home / name: (home / name).read_bytes()}

    def part(suffix: str, spoil: Any) -> Target:
        mine = {p: d for p, d in parts.items() if p.suffix == suffix}
        return Target(mine, spoil, checkpoint, seal, unseal)

    line = b'{"step": %d, "train_loss": null, "val_loss": 4.5, "lr": 0.1}\n'
    record = one_of(spoil_json, spoil_json, spoil_bytes)
    arrays = one_of(spoil_safetensors, spoil_safetensors, spoil_bytes)
    return {
        "checkpoint arrays": part(".safetensors", arrays),
        "checkpoint records": part(".json", record),
        "manifest": Target(
            {path / MANIFEST: manifest}, one_of(spoil_manifest, spoil_bytes), checkpoint
        ),
        "settings": Target(own("run.toml", TOML), spoil_bytes, settings),
        "tokenizer": Target(own("tokenizer.json"), record, tokenizer),
        "corpus": Target(own("text.txt", TEXT.encode()), _another_text, corpus),
        "metrics": Target(
            own("metrics.jsonl", b"".join(line % i for i in range(0, 9, 2))), spoil_bytes, metrics
        ),
        "run config": Target(own("config.json"), record, lambda: load_run(home)),
        "weights": Target(own("model.safetensors"), arrays, lambda: load_run(home)),
    }


def state_of(session: Session) -> tuple[Any, list[bytes]]:
    """All that a load assigns, in plain values."""
    state, arrays = session.state()
    values = {**session.weights(), **arrays}
    return copy.deepcopy(state), [np.asarray(value.numpy()).tobytes() for value in values.values()]


def one(target: Target, random: np.random.Generator) -> tuple[str, Exception | None, float]:
    """Spoil a file and read it: (what was done, what came of it, seconds)."""
    paths = list(target.files)
    path = paths[int(random.integers(len(paths)))]
    words, data = target.spoil(target.files[path], random)
    path.write_bytes(data)
    target.after(path, data)
    error = None
    begun = time.perf_counter()
    try:
        with given_up_after(HANG):
            target.read()
    except (Exception, Hang) as raised:
        error = raised
    seconds = time.perf_counter() - begun
    path.write_bytes(target.files[path])
    target.restore()
    return f"{path.name}: {words}", error, seconds


def run(count: int, seed: int, say: Callable[[str], None]) -> Outcome:
    outcome = Outcome(count)
    memory = Path("/dev/shm")
    scratch = Path(
        tempfile.mkdtemp(prefix="tinytape-soak-", dir=memory if memory.is_dir() else None)
    )
    loaded, slowest, settled = 0, 0.0, 0.0
    try:
        kinds = targets(scratch / "run")
        names = list(kinds)
        for i in range(count):
            if i == min(1000, count // 2):  # by then everything has been loaded and imported once
                gc.collect()
                settled = resident_mb() or 0.0
            name = names[i % len(names)]
            words, error, seconds = one(kinds[name], np.random.default_rng([seed, i]))
            if seconds > SLOW and not isinstance(error, Hang):  # or was the machine busy?
                words, error, seconds = one(kinds[name], np.random.default_rng([seed, i]))
            slowest = max(slowest, seconds)
            loaded += error is None
            failure = None
            if error is not None and not isinstance(error, DOCUMENTED):
                failure = f"{type(error).__name__}: {str(error)[:200]}"
            elif seconds > SLOW:
                failure = f"took {seconds:.1f} s"
            if failure:
                outcome.failures.append(f"try {i} of seed {seed}: {name}: {words}: {failure}")
            if (i + 1) % 100_000 == 0:
                say(f"{i + 1:,} of {count:,}, {len(outcome.failures)} failed")
        gc.collect()
        growth = (resident_mb() or 0.0) - settled
        if growth > GROWTH:
            outcome.failures.append(f"resident memory grew by {growth:.0f} MB")
        outcome.figures = {
            "still loaded": f"{100 * loaded / count:.0f} %",
            "slowest": f"{slowest:.2f} s",
            "memory grew by": f"{growth:.1f} MB",
        }
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return outcome


@contextmanager
def given_up_after(seconds: float) -> Iterator[None]:
    """Raise Hang in what takes longer (where there are timers, in the main thread)."""
    if os.name == "nt" or threading.current_thread() is not threading.main_thread():
        yield
        return

    def give_up(*_: object) -> None:
        raise Hang(f"still at work after {seconds} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _another_text(data: bytes, random: np.random.Generator) -> tuple[str, bytes]:
    """One of the texts that are none, or are odd; mostly spoiled besides."""
    text = int(random.integers(len(TEXTS)))
    if not random.integers(8):
        return f"text {text}", TEXTS[text]
    words, data = spoil_bytes(TEXTS[text], random)
    return f"text {text}, {words}", data


PROMISE = Promise(
    words="Loading is safe",
    how="spoiled checkpoints (with right manifests), settings, tokenizers, texts, metrics, weights",
    wanted="only documented errors; none takes 1 s; no growth",
    quick=3_000,
    full=1_000_000,
    run=run,
)
