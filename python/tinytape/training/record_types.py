"""The types of what the JSON files of a run and of its checkpoints hold, by key.

All content of a file is compared with these types before it is used. A key that is absent is
checked where it is needed; a key that is not listed here is allowed (docs/checkpoint-format.md has
the rule), so that files of later versions can be read.

>>> from pathlib import Path
>>> from tinytape.training import CheckpointError
>>> from tinytape.training.record_types import STATE, require_types
>>> try:
...     require_types({"step": -1}, STATE, Path("state.json"))
... except CheckpointError as error:
...     print(error)
state.json: step: expected a whole number of at least 0, at most 2**53, got -1
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..nn.state import MOST_COUNT
from .errors import CheckpointError
from .state_tree import is_reference


@dataclass(frozen=True)
class Kind:
    """A leaf: whether a value fits, and what an error message says was expected."""

    words: str
    fits: Callable[[Any], bool]


@dataclass(frozen=True)
class ListOf:
    """A JSON array of these."""

    item: Any


@dataclass(frozen=True)
class NamesTo:
    """A JSON object with any names, and these as values."""

    value: Any


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)  # bool is an int of another type


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


WHOLE = Kind("a whole number, at most 2**53", lambda v: type(v) is int and abs(v) <= MOST_COUNT)
COUNT = Kind(
    "a whole number of at least 0, at most 2**53", lambda v: type(v) is int and 0 <= v <= MOST_COUNT
)
UINT64 = Kind("a whole number from 0 to 2**64 - 1", lambda v: type(v) is int and 0 <= v < 1 << 64)
NUMBER = Kind("a number", _is_number)
NUMBER_OR_NULL = Kind("a number or null", lambda v: v is None or _is_number(v))
TEXT = Kind("a text", lambda v: isinstance(v, str))
TEXT_OR_NULL = Kind("a text or null", lambda v: v is None or isinstance(v, str))
PLAIN = Kind("a number, a text, true, false or null", _is_plain)
OPTION = Kind(
    "a number, a text, true, false, null or a list of these",
    lambda v: _is_plain(v) or (isinstance(v, list) and all(map(_is_plain, v))),
)
LEAF = Kind('a number or {"$array": NAME}', lambda v: _is_number(v) or is_reference(v))

_OPTIMIZER: Mapping[str, Any] = {
    "param_groups": ListOf(NamesTo(OPTION)),
    "state": NamesTo(NamesTo(LEAF)),
}

STATE: Mapping[str, Any] = {
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
    "optimizer": _OPTIMIZER,
    "levels": {
        "levels": NamesTo(_OPTIMIZER),
        "pending": NamesTo(COUNT),
        "scheduler": {"last_update_step": NamesTo(WHOLE), "update_counts": NamesTo(COUNT)},
        "starts": NamesTo(LEAF),
    },
    "task": {"surprise": NamesTo(COUNT)},
    "scheduler": {"base_lrs": ListOf(NUMBER), "_last_lr": ListOf(NUMBER), "last_epoch": WHOLE},
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


def require_types(record: Any, expected: Any, source: Path, where: str = "") -> None:
    """Check that the values of ``record`` are of the types expected.

    Raises:
        CheckpointError: one is not; the message names its place.
    """
    if isinstance(expected, Kind):
        if not expected.fits(record):
            _refuse(record, expected.words, source, where)
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
