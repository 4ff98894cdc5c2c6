"""Numbers that are not finite: where they began, and the message that says so.

>>> from tinytape.training import RunFolder
>>> from tinytape.training.nonfinite import last_good
>>> "step-00000002" in last_good(RunFolder("runs/demo"))
True
"""

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
    """Call ``again`` with every value checked, and describe the first bad one.

    It begins at the snapshot; afterwards the session is as it is now, without gradients.
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
    """The error that ends a run: the value, where it began, what is safe, and what helps."""
    first = f", first in {origin}" if origin else ""
    resume = command_line("train", "--resume", folder.path)
    return NonFiniteError(
        f"step {step}: {what} is {value}{first}; {effect}, and {last_good(folder)}. A lower rate "
        f"usually helps (as a longer --warmup or a smaller --clip do): {resume} --lr X "
        f"--allow-change lr; --skip-nonfinite N leaves out up to N such steps in a row"
    )


def last_good(folder: RunFolder) -> str:
    """The place of the newest checkpoint that verifies, as a message names it."""
    for path in list_checkpoints(folder.checkpoints):
        try:
            verify_checkpoint(path)
        except CheckpointError:
            continue
        return f"the last good checkpoint is {path}"
    return "there is no checkpoint yet"
