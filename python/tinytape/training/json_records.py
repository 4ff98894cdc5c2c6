r"""JSON objects: written in one form only, and read with checks.

The form (sorted keys, two spaces, ASCII, a new line at the end) is a function of the content, so
equal content has equal bytes.

>>> from pathlib import Path
>>> from tinytape.training.json_records import pack_json, unpack_json
>>> pack_json({"b": 1, "a": 2})
b'{\n  "a": 2,\n  "b": 1\n}\n'
>>> unpack_json(b'{"a": 2}', Path("state.json"))
{'a': 2}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .._json import parse
from .errors import CheckpointError

MEBIBYTE = 1 << 20
# The state of 10,000 parameters has about 5 MB, and as much the header of its arrays.
RECORD_LIMIT = 16 * MEBIBYTE


def pack_json(record: Mapping[str, Any]) -> bytes:
    """The bytes of a JSON object, in the one form."""
    return (json.dumps(record, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def unpack_json(data: bytes, source: Path, limit: int = RECORD_LIMIT) -> dict[str, Any]:
    """A JSON object; ``source`` is for the message.

    Raises:
        CheckpointError: more than ``limit`` bytes, not UTF-8, not JSON, not an object, a key that
            is given twice, a number that is not finite or has more digits than any that is saved,
            too many values or a tree too deep.
    """
    try:
        record = parse(data, limit)
    except ValueError as error:
        raise CheckpointError(f"{source}: not JSON of ours ({error})") from error
    if not isinstance(record, dict):
        raise CheckpointError(f"{source}: expected a JSON object")
    return record
