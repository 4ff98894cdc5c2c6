"""Numbers that an option may be."""

from __future__ import annotations

import math
import operator
from typing import Any

from ..errors import ArgumentError
from ..nn.state import MOST_COUNT


def check_int(what: str, value: Any, least: int) -> int:
    """The value as Python's int, which JSON can hold; numpy's integers are taken as well.

    Raises ArgumentError unless it is a whole number of at least ``least``, and one that counts.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except (TypeError, ValueError):
        number = None
    if number is None or not least <= number <= MOST_COUNT:
        raise ArgumentError(f"{what} to be an int >= {least}, got {value!r}")
    return number


def check_number(what: str, value: Any, least: float = -math.inf) -> float:
    """The value as Python's float.

    Raises ArgumentError unless it is a finite number of at least ``least``.
    """
    try:
        number = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and number >= least):
        bound = "" if least == -math.inf else f" >= {least}"
        raise ArgumentError(f"{what} to be a finite number{bound}, got {value!r}")
    return number
