"""The training loop: a plain one, with the things around it that keep a run honest and safe."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tinytape as tt
from tinytape.nn import functional as F

from .._files import replace_file
from ..errors import NonFiniteError
from .arrays import is_finite, pack_arrays
from .checkpoint import (
    Checkpoint,
    latest_checkpoint,
    list_checkpoints,
    prune_checkpoints,
    save_checkpoint,
)
from .config import TrainConfig, changed_for_resume, checked_names, resolve
from .environment import differences, environment, resident_mb
from .errors import CheckpointError, ConfigError, MissingGradientError
from .evaluate import held_out_loss
from .progress import Console, Progress
from .report import closing, header
from .run_folder import RunFolder
from .session import Session, build_session
from .signals import StopSignals


@dataclass(frozen=True)
class Outcome:
    """How a call of ``train`` or ``resume`` ended."""

    folder: RunFolder
    session: Session
    stopped: str | None  # None when the run is complete, else why it stopped early
    exit_code: int  # 0, or 128 + the signal's number


def train(
    config: TrainConfig, *, overwrite: bool = False, console: Console | None = None
) -> Outcome:
    """Start a run in ``config.out`` and train it.

    Raises:
        DataError, ConfigError, RunError: before anything is written.
        MissingGradientError: after the first backward pass.
        NonFiniteError: the loss or the gradient norm; the weights were not updated with it.
        OSError: a checkpoint could not be written; the one before is whole.
    """
    console = console or Console()
    config = resolve(config)
    session = build_session(config)
    folder = RunFolder(config.out)
    folder.claim(overwrite=overwrite)
    session.tokenizer.save(folder.tokenizer)
    folder.write_config(session.record())
    return _run(session, folder, console, resumed=None)


def resume(
    folder: RunFolder, asked: Mapping[str, Any], *, console: Console | None = None
) -> Outcome:
    """Go on with a run from its newest checkpoint that verifies.

    Args:
        asked: settings given anew; ConfigError when one would change the result.

    Raises:
        As ``train``, and CheckpointError when there are checkpoints and none is good.
    """
    console = console or Console()
    folder.require_run()
    folder.remove_leftovers()
    checkpoint, problems = latest_checkpoint(folder.checkpoints)
    for problem in problems:
        console.line(f"skipped a checkpoint: {problem}")
    if checkpoint is None and problems:
        raise CheckpointError(f"{folder}: no checkpoint is good; start again with --overwrite")
    # Killed before its first checkpoint, a run has its settings and nothing to lose.
    record = folder.read_config() if checkpoint is None else checkpoint.config
    old = TrainConfig(**checked_names(record.get("train", {}), str(folder)))
    # Where the run lies now is where it goes on, also when the folder was moved.
    old = dataclasses.replace(old, out=str(folder))
    config = changed_for_resume(old, {k: v for k, v in asked.items() if k != "out"})
    if checkpoint is not None and config.iters < checkpoint.step:
        raise ConfigError(f"{folder} is at step {checkpoint.step}, beyond iters = {config.iters}")
    session = build_session(config)
    if checkpoint is not None:
        session.restore(checkpoint)
        for line in differences(checkpoint.env, environment()):
            console.line(f"warning: the environment is not that of the checkpoint: {line}")
    folder.truncate_metrics(session.counters.evaluated_step)
    folder.write_config(session.record())
    return _run(session, folder, console, resumed=checkpoint)


def _run(
    session: Session, folder: RunFolder, console: Console, resumed: Checkpoint | None
) -> Outcome:
    config, counters = session.config, session.counters
    for line in header(session, folder, resumed):
        console.line(line)
    progress = Progress(
        console, total=config.iters, start=counters.step, tokens_per_step=session.tokens_per_step
    )
    saved_step = counters.step if resumed else -1
    steps_here = 0
    with StopSignals() as stop:
        console.attach(stop)
        try:
            clock = time.perf_counter()
            pace = _Pace()
            session.model.train()
            while True:
                if _evaluation_is_due(session):
                    _evaluate(session, folder, progress, stop, pace)
                counters.seconds += time.perf_counter() - clock
                clock = time.perf_counter()
                if saved_step != counters.step and (
                    stop.requested
                    or counters.step % config.checkpoint_interval == 0
                    or counters.step == config.iters
                ):
                    _save(session, folder)
                    saved_step = counters.step
                if stop.requested or counters.step == config.iters:
                    break
                begun = time.perf_counter()
                loss = train_step(session, folder, check_gradients=steps_here == 0)
                took = time.perf_counter() - begun
                steps_here += 1
                pace.add(took)
                progress.step(counters.step, loss, took)
        finally:
            progress.close()
        if stop.requested is None:
            replace_file(folder.model, pack_arrays(session.weights()))
            for line in closing(session, folder, stop):
                console.line(line)
        else:
            console.line(
                f"stopped by {stop.requested} and saved at step {counters.step}; go on with: "
                f"python -m tinytape.train --resume {folder}"
            )
        return Outcome(folder, session, stop.requested, stop.exit_code)


def train_step(session: Session, folder: RunFolder, *, check_gradients: bool = False) -> float:
    """One step of the plain loop; returns its training loss.

    Raises:
        MissingGradientError: with ``check_gradients``, when a parameter received no gradient.
        NonFiniteError: the loss or the gradient norm is not finite. Raised before the update.
    """
    config, model, counters = session.config, session.model, session.counters
    x, y = session.windows.batch(counters.step)
    logits = model(tt.tensor(x))
    loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), tt.tensor(y.reshape(-1)))
    loss.backward()
    value = float(loss.item())
    if check_gradients:
        require_gradients(model)
    norm = tt.nn.utils.clip_grad_norm_(model.parameters(), config.clip or math.inf).item()
    for what, number in (("the loss", value), ("the gradient norm", norm)):
        if not math.isfinite(number):
            raise NonFiniteError(
                _non_finite(
                    counters.step, what, number, "the weights were not updated, and ", folder
                )
            )
    session.optimizer.step()
    session.scheduler.step()
    session.optimizer.zero_grad()
    counters.step += 1
    counters.loss_sum += value
    counters.loss_count += 1
    counters.grad_norm = norm
    return value


def require_gradients(model: tt.nn.Module) -> None:
    """Raise MissingGradientError naming the parameters that want a gradient and have none."""
    missing = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    if missing:
        raise MissingGradientError(
            f"no gradient reached {', '.join(missing)}: the forward pass does not use "
            f"{'it' if len(missing) == 1 else 'them'}, or leaves the tape on the way"
        )


def _evaluation_is_due(session: Session) -> bool:
    step = session.counters.step
    due = step % session.config.eval_interval == 0 or step == session.config.iters
    return due and session.counters.evaluated_step != step


def _evaluate(
    session: Session, folder: RunFolder, progress: Progress, stop: StopSignals, pace: _Pace
) -> None:
    """Measure the held-out loss and write its line, unless a stop is asked for on the way."""
    counters = session.counters
    begun = time.perf_counter()
    held_out = held_out_loss(
        session.model, session.splits.held_out, session.context, lambda: bool(stop.requested)
    )
    if held_out is None:
        return  # evaluated_step stays behind, so a resumed run begins with this evaluation
    if not math.isfinite(held_out):
        raise NonFiniteError(_non_finite(counters.step, "the held-out loss", held_out, "", folder))
    train = counters.loss_sum / counters.loss_count if counters.loss_count else None
    counters.loss_sum, counters.loss_count = 0.0, 0
    counters.evaluated_step = counters.step
    counters.held_out_loss = held_out
    if counters.best_loss is None or held_out < counters.best_loss:
        counters.best_loss, counters.best_step = held_out, counters.step
    lr = session.scheduler.get_last_lr()[0]
    memory = tt.memory_stats()
    folder.append_metrics(
        {
            "step": counters.step,
            "train_loss": train,
            "val_loss": held_out,
            "lr": lr,
            "grad_norm": counters.grad_norm,
            "tokens": counters.step * session.tokens_per_step,
            "tokens_per_s": pace.take(session.tokens_per_step),
            "elapsed_s": round(counters.seconds + time.perf_counter() - begun, 3),
            "rss_mb": resident_mb(),
            "arena_bytes": memory["step_high_water"],
            "system_bytes": memory["system_bytes"],
            "system_allocations": memory["system_allocations"],
        }
    )
    progress.evaluated(counters.step, train, held_out, lr)


def _save(session: Session, folder: RunFolder) -> None:
    state, arrays = session.state()
    weights = session.weights()
    for name, array in weights.items():  # a bad checkpoint must not push out a good one
        if not is_finite(array):
            raise NonFiniteError(
                _non_finite(session.counters.step, name, math.nan, "it was not saved, and ", folder)
            )
    save_checkpoint(
        folder.checkpoints,
        session.counters.step,
        model=weights,
        arrays=arrays,
        state=state,
        config=session.record(),
        env=environment(),
    )
    prune_checkpoints(folder.checkpoints, session.config.keep)


def _non_finite(step: int, what: str, value: float, effect: str, folder: RunFolder) -> str:
    last = next(iter(list_checkpoints(folder.checkpoints)), None)
    where = f"the last checkpoint is {last}" if last else "there is no checkpoint yet"
    return (
        f"step {step}: {what} is {value}; {effect}{where}. "
        f"A lower --lr, a longer --warmup or a smaller --clip usually helps"
    )


class _Pace:
    """Time spent in training steps alone, since it was last asked for."""

    def __init__(self) -> None:
        self.steps, self.seconds = 0, 0.0

    def add(self, seconds: float) -> None:
        self.steps += 1
        self.seconds += seconds

    def take(self, tokens_per_step: int) -> float | None:
        if not self.steps:
            return None
        rate = round(self.steps * tokens_per_step / self.seconds, 1)
        self.steps, self.seconds = 0, 0.0
        return rate
