"""The training loop: steps, and between them evaluations, checkpoints and stops.

>>> import io
>>> from tinytape.training import RunFolder, resume
>>> from tinytape.training.progress import Console
>>> folder, console = RunFolder("runs/demo"), Console(io.StringIO())
>>> outcome = resume(folder, {"iters": 3}, allow_change=["iters"], console=console)
>>> outcome.session.counters.step, outcome.exit_code
(3, 0)
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tinytape as tt

from ..models.spec import perplexity
from .belonging import require_same_run
from .changes import changed_for_resume
from .checkpoint import (
    Checkpoint,
    list_checkpoints,
    prune_checkpoints,
    step_of,
)
from .claim import claim, require_claimable
from .config import TrainConfig, check_names
from .defaults import resolve
from .environment import differences, environment, resident_mb
from .errors import ConfigError
from .load import settings_of
from .nonfinite import first_bad_operation, nonfinite_error
from .progress import Console, Progress
from .replaced import repair
from .report import closing, header
from .run_folder import RunFolder
from .run_state import look_at
from .saving import discard_before, persist, rotate, save, save_final, settle, write_settings
from .session import Session, build_session
from .shell import command_line
from .signals import StopSignals
from .starting_point import copy_good, place_for_best, require_home, starting_point
from .step import train_step


@dataclass(frozen=True)
class Outcome:
    """The end of a call of ``train`` or ``resume``."""

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
    require_claimable(folder, overwrite=overwrite)
    with _held(folder, console):
        claim(folder, console.line, overwrite=overwrite)
        write_settings(session, folder, console.line)
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
    """Continue a run from its newest checkpoint that verifies.

    Args:
        asked: settings given anew; ConfigError when one would change the result. With ``out``, the
            run stays as it is and another one continues it in that folder.
        checkpoint: the checkpoint to continue from instead. Where the run holds newer ones, ``out``
            says where to.
        allow_change: settings that may change all the same; ``data`` is the text.
        overwrite: ``out`` may hold a run, which is lost.

    Raises:
        CheckpointError: there are checkpoints, and none is good.
        DataError, ConfigError, RunError: before anything is written.
        MissingGradientError: after the first backward pass.
        NonFiniteError: the loss or the gradient norm; the weights were not updated with it.
        OSError: a checkpoint could not be written; the one before is whole.
    """
    console = console or Console()
    check_names(allow_change, "--allow-change")
    target = RunFolder(asked.get("out", folder.path))
    in_place = target.path.resolve() == folder.path.resolve()
    with contextlib.ExitStack() as stack:
        if in_place:
            target = folder
            require_home(folder, checkpoint)
            stack.enter_context(_held(folder, console))
        start = starting_point(
            folder, checkpoint, console.line, in_place=in_place, changes=bool(allow_change)
        )
        found = start.checkpoint
        in_run = look_at(folder).record is not None  # a checkpoint may lie in none
        if found is not None and in_run:
            require_same_run(folder, found)
        old = settings_of(start.record, start.source)
        # The run continues where it lies now, also when the folder was moved.
        old = dataclasses.replace(old, out=str(folder))
        config = changed_for_resume(old, asked, allow_change)
        if found is not None and config.iters < found.step:
            raise ConfigError(f"{folder} is at step {found.step}, beyond iters = {config.iters}")
        # Another text is read with the characters that the weights know.
        tokenizer = start.tokenizer_of(folder) if "data" in allow_change else None
        fed = dict(start.record.get("corpus", {}))
        if "data" in asked:
            fed["path"] = None  # where it was before
        session = build_session(config, tokenizer, found, fed=fed)
        comparable, evaluated = True, -1
        if found is not None:
            evaluated = found.state["counters"].get("evaluated_step", -1)
            comparable = session.restore(found, allowed=allow_change)
            for line in differences(found.env, environment()):
                console.line(f"warning: the environment is not that of the checkpoint: {line}")
        metrics, best = [], []
        if in_run:
            metrics = [m for m in folder.read_metrics() if m["step"] <= evaluated]
            best = [p for p in list_checkpoints(folder.best) if found and step_of(p) <= found.step]
        if in_place:
            repair(folder)
            if not comparable:  # what will be best takes the place of these
                place = place_for_best(folder, start.record)
                for path in copy_good(best, place, console.line):
                    console.line(f"losses are measured anew; what was best before is {path}")
        else:
            require_claimable(target, overwrite=overwrite)  # before the folder is made
            stack.enter_context(_held(target, console))
            claim(target, console.line, overwrite=overwrite)
            if comparable:
                copy_good(best, target.best, console.line)
        branched = None if found is None else str(found.path.absolute())
        origin = look_at(folder).origin if in_place else branched
        write_settings(session, target, console.line, origin)
        persist(target, console.line, lambda: target.write_metrics(metrics))
        return _run(session, target, console, resumed=found)


@contextlib.contextmanager
def _held(folder: RunFolder, console: Console) -> Iterator[None]:
    with folder.held() as notice:
        if notice:
            console.line(notice)
        yield


def _run(
    session: Session, folder: RunFolder, console: Console, resumed: Checkpoint | None
) -> Outcome:
    config, counters = session.config, session.counters
    for line in header(session, folder, resumed):
        console.line(line)
    progress = Progress(
        console,
        total=config.iters,
        start=counters.step,
        tokens_per_step=session.tokens_per_step,
        eval_interval=config.eval_interval,
    )
    # None: this folder has no checkpoint yet, so one is saved first.
    own = resumed is not None and resumed.path in list_checkpoints(folder.checkpoints)
    saved = session.position if own else None
    if own:  # a kill may have come between the last saving and its rotation
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
                if saved is None or (saved != session.position and (stop.requested or due)):
                    save(session, folder, folder.checkpoints, progress.note)
                    persist(
                        folder, progress.note, lambda: rotate(folder, config.keep, progress.note)
                    )
                    saved = session.position
                # A request may have come since the last check: the rest must be saved.
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
            save_final(session, folder, console.line)
            settle(session, folder, console.line)
            for line in closing(session, folder, stop):
                console.line(line)
        else:
            settle(session, folder, console.line)
            console.line(f"stopped by {stop.requested} and saved at step {counters.step}")
            console.line(f"go on with: {command_line('train', '--resume', folder.path)}")
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
    record = {
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
        "best_step": counters.best_step,
        **session.task.metrics(),
        **session.updates.metrics(),
    }
    persist(folder, progress.note, lambda: folder.append_metrics(record))
    if counters.best_step == counters.step:
        # Apart from the others, so that their rotation does not reach it.
        best = save(session, folder, folder.best, progress.note)
        discard_before(best, folder, progress.note)
    progress.evaluated(counters.step, train, held_out, lr, time.perf_counter() - begun)


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
