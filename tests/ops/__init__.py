"""The test table: a file for each operation and each public function, named like it, with ``ROW``.

A row says how to call the function on inputs of some drawn shapes and what numpy says the result
is. Layouts, aliases, gradients, dtypes and threads are the business of ``problem.py`` and of the
tests, which run over the whole table: an operation or function without a row fails, and so does a
row without either. (A row is also an attribute of this package: a builtin of the same name, such as
max, cannot be used here.)
"""

from __future__ import annotations

import importlib
import pkgutil

# Their code is in a module of its own: here the rows that are imported take names such as any.
from ._row import (
    ALIASES,
    SIDES,
    WITHOUT_ROW,
    Call,
    Float,
    Index,
    Mask,
    Row,
    Shape,
    axes_within,
    axis_within,
    binary,
    broadcast_pairs,
    of_numbers,
    reduction,
    shapes,
    unary,
    without_nothing,
)

__all__ = [
    "ALIASES",
    "SIDES",
    "WITHOUT_ROW",
    "Call",
    "Float",
    "Index",
    "Mask",
    "Row",
    "Shape",
    "axes_within",
    "axis_within",
    "binary",
    "broadcast_pairs",
    "of_numbers",
    "reduction",
    "rows",
    "shapes",
    "unary",
    "without_nothing",
]


def rows() -> dict[str, Row]:
    """Every row, by the name of its file."""
    names = [
        m.name
        for m in pkgutil.iter_modules(__path__)
        if m.name != "problem" and not m.name.startswith(("_", "test_"))
    ]
    return {name: importlib.import_module(f"{__name__}.{name}").ROW for name in names}
