"""What can go wrong around a training run. The commands print these as one line."""

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
    """A run folder that is absent, is in the way, or does not hold what was asked of it."""


class FolderGoneError(TinytapeError, OSError):
    """A folder of a run that was removed or became unreachable while the run trained."""


class ModelSizeError(CheckpointError):
    """Arrays of another size than the model has that they should be of; they were not read."""


class MissingExtraError(TinytapeError, ImportError):
    """An optional dependency that is not installed; the message names the extra."""


@contextmanager
def memory_for(what: str) -> Iterator[None]:
    """Python's own MemoryError says nothing: within this it says that ``what`` needed it."""
    try:
        yield
    except MemoryError as error:
        text = str(error)
        raise OutOfMemoryError(
            f"out of memory while {what}" + (f": {text}" if text else "")
        ) from error
