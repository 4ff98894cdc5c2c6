"""The machine and the versions with which a run is made, and the memory of the process.

>>> from tinytape.training.environment import differences, environment
>>> now = environment()
>>> differences(now, now)
[]
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..config import get_config


def environment() -> dict[str, Any]:
    """All that results can depend on besides the settings; the number of threads is not in it."""
    engine = get_config()
    return {
        "tinytape": engine["version"],
        "blas": engine["blas"],
        "blas_version": engine["blas_version"],
        "blas_core": engine["blas_core"],
        "simd": engine["simd"],
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The entries that can change the last bits of a result, as ``name: old, now new``."""
    return [
        f"{name}: {old.get(name)}, now {new[name]}"
        for name in ("tinytape", "blas", "blas_version", "blas_core", "simd")
        if old.get(name) != new[name]
    ]


def resident_mb() -> float | None:
    """Memory of this process that is in RAM now, in MB (10^6 bytes); None where it is unknown."""
    try:
        with open("/proc/self/statm") as file:
            return round(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)
    except OSError:
        return peak_resident_mb()


def peak_resident_mb() -> float | None:
    """The most memory that was in RAM so far, in MB; None where it is unknown."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak * (1 if sys.platform == "darwin" else 1024) / 1e6, 1)
