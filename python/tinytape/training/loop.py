"""The training loop: a plain one, with the things around it that keep a run honest and safe."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tinytape as tt

from .._files import discard_folder
from ..data import CharTokenizer
from .arrays import NotFiniteError
from .belonging import require_same_run
from .changes import changed_for_resume
from .checkpoint import (
    Checkpoint,
    copy_checkpoint,
    latest_checkpoint,
    list_checkpoints,
    load_checkpoint,
    prune_checkpoints,
    save_checkpoint,
    step_of,
)
from .config import TrainConfig, check_names
from .defaults import resolve
from .environment import differences, environment, resident_mb
from .errors import CheckpointError, ConfigError, RunError
from .evaluate import perplexity
from .final_weights import save_final_weights
from .load import settings_of
from .nonfinite import first_bad_operation, nonfinite_error
from .progress import Console, Progress
from .report import closing, header
from .run_folder import RunFolder
from .session import Session, build_session
from .signals import StopSignals
from .step import train_step


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
    with folder.held() as notice:
        if notice:
            console.line(notice)
        folder.claim(overwrite=overwrite)
        session.tokenizer.save(folder.tokenizer)
        folder.write_config(session.record())
        return _run(session, folder, console, resumed=None)


def resume(
    folder: RunFolder,
    asked: Mapping[str, Any],
    *,
    checkpoint: Path | None = None,
    allow_change: Collection[str] = (),
    overwrite: bool = False,
    console: Console | None = None,
) -> Outcome:
    """Go on with a run from its newest checkpoint that verifies.

    Args:
        asked: settings given anew; ConfigError when one would change the result. With ``out``, the
            run stays as it is and another one goes on in that folder.
        checkpoint: the checkpoint to go on from instead. Where the run holds newer ones, ``out``
            says where to.
        allow_change: settings that may change all the same; ``data`` is the text.
        overwrite: ``out`` may hold a run, which is lost.

    Raises:
        As ``train``, and CheckpointError when there are checkpoints and none is good.
    """
    console = console or Console()
    check_names(allow_change, "--allow-change")
    folder.require_run()
    target = RunFolder(asked.get("out", folder.path))
    branches = target.path.resolve() != folder.path.resolve()
    with target.held() as notice:
        if notice:
            console.line(notice)
        if not branches:
            folder.remove_leftovers()
        found = _starting_point(folder, checkpoint, console)
        if found is not None and found.path.parent.parent == folder.path:
            require_same_run(folder, found)
        # Killed before its first checkpoint, a run has its settings and nothing to lose.
        record = folder.read_config() if found is None else found.config
        old = settings_of(record, folder.config if found is None else found.path / "config.json")
        # Where the run lies now is where it goes on, also when the folder was moved.
        old = dataclasses.replace(old, out=str(folder))
        config = changed_for_resume(old, asked, allow_change)
        if found is not None and config.iters < found.step:
            raise ConfigError(f"{folder} is at step {found.step}, beyond iters = {config.iters}")
        if found is not None and not branches:
            newest = next(iter(list_checkpoints(folder.checkpoints)), found.path)
            if checkpoint is not None and step_of(newest) > found.step:
                raise RunError(
                    f"{folder} went on from {found.path} to {newest.name}; add --out for another "
                    f"folder, where a run goes on from here and that one stays"
                )
        # Another text is read with the characters that the weights know.
        tokenizer = CharTokenizer.load(folder.tokenizer) if "data" in allow_change else None
        fed = dict(record.get("corpus", {}))
        if "data" in asked:
            fed["path"] = None  # where it was before
        session = build_session(config, tokenizer, fed=fed, checkpoint=found)
        if found is not None:
            session.restore(found, allowed=allow_change)
            for line in differences(found.env, environment()):
                console.line(f"warning: the environment is not that of the checkpoint: {line}")
        metrics = folder.read_metrics()
        best = [p for p in list_checkpoints(folder.best) if found and step_of(p) <= found.step]
        if branches:
            target.claim(overwrite=overwrite)
            session.tokenizer.save(target.tokenizer)
            for path in best:
                copy_checkpoint(path, target.best)
        elif allow_change:  # what was best may be of a future that does not come
            for path in set(list_checkpoints(folder.best)) - set(best):
                discard_folder(path)
        target.write_metrics([m for m in metrics if m["step"] <= session.counters.evaluated_step])
        target.write_config(session.record())
        return _run(session, target, console, resumed=found)


def _starting_point(
    folder: RunFolder, checkpoint: Path | None, console: Console
) -> Checkpoint | None:
    if checkpoint is not None:
        return load_checkpoint(checkpoint)
    found, problems = latest_checkpoint(folder.checkpoints)
    for problem in problems:
        console.line(f"skipped a checkpoint: {problem}")
    if found is None and problems:
        raise CheckpointError(
            f"{folder}: no checkpoint is good ({'; '.join(problems)}); if none can be saved, "
            f"start again with --overwrite"
        )
    return found


def _run(
    session: Session, folder: RunFolder, console: Console, resumed: Checkpoint | None
) -> Outcome:
    config, counters = session.config, session.counters
    for line in header(session, folder, resumed):
        console.line(line)
    progress = Progress(
        console, total=config.iters, start=counters.step, tokens_per_step=session.tokens_per_step,
        eval_interval=config.eval_interval,
    )  # fmt: skip
    saved = session.position if resumed else None
    if resumed:  # a kill may have come between the last saving and its rotation
        prune_checkpoints(folder.checkpoints, config.keep)
    first = True
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
                due = counters.micro_step == 0 and (
                    counters.step % config.checkpoint_interval == 0 or counters.step == config.iters
                )
                if saved != session.position and (stop.requested or due):
                    _save(session, folder, folder.checkpoints)
                    prune_checkpoints(folder.checkpoints, config.keep)
                    saved = session.position
                # A request may have come since it was last looked at: what is left must be saved.
                if counters.step == config.iters or (stop.requested and saved == session.position):
                    break
                begun = time.perf_counter()
                loss = train_step(
                    session,
                    folder,
                    check_gradients=first,
                    should_stop=lambda: bool(stop.requested),
                    note=progress.note,
                )
                first = False
                if loss is not None:
                    took = time.perf_counter() - begun
                    pace.add(took)
                    progress.step(counters.step, loss, took)
        finally:
            progress.close()
        if stop.requested is None:
            save_final_weights(
                folder.model,
                session.weights(),
                step=counters.step,
                model=session.model.config.to_dict(),
                tokenizer=session.tokenizer,
            )
            for line in closing(session, folder, stop):
                console.line(line)
        else:
            console.line(
                f"stopped by {stop.requested} and saved at step {counters.step}; go on with: "
                f"python -m tinytape.train --resume {folder}"
            )
        return Outcome(folder, session, stop.requested, stop.exit_code)


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
    held_out = session.task.evaluate(lambda: bool(stop.requested), progress.evaluating)
    if held_out is None:
        return  # evaluated_step stays behind, so a resumed run begins with this evaluation
    if not math.isfinite(held_out):
        origin = first_bad_operation(session, session.task.evaluate, session.snapshot())
        raise nonfinite_error(
            counters.step, "the held-out loss", held_out, origin, "nothing was saved", folder
        )
    train = counters.loss_sum / counters.loss_count if counters.loss_count else None
    counters.loss_sum, counters.loss_count = 0.0, 0
    counters.evaluated_step = counters.step
    counters.held_out_loss = held_out
    if counters.best_loss is None or held_out < counters.best_loss:
        counters.best_loss, counters.best_step = held_out, counters.step
    lr = session.updates.rate()
    memory = tt.memory_stats()
    folder.append_metrics(
        {
            "step": counters.step,
            "train_loss": train,
            "val_loss": held_out,
            "val_perplexity": perplexity(held_out),
            "val_bits_per_character": held_out / math.log(2.0),
            "lr": lr,
            "grad_norm": counters.grad_norm,
            "tokens": counters.step * session.tokens_per_step,
            "tokens_per_s": pace.take(session.tokens_per_step),
            "elapsed_s": round(counters.seconds + time.perf_counter() - begun, 3),
            "rss_mb": resident_mb(),
            "arena_bytes": memory["step_high_water"],
            "system_bytes": memory["system_bytes"],
            "system_allocations": memory["system_allocations"],
            "skipped": counters.skipped,
            **session.task.figures(),
            **session.updates.figures(),
        }
    )
    if counters.best_step == counters.step:
        # Apart from the others, so that their rotation does not reach it.
        best = _save(session, folder, folder.best)
        for path in list_checkpoints(folder.best):
            if path != best:
                discard_folder(path)
    progress.evaluated(counters.step, train, held_out, lr, time.perf_counter() - begun)


def _save(session: Session, folder: RunFolder, where: Path) -> Path:
    """Write a checkpoint into the folder ``where``.

    Raises:
        NonFiniteError: it would hold a number that no reader accepts.
        OSError: the disk is full or fails; what was there before is untouched.
    """
    state, arrays = session.state()
    step = session.counters.step
    try:
        return save_checkpoint(
            where,
            step,
            model=session.weights(),
            arrays=arrays,
            state=state,
            config=session.record(),
            env=environment(),
            tokenizer=session.tokenizer,
        )
    except NotFiniteError as error:  # a bad checkpoint must not push out a good one
        raise nonfinite_error(step, error.name, math.nan, "", "it was not saved", folder) from error


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
