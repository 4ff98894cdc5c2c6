"""Descriptions of JSON records: the types that their values must have, by key.

>>> from tinytape.models.spec.state_types import COUNT
>>> COUNT.fits(3), COUNT.fits(-3)
(True, False)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...nn.state import MOST_COUNT

REFERENCE = "$array"  # the only key of what stands for an array


def is_reference(node: Any) -> bool:
    """Whether a node of the JSON tree stands for an array."""
    return isinstance(node, dict) and node.keys() == {REFERENCE} and type(node[REFERENCE]) is str


@dataclass(frozen=True)
class Kind:
    """A leaf: whether a value fits, and what an error message says was expected."""

    description: str
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

OPTIMIZER: Mapping[str, Any] = {
    "param_groups": ListOf(NamesTo(OPTION)),
    "state": NamesTo(NamesTo(LEAF)),
}

SCHEDULER: Mapping[str, Any] = {
    "base_lrs": ListOf(NUMBER),
    "_last_lr": ListOf(NUMBER),
    "last_epoch": WHOLE,
}
