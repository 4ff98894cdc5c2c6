"""A strict JSON reader: sizes are checked before parsing, and a text has one meaning only."""

from __future__ import annotations

import json
import math
from typing import Any

# Each value costs some hundred bytes of memory, and one of these bytes stands before it.
VALUES = 1 << 18
_BEFORE_VALUES = (b"[", b"{", b",")
DEPTH = 32  # our files have 6 levels; functions over a tree recurse once for each level
DIGITS = 20  # of 2**64 - 1, the largest number that is saved
_FLOAT_DIGITS = 400  # more than any float needs, even written out without an exponent


def parse(data: bytes, limit: int) -> Any:
    """The value of a JSON text of at most ``limit`` bytes.

    Raises:
        ValueError: longer, not UTF-8, not JSON, too many values, a tree too deep, a key that is
            given twice, a number that is not finite or has more digits than any that is saved.
    """
    if len(data) > limit:
        raise ValueError(f"{len(data)} bytes, expected at most {limit}")
    values = about_values(data)
    if values > VALUES:
        raise ValueError(f"about {values} values, expected at most {VALUES}")
    try:
        # Decode here: json.loads would try other encodings and accept lone surrogates.
        tree = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_distinct,
            parse_constant=_refused,
            parse_int=_whole_number,
            parse_float=_finite_number,
        )
    except RecursionError as error:
        raise ValueError(str(error)) from None
    if _is_deeper(tree, DEPTH):
        raise ValueError(f"expected a tree of at most {DEPTH} levels")
    return tree


def about_values(data: bytes) -> int:
    """An upper bound for the number of values in a JSON text, found without parsing it."""
    return sum(map(data.count, _BEFORE_VALUES))


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key[:60]!r} is given twice")
            seen.add(key)
    return record


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _whole_number(digits: str) -> int:
    if len(digits.lstrip("-")) > DIGITS:  # converting takes quadratic time
        raise ValueError(f"a whole number of {len(digits)} digits, expected at most {DIGITS}")
    return int(digits)


def _finite_number(digits: str) -> float:
    if len(digits) > _FLOAT_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits, expected at most {_FLOAT_DIGITS}")
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:60]} is not finite")
    return number


def _is_deeper(tree: Any, levels: int) -> bool:
    nodes = [tree] if isinstance(tree, dict | list) else []
    for _ in range(levels):
        nodes = [
            child
            for node in nodes
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not nodes:
            return False
    return True
