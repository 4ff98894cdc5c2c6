"""``RUN/config.json``: that of the run's checkpoints, and the SHA-256 of itself without that line.

It has the sizes of the model and its number of heads, so a flipped bit or an edit must show.

>>> from pathlib import Path
>>> from tinytape.training.run_config import pack_config, unpack_config
>>> data = pack_config({"model": {"width": 64}})
>>> unpack_config(data, Path("config.json"))
{'model': {'width': 64}}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import CheckpointError
from .json_records import pack_json, unpack_json
from .record_types import CONFIG

_SEAL = "sha256"


def pack_config(record: Mapping[str, Any]) -> bytes:
    """The file that holds the record."""
    return pack_json({**record, _SEAL: _digest(record)})


def unpack_config(data: bytes, source: Path) -> dict[str, Any]:
    """The record in a file; one of an earlier version, or of a checkpoint, states no SHA-256.

    Raises:
        CheckpointError: not JSON, or changed since it was written.
    """
    record = unpack_json(data, source)
    stated = record.pop(_SEAL, None)
    if stated is None:
        # A record of ours has these keys alone: a flipped bit made any other one.
        whole = record.get("format") != "tinytape-run" or record.keys() <= CONFIG.keys()
    else:
        whole = stated == _digest(record)
    if not whole:
        raise CheckpointError(
            f"{source}: damaged or edited by hand (its SHA-256 is not the one that it states); "
            f"settings are given as flags, and the run's checkpoints have good copies of this file"
        )
    return record


def states_digest(data: bytes) -> bool:
    """Whether a file that ``unpack_config`` takes can show by itself that it was not changed."""
    return _SEAL in json.loads(data)


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(pack_json(record)).hexdigest()
