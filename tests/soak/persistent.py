"""A state that is never reset: any number of steps, in flat memory, and resumable."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from tinytape import models
from tinytape.training import RunFolder, TrainConfig, load_checkpoint, resume, train
from tinytape.training import step as step_module

from ._runs import sha256
from .promise import Outcome, Promise
from .resume import silent

WIDTHS = {"width": 32, "hidden": 64, "context": 16}


def settings(folder: Path, out: str, steps: int) -> TrainConfig:
    return TrainConfig(
        model="nested-state",
        data=str(folder / "text.txt"),
        out=str(folder / out),
        iters=steps,
        batch_size=4,
        chunk_sizes="1,16,256",
        warmup=min(100, steps // 10),
        eval_interval=max(1, steps // 50),
        checkpoint_interval=max(1, steps // 10),
    )


def run(count: int, seed: int, say: Callable[[str], None]) -> Outcome:
    outcome = Outcome(count)
    rng = np.random.default_rng(seed)
    stop_at, real = int(rng.integers(count // 4, count)), step_module.batch_losses

    def batch_losses(session: Any, number: int) -> Any:
        if number == stop_at and not session.config.out.endswith("whole"):
            os.kill(os.getpid(), signal.SIGTERM)
        return real(session, number)

    preset = {**models.nested.PRESETS["nested-state"], **WIDTHS}
    with (
        tempfile.TemporaryDirectory() as name,
        patch.dict(models.nested.PRESETS, {"nested-state": preset}),
        patch.object(step_module, "batch_losses", batch_losses),
    ):
        folder = Path(name)
        words = rng.choice(["the", "cat", "sat", "on", "a", "mat", "who", "knows", "why"], 20_000)
        (folder / "text.txt").write_text(" ".join(words))
        whole = train(settings(folder, "whole", count), console=silent())
        say(f"{count:,} steps without a reset")
        stopped = train(settings(folder, "stopped", count), console=silent())
        if stopped.stopped is None:
            outcome.failures.append("the signal was not honoured")
        again = resume(RunFolder(folder / "stopped"), {}, console=silent())
        metrics = whole.folder.read_metrics()
        last = metrics[-1]
        if (last["steps_since_reset"], last["total_resets"]) != (count, 0):
            outcome.failures.append(f"the state was reset: {last}")
        settled = [m for m in metrics if m["step"] >= count // 10]  # every path was taken once
        for key in ("arena_bytes", "system_bytes", "system_allocations"):
            if len({m[key] for m in settled}) != 1:
                outcome.failures.append(f"{key} is not flat: {[m[key] for m in settled]}")
        one, other = (x.folder.model for x in (whole, again))
        if sha256(one) != sha256(other):
            outcome.failures.append(f"stopped in batch {stop_at}: other weights")
        newest = max((whole.folder.checkpoints).iterdir())
        arrays = load_checkpoint(newest).arrays  # refuses what is not finite
        outcome.figures = {
            "held-out perplexity": f"{last['val_perplexity']:.2f}",
            "norm of h": round(last["hidden_norm"], 2),
            "norm of c": round(last["cell_norm"], 1),
            "rows": arrays["model_state.level1_fast.h"].shape[1],
            "resident growth": f"{last['rss_mb'] - settled[0]['rss_mb']:.1f} MB",
        }
    return outcome


PROMISE = Promise(
    words="A carried state lasts for any number of steps",
    how="consecutive steps of a nested model, never reset; memory at every evaluation after the "
    "first tenth; stopped anywhere and resumed, SHA-256 of the final weights",
    wanted="50,000 steps, flat, the same weights, all finite",
    quick=200,
    full=50_000,
    run=run,
)
