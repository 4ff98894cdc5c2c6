"""The parts of a promise: its text, how it is tested, and the result."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Outcome:
    """What came of trying a promise."""

    tried: int
    failures: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)  # what else was measured, by name


@dataclass(frozen=True)
class Promise:
    """One row of docs/reliability.md.

    ``run(count, seed, say)`` tries it ``count`` times; ``say`` shows progress. A module has one of
    these as ``PROMISE``, under its own name.
    """

    words: str  # the promise
    how: str  # how it is tried
    wanted: str  # the figure to reach
    quick: int  # the count in the test suite: a few seconds
    full: int
    run: Callable[[int, int, Callable[[str], None]], Outcome]


_OTHERS = {"promise", "__main__"}


def promises() -> dict[str, Promise]:
    """Every promise by the name of its module."""
    names = sorted(m.name for m in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return {
        name: importlib.import_module(f".{name}", __package__).PROMISE
        for name in names
        if name not in _OTHERS and not name.startswith(("_", "test_"))
    }
