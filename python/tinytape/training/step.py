"""One step of training: the gradients of its batches, the checks, and the update."""

from __future__ import annotations

import math
from collections.abc import Callable

import tinytape as tt
from tinytape.nn import functional as F

from .errors import MissingGradientError
from .nonfinite import first_bad_operation, nonfinite_error
from .run_folder import RunFolder
from .session import Session


def train_step(
    session: Session,
    folder: RunFolder,
    *,
    check_gradients: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
    note: Callable[[str], None] = lambda text: None,
) -> float | None:
    """One step of the plain loop; returns its training loss, the mean over its batches.

    None when ``should_stop`` said so between two batches, whose gradients then wait in the
    parameters and in ``counters.micro_step``; and when the step was left out because its numbers
    were not finite, which ``--skip-nonfinite`` allows and ``note`` is told.

    Raises:
        MissingGradientError: with ``check_gradients``, when a parameter received no gradient.
        NonFiniteError: the loss or the gradient norm is not finite. Raised before the update.
    """
    config, counters = session.config, session.counters
    batches = config.gradient_accumulation_steps
    generators: list[
        dict[str, int]
    ] = []  # where the generator was before each batch: to run it again
    while counters.micro_step < batches:
        if generators and should_stop():
            return None
        generators.append(session.generator.get_state())
        loss = batch_loss(session, session.next_batch)
        (loss / batches if batches > 1 else loss).backward()
        value = float(loss.item())
        if check_gradients and len(generators) == 1:
            require_gradients(session.model)
        if not math.isfinite(value):
            _leave_out(session, folder, "the loss", value, generators[-1:], note)
            return None
        counters.micro_step += 1
        counters.loss_of_step += value / batches
    norm = tt.nn.utils.clip_grad_norm_(session.model.parameters(), config.clip or math.inf).item()
    if not math.isfinite(norm):
        counters.micro_step -= len(generators)
        _leave_out(session, folder, "the gradient norm", norm, generators, note)
        return None
    value = counters.loss_of_step
    session.optimizer.step()
    _next_step(session)
    counters.skipped_in_a_row = 0
    counters.loss_sum += value
    counters.loss_count += 1
    counters.grad_norm = norm
    return value


def batch_loss(session: Session, number: int) -> tt.Tensor:
    """The mean cross-entropy of one batch, on the tape."""
    x, y = session.windows.batch(number)
    logits = session.model(tt.tensor(x))
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), tt.tensor(y.reshape(-1)))


def require_gradients(model: tt.nn.Module) -> None:
    """Raise MissingGradientError naming the parameters that want a gradient and have none."""
    missing = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    if missing:
        raise MissingGradientError(
            f"no gradient reached {', '.join(missing)}: the forward pass does not use "
            f"{'it' if len(missing) == 1 else 'them'}, or leaves the tape on the way"
        )


def _next_step(session: Session) -> None:
    session.scheduler.step()
    session.optimizer.zero_grad()
    counters = session.counters
    counters.step += 1
    counters.micro_step = 0
    counters.loss_of_step = 0.0


def _leave_out(
    session: Session,
    folder: RunFolder,
    what: str,
    value: float,
    generators: list[dict[str, int]],
    note: Callable[[str], None],
) -> None:
    """Go on without this step where the settings allow it; else NonFiniteError."""
    counters, allowed = session.counters, session.config.skip_nonfinite

    def again() -> None:
        for i in range(len(generators)):
            batch_loss(session, session.next_batch + i).backward()

    origin = first_bad_operation(session, again, generators[0])
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
    _next_step(session)
