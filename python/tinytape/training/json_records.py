"""JSON objects: written in one form only, and read with distrust.

The form (sorted keys, two spaces, ASCII, a new line at the end) is a function of the content, so
equal content has equal bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import CheckpointError

MEBIBYTE = 1 << 20
# The state of 100,000 parameters has about 30 MB; more is no record of ours.
RECORD_LIMIT = 64 * MEBIBYTE
_DEPTH = 32  # ours are 6 deep; what goes through a tree calls itself for each level
_DIGITS = 20  # of 2**64 - 1, the largest number that is saved


def pack_json(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def unpack_json(data: bytes, source: Path) -> dict[str, Any]:
    """A JSON object; ``source`` is for the message.

    Raises:
        CheckpointError: not UTF-8, not JSON, not an object, a key that is given twice, a number
            that is not finite or has more digits than any that is saved, or a tree too deep.
    """
    try:
        # Decoded here: json.loads would try other encodings, and let lone surrogates pass.
        record = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_distinct,
            parse_constant=_refused,
            parse_int=_whole_number,
            parse_float=_finite_number,
        )
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{source}: not JSON ({error})") from error
    if not isinstance(record, dict):
        raise CheckpointError(f"{source}: expected a JSON object")
    if _is_deeper(record, _DEPTH):
        raise CheckpointError(f"{source}: expected a tree of at most {_DEPTH} levels")
    return record


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice[:60]!r} is given twice")
    return record


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _whole_number(digits: str) -> int:
    if len(digits) > _DIGITS:  # converting takes time that grows with their square
        raise ValueError(f"a whole number of {len(digits)} digits, expected at most {_DIGITS}")
    return int(digits)


def _finite_number(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:60]} is not finite")
    return number


def _is_deeper(record: Any, levels: int) -> bool:
    nodes = [record]
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
