"""Checks of options that the optimisers share."""

from __future__ import annotations

from typing import Any

from .._pytorch import is_default
from ..errors import ArgumentError

_PYTORCH_ONLY = {"amsgrad", "foreach", "fused", "capturable", "differentiable"}


def refuse(who: str, options: dict[str, Any]) -> None:
    """Raise TypeError for options that nothing here would read, unless they ask for nothing."""
    for name, value in options.items():
        if name in _PYTORCH_ONLY:
            if is_default(name, value):
                continue
            raise TypeError(
                f"{who}: {name}={value!r} is not supported; tinytape has one fused update without "
                f"this option, leave it out"
            )
        raise TypeError(f"{who}: got an unexpected option {name!r}")


def check_non_negative(who: str, group: dict[str, Any], *names: str) -> None:
    """Raise ValueError unless each named option is a number of at least zero."""
    for name in names:
        if not group[name] >= 0.0:  # so written that NaN is refused
            raise ArgumentError(f"{who}: expected {name} >= 0, got {group[name]}")
