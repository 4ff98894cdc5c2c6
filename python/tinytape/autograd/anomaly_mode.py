"""Anomaly detection: the first value that is not finite, and the line it comes from.

>>> with tt.autograd.detect_anomaly():
...     try:
...         tt.log(tt.tensor([1.0, 0.0]))
...     except FloatingPointError as error:
...         print(str(error).splitlines()[0])
log: forward: output 0 has shape (2,) and is not finite: -inf at index (1,)
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from tinytape._ffi import binding
from tinytape.context import Context, current


class detect_anomaly(binding.Switch):
    """Within this ``with`` block the first NaN or infinity that is computed raises an error.

    As ``torch.autograd.detect_anomaly``, with a difference: infinities count too, so values that
    are meant to be infinite, such as the mask of an attention, have to be made where this is off.
    The error names the operation, the direction (forward, backward, double backward), the output or
    input, its shape, the first bad index and value, and the line of the caller's code that called
    the operation, for a gradient too where the forward ran under this as well. It holds for the
    calling thread; it is slow, for debugging.

    Args:
        check_nan: False only records the lines, for other errors of the backward pass.

    Raises:
        NonFiniteError: at the first value that is not finite.
    """

    _anomaly, _now = True, False

    def __init__(self, check_nan: bool = True) -> None:
        super().__init__(True, check_nan)


def unchecked(context: Context) -> AbstractContextManager[None]:
    """A ``with`` block in which tinytape itself makes infinite values, such as those of a mask."""
    return detect_anomaly(check_nan=False) if context.anomaly[1] else nullcontext()


class set_detect_anomaly(detect_anomaly):
    """Switch anomaly detection on or off: from now on, or for a ``with`` block.

    As ``torch.autograd.set_detect_anomaly``.

    Args:
        mode: on or off.
        check_nan: see :class:`detect_anomaly`.
    """

    _now = True
    __init__ = binding.Switch.__init__


def is_anomaly_enabled() -> bool:
    """Whether anomaly detection is on in this thread; as ``torch.is_anomaly_enabled``."""
    return current().anomaly[0]


def is_anomaly_check_nan_enabled() -> bool:
    """Whether values are checked too; as ``torch.is_anomaly_check_nan_enabled``."""
    return current().anomaly[1]
