"""The questions of ``torch.cuda`` that programs ask before they choose a device.

>>> device = "cuda" if tt.cuda.is_available() else "cpu"
>>> device
'cpu'
"""

from __future__ import annotations

__all__ = ["device_count", "is_available"]


def is_available() -> bool:
    """False: tinytape computes on the CPU."""
    return False


def device_count() -> int:
    """0: there is no GPU here."""
    return 0
