"""Fixtures that several test files share."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import tinytape as tt

from .support import leaves


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Start every generator that tests share anew: a test's numbers are the same in any order."""
    tt.manual_seed(0)
    generators = (leaves.RNG, getattr(getattr(item, "module", None), "RNG", None))
    for generator in generators:
        if isinstance(generator, np.random.Generator):
            generator.bit_generator.state = np.random.default_rng(0).bit_generator.state


@pytest.fixture(scope="session", autouse=True)
def signals_as_in_a_terminal() -> Iterator[None]:
    """Under nohup SIGHUP is ignored, and SIGINT in the background of a shell: not in the tests."""
    defaults: dict[str, Any] = {"SIGINT": signal.default_int_handler, "SIGTERM": signal.SIG_DFL}
    defaults["SIGHUP"] = signal.SIG_DFL
    before = {}
    for name, handler in defaults.items():
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            before[number] = signal.signal(number, handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


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
