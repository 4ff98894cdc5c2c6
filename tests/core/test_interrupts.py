"""Ctrl-C at any place leaves nothing half done.

Python raises KeyboardInterrupt where it looks for signals: after a call and at the beginning of a
function, also in the methods that were about to put something back. A profile function is called
at just these places, so a storm can strike at each of them in turn.
"""

from __future__ import annotations

import gc
import signal
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import tinytape as tt
from tinytape._ffi import lib
from tinytape.context import current

from ..support.leaves import close, leaf


def in_finalizer(frame: Any) -> bool:
    """Where Python itself catches what is raised, and goes on."""
    while frame is not None:
        code = frame.f_code
        if code.co_name == "__del__" or code.co_filename == weakref.__file__:
            return True
        frame = frame.f_back
    return False


def interrupted(body: Callable[[], object], place: int) -> bool:
    """Run body with an interrupt at the place-th place; False where it has fewer."""
    passed = 0

    def profile(frame: Any, event: str, arg: object) -> None:
        nonlocal passed
        if event == "c_call":
            return
        passed += 1
        if passed >= place and not in_finalizer(frame):
            raise KeyboardInterrupt  # which ends the profile function too

    try:
        sys.setprofile(profile)
        body()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    return False


def all_is_well() -> None:
    assert tt.is_grad_enabled() and current().grad_enabled
    assert lib.tt_is_grad_enabled(current().pointer)
    assert not tt.autograd.is_anomaly_enabled() and not current()._watched
    assert lib.tt_paused_id(current().pointer) == 0
    x = leaf(2)
    (x * x).sum().backward()
    close(x.grad, 2 * x.numpy())


def settled() -> dict[str, int]:
    gc.collect()
    current().enter()
    current().forget_ended()
    return tt.memory_stats()


def storm(body: Callable[[], object]) -> int:
    body()  # what is made once
    before = settled()
    place = 1
    while interrupted(body, place):
        all_is_well()
        place += 1
    after = settled()
    for key in ("live_handles", "tape_nodes", "held_tensors", "data_blocks", "meta_blocks"):
        assert after[key] == before[key], (key, before[key], after[key])
    assert not current().attached and not current().lingering
    return place


class Square(tt.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: tt.Tensor) -> tt.Tensor:
        y = x * x
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, dy: tt.Tensor) -> tt.Tensor:
        x, _ = ctx.saved_tensors
        with tt.no_grad():
            x * 2
        return dy * x * 2


def watched_loss() -> tuple[tt.Tensor, tt.Tensor]:
    x = leaf(3)
    x.register_hook(lambda g: g * 2)
    y = Square.apply(x)
    y.retain_grad()
    y.register_hook(lambda g: g + 0)
    return x, (y * y).sum()


def a_pass() -> None:
    watched_loss()[1].backward()


def a_pass_with_a_graph() -> None:
    x, loss = watched_loss()
    (g,) = tt.grad(loss, x, create_graph=True)
    tt.grad(g.sum(), x)


def blocks() -> None:
    x = leaf(2)
    with tt.no_grad():
        x * 2
        with tt.enable_grad(), tt.set_grad_enabled(False):
            x.detach()
    with tt.set_grad_enabled(True), tt.no_grad():
        x * 3
    with tt.detect_anomaly(), tt.autograd.set_detect_anomaly(False):
        x * 4
    with tt.autograd.detect_anomaly(check_nan=False):
        x * 5


@tt.no_grad()
def function(x: tt.Tensor) -> tt.Tensor:
    return x * 2


@tt.no_grad
def generator(x: tt.Tensor) -> Iterator[tt.Tensor]:
    yield x * 2
    yield x * 3


def decorated() -> None:
    x = leaf(2)
    function(x)
    for y in generator(x):
        assert not y.requires_grad and tt.is_grad_enabled()
        y.tolist()


def hooks_that_come_and_go() -> None:
    x = leaf(2)
    with x.register_hook(lambda g: None):
        y = x * 2
    y.register_hook(lambda g: None).remove()


BODIES = (a_pass, a_pass_with_a_graph, blocks, decorated, hooks_that_come_and_go)


@pytest.mark.parametrize("body", BODIES, ids=lambda f: f.__name__)
def test_an_interrupt_at_each_place(in_new_context, body):
    assert in_new_context(storm, body) > 15


def test_an_interrupt_after_an_error_in_a_hook(in_new_context):
    def body():
        x = leaf(2)
        x.register_hook(lambda g: [][0])
        with pytest.raises(IndexError):
            (x * x).sum().backward()

    assert in_new_context(storm, body) > 15


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="POSIX timers")
def test_real_interrupts(monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)  # those that strike a finalizer
    struck: list[bool] = []

    def interrupt(*_: object) -> None:
        struck.append(True)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    hit = 0
    try:
        for i in range(400):
            struck.clear()
            try:
                signal.setitimer(signal.ITIMER_REAL, 2e-5 * (1 + i % 60))
                for body in BODIES:
                    body()
                left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
                while left == 0 and not struck:  # another thread has got it, and is late
                    time.sleep(1e-3)
            except KeyboardInterrupt:
                hit += 1
                all_is_well()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert hit > 50


def test_a_pass_may_be_started_after_one_that_was_given_up():
    x, loss = watched_loss()

    def stop(g: tt.Tensor) -> None:
        with tt.enable_grad():
            tt.set_grad_enabled(False)
            raise KeyboardInterrupt

    handle = x.register_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        loss.backward()
    assert tt.is_grad_enabled()
    handle.remove()
    loss.backward()
    close(x.grad, 8 * x.numpy() ** 3)


def test_a_mode_that_a_hook_leaves_ends_with_the_pass():
    x, modes = leaf(2), []
    x.register_hook(
        lambda g: modes.append(tt.is_grad_enabled()) or (tt.set_grad_enabled(True) and None)
    )
    x.register_hook(lambda g: None)
    with tt.no_grad():
        y = x * 1
    y = (x * 1).sum()
    y.backward()
    assert modes == [False] and tt.is_grad_enabled()


def test_a_generator_runs_in_its_mode_and_its_caller_does_not():
    seen = []

    @tt.no_grad()
    def body(x):
        try:
            sent = yield (x * 2).requires_grad
            seen.append((sent, tt.is_grad_enabled()))
            yield (x * 3).requires_grad
        except KeyError:
            seen.append(tt.is_grad_enabled())
            yield "caught"
        finally:
            seen.append(tt.is_grad_enabled())
        return "end"

    x = leaf(2)
    running = body(x)
    assert next(running) is False and tt.is_grad_enabled()
    assert running.send(5) is False and tt.is_grad_enabled()
    assert running.throw(KeyError()) == "caught" and tt.is_grad_enabled()
    with pytest.raises(StopIteration) as end:
        next(running)
    assert end.value.value == "end"
    assert seen == [(5, False), False, False]
    closed = body(x)
    next(closed)
    closed.close()
    assert seen[-1] is False and len(seen) == 4 and tt.is_grad_enabled()
