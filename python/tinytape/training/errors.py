"""What can go wrong around a training run. The commands print these as one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import OutOfMemoryError, TinytapeError


class ConfigError(TinytapeError, ValueError):
    """A setting that does not exist, has a wrong value, or may not change on resume."""


class RunError(TinytapeError, ValueError):
    """A run folder that is absent, is in the way, or does not hold what was asked of it."""


class FolderGoneError(TinytapeError, OSError):
    """A folder of a run that was removed or became unreachable while the run trained."""


class CheckpointError(TinytapeError, ValueError):
    """A checkpoint that is incomplete, damaged, or belongs to another model."""


class ModelSizeError(CheckpointError):
    """Arrays of another size than the model has that they should be of; they were not read."""


class MissingGradientError(TinytapeError, RuntimeError):
    """A parameter that wants a gradient received none: part of the model is not on the tape."""


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
