"""Fixtures that several test files share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import tinytape as tt


@pytest.fixture
def in_new_context() -> Callable[..., Any]:
    """Runs a function in a new thread, whose context is its own: an empty tape, no handles."""

    def run(function: Callable[..., Any], *args: Any) -> Any:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(function, *args).result()

    return run


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """``set_num_threads``, put back afterwards."""
    before = tt.get_num_threads()
    yield tt.set_num_threads
    tt.set_num_threads(before)
