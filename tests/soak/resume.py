"""A run that is stopped anywhere and resumed ends with the weights of one that was not."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tinytape as tt
from tinytape.training import RunFolder, TrainConfig, resume, train
from tinytape.training import step as step_module
from tinytape.training.progress import Console

from .promise import Outcome, Promise

BATCHES = 24
# What a run can be made of; each combination is a kind of state that has to survive.
KINDS: dict[str, dict[str, Any]] = {
    "tiny": {},
    "tiny, dropout": {"dropout": 0.2},
    "tiny, Adam": {"optimizer": "adam", "schedule": "linear"},
    "tiny, SGD": {"optimizer": "sgd"},
    "tiny, float64": {"dtype": "float64", "schedule": "constant"},
    "tiny, 3 batches a step": {"gradient_accumulation_steps": 3, "dropout": 0.1},
    "small": {"model": "small", "batch_size": 4},
    "nested-state": {"model": "nested-state", "context": 16, "dropout": 0.1},
    "nested-surprise": {
        "model": "nested-surprise",
        "context": 16,
        "surprise": "second_order",
        "reset": "5",
    },
}


def settings(kind: str, folder: Path, out: str, **changes: Any) -> TrainConfig:
    given = {
        "model": "tiny",
        "batch_size": 2,
        "data": str(folder / "text.txt"),
        "out": str(folder / out),
        "eval_interval": 3,
        "checkpoint_interval": 4,
        **KINDS[kind],
        **changes,
    }
    steps = BATCHES // given.get("gradient_accumulation_steps", 1)
    return TrainConfig(iters=steps, warmup=2, **given)


def silent() -> Console:
    return Console(io.StringIO())


def digest(run: str) -> str:
    return hashlib.sha256((Path(run) / "model.safetensors").read_bytes()).hexdigest()


def stopped_and_resumed(
    config: TrainConfig, stops: list[tuple[int, signal.Signals]], threads: list[int]
) -> int:
    """Train with signals during these batches, resuming with the next number of threads each time.

    Returns how often it stopped.
    """
    waiting, real = list(stops), step_module.batch_losses

    def batch_losses(session: Any, number: int) -> Any:
        if waiting and number >= waiting[0][0]:
            os.kill(os.getpid(), waiting.pop(0)[1])
        return real(session, number)

    step_module.batch_losses = batch_losses
    try:
        tt.set_num_threads(threads[0])
        done = train(config, console=silent())
        times = 0
        while done.stopped:
            times += 1
            tt.set_num_threads(threads[times % len(threads)])
            done = resume(RunFolder(config.out), {}, console=silent())
        return times
    finally:
        step_module.batch_losses = real


def run(count: int, seed: int, say: Callable[[str], None]) -> Outcome:
    outcome = Outcome(count)
    rng = np.random.default_rng(seed)
    before, stops_in_all = tt.get_num_threads(), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        letters = rng.integers(0, 20, 2000)
        (folder / "text.txt").write_text("".join(chr(97 + int(i)) for i in letters))
        whole: dict[str, str] = {}
        try:
            for i in range(count):
                kind = list(KINDS)[i % len(KINDS)]
                if kind not in whole:
                    config = settings(kind, folder, f"whole-{len(whole)}")
                    train(config, console=silent())
                    whole[kind] = digest(config.out)
                times = int(rng.integers(1, 5))
                at = sorted(int(x) for x in rng.choice(BATCHES, times, replace=False))
                kinds = rng.choice([signal.SIGTERM, signal.SIGINT], times)
                threads = [int(x) for x in rng.integers(1, 3, 4)]
                config = settings(kind, folder, f"run-{i}")
                stops_in_all += stopped_and_resumed(
                    config,
                    [(b, signal.Signals(s)) for b, s in zip(at, kinds, strict=True)],
                    threads,
                )
                if digest(config.out) != whole[kind]:
                    outcome.failures.append(f"{kind}: stopped in batches {at}, threads {threads}")
                if i % 10 == 9:
                    say(f"{i + 1} of {count}")
        finally:
            tt.set_num_threads(before)
    outcome.figures = {"stops": stops_in_all, "kinds": min(count, len(KINDS)), "threads": "1 and 2"}
    return outcome


PROMISE = Promise(
    words="Resume is exact",
    how="signals in random batches x kinds of run x thread counts; SHA-256 of the final weights",
    wanted="100 of 100 equal",
    quick=9,
    full=100,
    run=run,
)
