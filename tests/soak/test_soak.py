"""Every promise of docs/reliability.md, tried briefly; ``make soak`` tries them at full length."""

from __future__ import annotations

import pytest

from .promise import promises

PROMISES = promises()


@pytest.mark.parametrize("name", PROMISES)
def test_a_promise_holds(name: str) -> None:
    promise = PROMISES[name]
    outcome = promise.run(promise.quick, 1, print)
    assert outcome.failures == []
    assert outcome.tried > 0
