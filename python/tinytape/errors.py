"""The exceptions that the engine raises.

Each is also one of Python's own exceptions, such as ValueError, and, since PyTorch raises
RuntimeError for most of these, a RuntimeError: programs may catch either.

>>> try:
...     tt.zeros(2) + tt.zeros(3)
... except ValueError as error:
...     print(type(error).__name__, error)
ShapeError add: shapes (2,) and (3,) cannot be broadcast together
"""

from __future__ import annotations


class TinytapeError(Exception):
    """The base of all errors of the engine."""


class ArgumentError(TinytapeError, ValueError, RuntimeError):
    """A value outside its range."""


class NumberError(ArgumentError, OverflowError):
    """A number that the type it is meant for cannot hold."""


class ShapeError(TinytapeError, ValueError, RuntimeError):
    """Shapes that do not fit together."""


class DTypeError(TinytapeError, TypeError, RuntimeError):
    """Element types that do not fit together."""


class OutOfRangeError(TinytapeError, IndexError, RuntimeError):
    """An axis or element that does not exist."""


class OutOfMemoryError(TinytapeError, MemoryError):
    """An allocation was refused; the message has the pool and the bytes asked and in use."""


class StaleTensorError(TinytapeError, RuntimeError):
    """A tensor whose storage is gone."""


class TapeStateError(TinytapeError, RuntimeError):
    """The graph or the tape is not in a state that allows this."""


class ThreadError(TinytapeError, RuntimeError):
    """A tensor is used by a thread other than the one that made it."""


class NonFiniteError(TinytapeError, FloatingPointError):
    """An infinity or NaN where none is allowed."""


class ConfigError(TinytapeError, ValueError):
    """A setting that does not exist, has a wrong value, or may not change on resume."""


class CheckpointError(TinytapeError, ValueError):
    """A checkpoint that is incomplete, damaged, or belongs to another model."""


class MissingGradientError(TinytapeError, RuntimeError):
    """A parameter that wants a gradient received none: part of the model is not on the tape."""


class InternalError(TinytapeError, RuntimeError):
    """A fault of tinytape itself."""
