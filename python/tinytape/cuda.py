"""What programs ask before they choose a device: there is no GPU here."""

from __future__ import annotations

__all__ = ["device_count", "is_available"]


def is_available() -> bool:
    """False: tinytape computes on the CPU."""
    return False


def device_count() -> int:
    """0."""
    return 0
