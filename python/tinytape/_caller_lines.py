"""Numbers for the lines of the user's code that call operations, so that errors can name them."""

from __future__ import annotations

import linecache
import os
import sys
from types import FrameType

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
# Parts of the library that may stand between an operation and the line that called it.
_ENGINE = (
    "functional",
    "autograd",
    "nn",
    "tensor.py",
    "operators.py",
    "context.py",
    "_caller_lines.py",
    "_ffi.py",
)
_ENGINE_PATHS = tuple(_PACKAGE + part for part in _ENGINE)

# A line has one number, however often it runs, so the table is not larger than the program.
_numbers: dict[tuple[str, int, str], int] = {}
_lines: list[tuple[str, int, str]] = []


def _is_users(frame: FrameType) -> bool:
    name = frame.f_code.co_filename
    return not name.startswith((_PACKAGE, "<frozen "))


def number_of_caller() -> int:
    """The number of the innermost line outside the library, else of the line in a command of it."""
    frame: FrameType | None = sys._getframe(1)
    own = None
    while frame is not None and not _is_users(frame):
        name = frame.f_code.co_filename
        if own is None and name.startswith(_PACKAGE) and not name.startswith(_ENGINE_PATHS):
            own = frame
        frame = frame.f_back
    frame = frame or own
    if frame is None:
        return 0
    line = (frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
    number = _numbers.get(line)
    if number is None:
        _lines.append(line)
        number = _numbers[line] = len(_lines)
    return number


def describe(number: int) -> str:
    """The line with this number, as in a traceback; a negative number is an unknown line."""
    if number < 0:
        return "\n  recorded outside of detect_anomaly(): its line is not known"
    filename, line, function = _lines[number - 1]
    source = linecache.getline(filename, line).strip()
    return f'\n  File "{filename}", line {line}, in {function}' + (f"\n    {source}" * bool(source))
