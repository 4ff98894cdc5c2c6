"""The errors of a training run. The commands print these as one line.

>>> from tinytape.training.errors import memory_for
>>> try:
...     with memory_for("reading the text"):
...         raise MemoryError
... except MemoryError as error:
...     print(error)
out of memory while reading the text
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import (
    CheckpointError,
    ConfigError,
    MissingGradientError,
    OutOfMemoryError,
    TinytapeError,
)

__all__ = [
    "CheckpointError",
    "ConfigError",
    "FolderGoneError",
    "MissingExtraError",
    "MissingGradientError",
    "ModelSizeError",
    "RunError",
    "memory_for",
]


class RunError(TinytapeError, ValueError):
    """A run folder that is absent, is in the way, or does not have the requested content."""


class FolderGoneError(TinytapeError, OSError):
    """A folder of a run that was removed or became unreachable while the run trained."""


class ModelSizeError(CheckpointError):
    """Arrays of another size than those of the model; they were not read."""


class MissingExtraError(TinytapeError, ImportError):
    """An optional dependency that is not installed; the message names the extra."""


@contextmanager
def memory_for(what: str) -> Iterator[None]:
    """A ``with`` block that adds to a MemoryError what the memory was for.

    Raises:
        OutOfMemoryError: (a MemoryError) when the block raises a MemoryError.
    """
    try:
        yield
    except MemoryError as error:
        text = str(error)
        raise OutOfMemoryError(
            f"out of memory while {what}" + (f": {text}" if text else "")
        ) from error
