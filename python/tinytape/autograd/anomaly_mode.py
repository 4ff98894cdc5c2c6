"""Anomaly detection: the first value that is not finite, and the line it comes from."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from tinytape._ffi import binding
from tinytape.context import Context, current


class detect_anomaly(binding.Switch):
    """Within this ``with`` block the first NaN or infinity that is computed raises an error.

    The error names the operation, the direction (forward, backward, double backward), which output
    or input it was, its shape, the first bad index and value, and the line of the caller's code
    that called the operation, for a gradient too where the forward ran under this as well.
    Infinities count, other than in PyTorch: values that are meant to be infinite, such as the mask
    of an attention, have to be made where this is off. For the calling thread; slow, for debugging.

    Args:
        check_nan: False only records the lines, for other errors of the backward pass.

    Raises:
        NonFiniteError: at the first value that is not finite.
    """

    _anomaly, _now = True, False

    def __init__(self, check_nan: bool = True) -> None:
        super().__init__(True, check_nan)


def unchecked(context: Context) -> AbstractContextManager[None]:
    """For what tinytape itself makes infinite on purpose, such as the inside of a mask."""
    return detect_anomaly(check_nan=False) if context.anomaly[1] else nullcontext()


class set_detect_anomaly(detect_anomaly):
    """Switch anomaly detection on or off: from now on, or for a ``with`` block.

    Args:
        mode: on or off.
        check_nan: see :class:`detect_anomaly`.
    """

    _now = True
    __init__ = binding.Switch.__init__


def is_anomaly_enabled() -> bool:
    """Whether anomaly detection is on in this thread."""
    return current().anomaly[0]


def is_anomaly_check_nan_enabled() -> bool:
    """Whether values are looked at, too."""
    return current().anomaly[1]
