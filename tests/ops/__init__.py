"""The test table: one file for each operation of the core, named like it, that defines ``ROW``.

A row says how to call the operation on inputs of some drawn shapes and what numpy says the result
is. Layouts, aliases, gradients, dtypes and threads are the business of ``problem.py`` and of the
tests, which run over the whole table: an operation without a row fails, and so does a row without
an operation.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Float:
    """A floating input: values between low and high, none closer to zero than gap."""

    shape: Shape
    low: float = -2.0
    high: float = 2.0
    gap: float = 0.0


@dataclass(frozen=True)
class Index:
    """An int64 input: values from 0 to below - 1."""

    shape: Shape
    below: int


@dataclass(frozen=True)
class Call:
    """One call: what goes in, how the operation is run, what numpy makes of the same arrays."""

    inputs: Sequence[Float | Index]
    run: Callable[..., Any]
    reference: Callable[..., Any]


@dataclass(frozen=True)
class Row:
    """``case(draw)`` gives a small call; ``large`` is one big enough to be shared by threads."""

    case: Callable[[Any], Call]
    large: Call


def rows() -> dict[str, Row]:
    """Every row, by the name of its file."""
    names = [m.name for m in pkgutil.iter_modules(__path__) if m.name != "problem"]
    return {name: importlib.import_module(f"{__name__}.{name}").ROW for name in names}


# ---- shapes --------------------------------------------------------------------------------------

SIDES = st.sampled_from((1, 2, 3, 4, 5, 2, 3, 0))
"""Mostly small, sometimes one, now and then nothing."""


def shapes(least: int = 0, most: int = 4) -> st.SearchStrategy[Shape]:
    return st.lists(SIDES, min_size=least, max_size=most).map(tuple)


@st.composite
def broadcast_pairs(draw: Any, most: int = 4) -> tuple[Shape, Shape]:
    """Two shapes that numpy's rule stretches to one."""
    full = draw(shapes(0, most))
    pair = []
    for _ in range(2):
        kept = full[draw(st.integers(0, len(full))) if draw(st.booleans()) else 0 :]
        pair.append(tuple(1 if draw(st.integers(0, 3)) == 0 else n for n in kept))
    return pair[0], pair[1]


# ---- the rows of elementwise operations ----------------------------------------------------------


def unary(run: Callable[..., Any], reference: Callable[..., Any], **domain: float) -> Row:
    def case(draw: Any) -> Call:
        return Call([Float(draw(shapes()), **domain)], run, reference)

    return Row(case, Call([Float((150, 301), **domain)], run, reference))


def binary(run: Callable[..., Any], reference: Callable[..., Any], gap: float = 0.0) -> Row:
    def case(draw: Any) -> Call:
        a, b = draw(broadcast_pairs())
        return Call([Float(a, gap=gap), Float(b, gap=gap)], run, reference)

    large = Call([Float((150, 301), gap=gap), Float((301,), gap=gap)], run, reference)
    return Row(case, large)
