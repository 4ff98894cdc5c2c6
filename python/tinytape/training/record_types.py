"""The types of what the JSON files of a run and of its checkpoints hold, by key.

All content of a file is compared with these types before it is used. A key that is absent is
checked where it is needed; a key that is not listed here is allowed (docs/checkpoint-format.md has
the rule), so that files of later versions can be read.

>>> from pathlib import Path
>>> from tinytape.training import CheckpointError
>>> from tinytape.training.record_types import require_types, state_types
>>> try:
...     require_types({"step": -1}, state_types(), Path("state.json"))
... except CheckpointError as error:
...     print(error)
state.json: step: expected a whole number of at least 0, at most 2**53, got -1
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import models
from ..models.spec.state_types import (
    COUNT,
    NUMBER,
    NUMBER_OR_NULL,
    PLAIN,
    TEXT,
    TEXT_OR_NULL,
    UINT64,
    WHOLE,
    Kind,
    ListOf,
    NamesTo,
)
from .errors import CheckpointError

_STATE: Mapping[str, Any] = {
    "step": COUNT,
    "counters": {
        "step": COUNT,
        "micro_step": COUNT,
        "loss_of_step": NUMBER,
        "skipped": COUNT,
        "skipped_in_a_row": COUNT,
        "loss_sum": NUMBER,
        "loss_count": COUNT,
        "evaluated_step": WHOLE,
        "held_out_loss": NUMBER_OR_NULL,
        "best_loss": NUMBER_OR_NULL,
        "best_step": WHOLE,
        "grad_norm": NUMBER_OR_NULL,
        "seconds": NUMBER,
    },
    "data": {"sha256": TEXT, "cut": COUNT, "seed": UINT64, "next_batch": COUNT},
    "generators": NamesTo({"seed": UINT64, "stream": UINT64, "offset": UINT64}),
}

CONFIG: Mapping[str, Any] = {
    "format": Kind("tinytape-run", lambda v: v == "tinytape-run"),
    "version": Kind("version 1", lambda v: type(v) is int and v == 1),
    "train": NamesTo(PLAIN),
    "model": NamesTo(PLAIN),
    "corpus": {
        "name": TEXT,
        "path": TEXT_OR_NULL,
        "sha256": TEXT,
        "cut": COUNT,
        "parts": ListOf(TEXT),
        "characters": COUNT,
        "vocab_size": COUNT,
        "entropy_nats": NamesTo(NUMBER),
    },
}

ENVIRONMENT = NamesTo(PLAIN)


def state_types() -> dict[str, Any]:
    """What a checkpoint's ``state.json`` holds, with what the models that are known keep there."""
    task: dict[str, Any] = {}
    updates: dict[str, Any] = {}
    for spec in models.specs():
        task |= spec.task.state_types
        updates |= spec.updates.state_types
    return {**_STATE, **updates, "task": task}


def require_types(record: Any, expected: Any, source: Path, where: str = "") -> None:
    """Check that the values of ``record`` are of the types expected.

    Raises:
        CheckpointError: one is not; the message names its place.
    """
    if isinstance(expected, Kind):
        if not expected.fits(record):
            _refuse(record, expected.description, source, where)
    elif isinstance(expected, ListOf):
        if not isinstance(record, list):
            _refuse(record, "a list", source, where)
        for i, item in enumerate(record):
            require_types(item, expected.item, source, f"{where}[{i}]")
    else:
        if not isinstance(record, dict):
            _refuse(record, "an object", source, where)
        for key, value in record.items():
            inner = expected.value if isinstance(expected, NamesTo) else expected.get(key)
            if inner is not None:
                require_types(value, inner, source, f"{where}.{key}" if where else key)


def _refuse(value: Any, words: str, source: Path, where: str) -> None:
    raise CheckpointError(
        f"{source}: {reprlib.repr(where)[1:-1]}: expected {words}, got {reprlib.repr(value)}"
    )
