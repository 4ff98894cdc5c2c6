"""One step of training: the gradients of its batches, the checks, and the update.

>>> from tinytape.training.step import require_gradients
>>> model = tt.nn.Linear(2, 1)
>>> model(tt.ones(1, 2)).sum().backward()
>>> require_gradients(model)  # raises nothing: each parameter has one
"""

from __future__ import annotations

import math
from collections.abc import Callable

import tinytape as tt

from .errors import MissingGradientError
from .nonfinite import first_bad_operation, nonfinite_error
from .run_folder import RunFolder
from .session import Session, Snapshot


def train_step(
    session: Session,
    folder: RunFolder,
    *,
    check_gradients: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
    note: Callable[[str], None] = lambda text: None,
) -> float | None:
    """One step of the plain loop; returns its training loss, the mean over its batches.

    The result is None when ``should_stop`` returned True between two batches, whose gradients then
    wait in the parameters and in ``counters.micro_step``; and when the step was left out because
    its numbers were not finite, which ``--skip-nonfinite`` allows and ``note`` reports.

    Raises:
        MissingGradientError: with ``check_gradients``, when a parameter received no gradient.
        NonFiniteError: the loss or the gradient norm is not finite. Raised before the update.
    """
    config, counters = session.config, session.counters
    batches = config.gradient_accumulation_steps
    before: list[Snapshot] = []  # each batch: to run it again
    while counters.micro_step < batches:
        if before and should_stop():
            return None
        before.append(session.snapshot())
        objective, loss = batch_losses(session, session.next_batch)
        (objective / batches if batches > 1 else objective).backward()
        value, whole = float(loss.item()), float(objective.item())
        if check_gradients and len(before) == 1:
            require_gradients(session.model)
        if not math.isfinite(whole):
            _leave_out(session, folder, "the loss", whole, before[-1:], note)
            return None
        counters.micro_step += 1
        counters.loss_of_step += value / batches
    norm = session.updates.clip()
    if not math.isfinite(norm):
        counters.micro_step -= len(before)
        _leave_out(session, folder, "the gradient norm", norm, before, note)
        return None
    value = counters.loss_of_step
    session.updates.apply(counters.step)
    _next_step(session)
    counters.skipped_in_a_row = 0
    counters.loss_sum += value
    counters.loss_count += 1
    counters.grad_norm = norm
    return value


def batch_losses(session: Session, number: int) -> tuple[tt.Tensor, tt.Tensor]:
    """The loss of one batch that is minimised, and its mean cross-entropy, on the tape."""
    return session.task.losses(number)


def require_gradients(model: tt.nn.Module) -> None:
    """Check that every parameter that wants a gradient has one.

    Raises:
        MissingGradientError: one has none; the message names all of them.
    """
    missing = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    if missing:
        raise MissingGradientError(
            f"no gradient reached {', '.join(missing)}: the forward pass does not use "
            f"{'it' if len(missing) == 1 else 'them'}, or leaves the tape on the way"
        )


def _next_step(session: Session) -> None:
    counters = session.counters
    counters.step += 1
    counters.micro_step = 0
    counters.loss_of_step = 0.0


def _leave_out(
    session: Session,
    folder: RunFolder,
    what: str,
    value: float,
    before: list[Snapshot],
    note: Callable[[str], None],
) -> None:
    """Continue without this step where the settings allow it; else raise NonFiniteError."""
    counters, allowed = session.counters, session.config.skip_nonfinite

    def again() -> None:
        for i in range(len(before)):
            batch_losses(session, session.next_batch + i)[0].backward()

    origin = first_bad_operation(session, again, before[0])
    if counters.skipped_in_a_row >= allowed:
        hint = f" ({allowed} in a row were left out before it)" if allowed else ""
        raise nonfinite_error(
            counters.step, what + hint, value, origin, "the weights were not updated", folder
        )
    counters.skipped += 1
    counters.skipped_in_a_row += 1
    note(
        f"step {counters.step}: {what} is {value}, first in {origin}; the step was left out, "
        f"{counters.skipped_in_a_row} in a row of at most {allowed}"
    )
    # The state may be as bad as the loss, so it goes back by one batch: also after a stop inside
    # the step, when the snapshots of the earlier batches are lost.
    session.task.rewind(before[-1].task)
    session.updates.leave_out(counters.step)
    _next_step(session)
