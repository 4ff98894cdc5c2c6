"""Numbers that are not finite: where they began, and what is said about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tinytape as tt

from ..errors import NonFiniteError
from .checkpoint import list_checkpoints, verify_checkpoint
from .errors import CheckpointError
from .run_folder import RunFolder
from .session import Session, Snapshot
from .shell import command_line


def first_bad_operation(session: Session, again: Callable[[], Any], before: Snapshot) -> str:
    """Call ``again`` with every value looked at; what is said of the first bad one.

    It begins where the snapshot was taken; afterwards the session is where it is, without
    gradients.
    """
    after = session.snapshot()
    session.updates.forget()
    session.rewind(before)
    try:
        with tt.autograd.detect_anomaly():
            again()
    except NonFiniteError as error:
        return str(error).splitlines()[0]  # after it: the line of code
    finally:
        session.rewind(after)
        session.updates.forget()
    return "no single operation: every value is finite, their sum is not"


def nonfinite_error(
    step: int, what: str, value: float, origin: str, effect: str, folder: RunFolder
) -> NonFiniteError:
    """The error that ends a run: what was found, where it began, what is safe, what helps."""
    first = f", first in {origin}" if origin else ""
    resume = command_line("train", "--resume", folder.path)
    return NonFiniteError(
        f"step {step}: {what} is {value}{first}; {effect}, and {last_good(folder)}. A lower rate "
        f"usually helps (as a longer --warmup or a smaller --clip do): {resume} --lr X "
        f"--allow-change lr; --skip-nonfinite N leaves out up to N such steps in a row"
    )


def last_good(folder: RunFolder) -> str:
    """Where the newest checkpoint that verifies lies, in words."""
    for path in list_checkpoints(folder.checkpoints):
        try:
            verify_checkpoint(path)
        except CheckpointError:
            continue
        return f"the last good checkpoint is {path}"
    return "there is no checkpoint yet"
