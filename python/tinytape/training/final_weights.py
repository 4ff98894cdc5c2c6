"""``RUN/model.safetensors``: the final weights of a run, with the digests that verify them.

Its metadata hold the step, the model's config, the SHA-256 of the tokenizer's file, and the SHA-256
of the whole file as it would be with zeros for that digest. Files of earlier versions hold none of
these, and can be read but not verified.

>>> from pathlib import Path
>>> from tinytape.training.final_weights import about_final_weights
>>> about = about_final_weights(Path("runs/demo/model.safetensors"))
>>> about.step, about.model["architecture"]
(2, 'gpt')
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .._files import open_regular, replace_file
from .._json import parse
from ..data import CharTokenizer
from ..errors import ArgumentError
from .arrays import Array, array_file, read_header, read_values, require_finite
from .errors import CheckpointError, memory_for
from .json_records import MEBIBYTE
from .model_size import require_weights_of
from .safetensors_format import Header

_OLD = {"format": "tinytape"}  # all that the metadata of an earlier version say
_KEYS = {"format", "model", "sha256", "step", "tokenizer"}
_NO_DIGEST = "0" * 64


@dataclass(frozen=True)
class About:
    """The metadata of such a file; None in a file of an earlier version."""

    step: int | None
    model: dict[str, Any] | None  # the model's config
    tokenizer: str | None  # SHA-256 of its file


def save_final_weights(
    path: Path,
    weights: Mapping[str, Array],
    *,
    step: int,
    model: Mapping[str, Any],
    tokenizer: CharTokenizer,
) -> None:
    """Replace the file.

    Raises:
        CheckpointError: values that are not finite (NotFiniteError).
        OSError, MemoryError: the file is unchanged.
    """
    metadata = {
        **_OLD,
        "model": json.dumps(dict(model), sort_keys=True),
        "sha256": _NO_DIGEST,
        "step": str(step),
        "tokenizer": tokenizer_digest(tokenizer),
    }
    with memory_for(f"saving {path}"):
        require_finite(weights, path)
        digest = hashlib.sha256()
        for piece in array_file(weights, path, metadata)[1]:
            digest.update(piece)
        metadata["sha256"] = digest.hexdigest()
        replace_file(path, array_file(weights, path, metadata)[1])


def tokenizer_digest(tokenizer: CharTokenizer) -> str:
    """The SHA-256 of the file that holds it."""
    return hashlib.sha256(tokenizer.to_json().encode()).hexdigest()


def about_final_weights(path: Path) -> About:
    """The metadata of the file; its values are not read.

    Raises:
        FileNotFoundError: there is none.
        CheckpointError: it cannot be read, or is no such file.
    """
    with _opened(path) as (_, _, header):
        return _about(header, path)[0]


def read_final_weights(
    path: Path, described: Any, config: Path
) -> tuple[About, dict[str, np.ndarray]]:
    """The weights, verified.

    Args:
        described: the model's config, from the file ``config``; where the file of the weights is of
            an earlier version it bounds what is read.

    Raises:
        FileNotFoundError: there is none.
        CheckpointError: it is damaged, or of another model (ModelSizeError) or one that is not
            registered (UnknownModelError), or a value is not finite.
    """
    with memory_for(f"reading {path}"), _opened(path) as (file, start, header):
        about, stated = _about(header, path)
        described = about.model or described
        try:
            require_weights_of(described, len(header.arrays), header.values, path, config)
        except (TypeError, ArgumentError) as error:
            raise CheckpointError(f"{config}: {error}") from error
        digest = hashlib.sha256(start.replace(stated.encode(), _NO_DIGEST.encode(), 1))
        weights = read_values(file, header, path, digest.update)
    if stated and digest.hexdigest() != stated:
        raise CheckpointError(f"{path}: damaged (its SHA-256 is not the one that it states)")
    return about, weights


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, bytes, Header]]:
    """The file, and its first bytes, which were read."""
    try:
        with open_regular(path) as file:
            yield (file, *read_header(file, os.fstat(file.fileno()).st_size, path))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error


def _about(header: Header, path: Path) -> tuple[About, str]:
    """The content of the metadata, and the digest among them."""
    if header.metadata == _OLD:
        return About(None, None, None), ""
    found, step = header.metadata, header.metadata.get("step", "")
    try:
        model = parse(found["model"].encode(), MEBIBYTE)
        good = found.keys() >= _KEYS and isinstance(model, dict)
        good = good and re.fullmatch("[0-9a-f]{64}", found["sha256"]) is not None
        if good and re.fullmatch("[0-9]{1,16}", step):
            return About(int(step), model, found["tokenizer"]), found["sha256"]
    except (KeyError, ValueError):
        pass
    raise CheckpointError(f"{path}: damaged (expected {', '.join(sorted(_KEYS))} as metadata)")
