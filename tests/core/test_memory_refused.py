"""Memory that is refused: an error that says so, after which everything is as it was before."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import tinytape as tt
from tinytape import nn
from tinytape._ffi import lib
from tinytape.nn import functional as F


class Step:
    """A small model and its step: embedding, layer norm, attention, Adam.

    Args:
        grads: which parameters have a gradient before, to which the step then adds.
        second_order: the loss holds the gradient of a gradient.
    """

    def __init__(self, grads: slice, second_order: bool) -> None:
        rng = np.random.default_rng(0)
        shapes = ((5, 8), (24, 8), (8,), (5, 8))
        self.params = [tt.tensor(rng.standard_normal(s), requires_grad=True) for s in shapes]
        self.optimizer = tt.optim.AdamW(self.params, lr=0.01)
        for p in self.params[grads]:
            p.grad = tt.ones(p.shape, dtype=tt.float64)
        self.index = tt.tensor([[0, 1, 4], [2, 2, 3]])
        self.target = tt.tensor([1, 4, 2, 3, 3, 0])
        self.second_order = second_order
        self.has_gradients = False

    def run(self) -> None:
        if not self.has_gradients:
            self.backward()
            self.has_gradients = True
        self.optimizer.step()

    def backward(self) -> None:
        table, w, g, head = self.params
        x = F.embedding(self.index, table)
        q, k, v = (
            part.reshape(2, 3, 2, 4).transpose(1, 2)
            for part in F.linear(F.layer_norm(x, 8, g), w).split(8, dim=-1)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + F.gelu(y.transpose(1, 2).reshape(2, 3, 8))
        loss = F.cross_entropy(F.linear(x, head).reshape(6, 5), self.target)
        if self.second_order:
            (d,) = tt.grad(loss, g, create_graph=True)
            loss = loss + (d * d).sum()
        loss.backward()

    def weights(self) -> list[np.ndarray]:
        return [p.numpy() for p in self.params]

    def grads(self) -> list[np.ndarray | None]:
        return [None if p.grad is None else p.grad.numpy() for p in self.params]


def same(xs, ys, what) -> None:
    for x, y in zip(xs, ys, strict=True):
        assert (x is None) == (y is None), what
        if x is not None:
            np.testing.assert_array_equal(x, y, err_msg=str(what))


ALL_OF_IT = r"out of memory in the \w+ pool: asked for \d+ bytes, \d+ in use, peak \d+"


@pytest.fixture
def memory_limit() -> Iterator[Callable[[int | None], None]]:
    yield tt.set_memory_limit
    tt.set_memory_limit(None)


def test_a_memory_limit_is_an_error_not_the_end(in_new_context, memory_limit):
    def body():
        step = Step(slice(0), False)
        step.run()
        expected = step.weights()
        used = tt.memory_stats()["system_bytes"]
        with pytest.raises(ValueError, match="set_memory_limit: expected"):
            memory_limit(0)
        memory_limit(used + (1 << 20))
        with pytest.raises(MemoryError, match=r"tensor: out of memory in the data pool: asked for"):
            tt.zeros(1 << 20)
        with pytest.raises(MemoryError, match=ALL_OF_IT):
            x = tt.ones(1 << 15, requires_grad=True)
            for _ in range(100):
                x = x * x
        x = None
        tt.empty_cache()
        memory_limit(None)
        same(step.weights(), expected, "after a refusal")
        step.run()
        assert all(np.isfinite(w).all() for w in step.weights())

    in_new_context(body)


@pytest.fixture
def fail_allocation() -> Iterator[Callable[[int, bool], None]]:
    """Lets the k-th allocation from now fail: that one only, or all from there on."""
    yield lambda k, persistent: lib.tt_fail_allocation(k, persistent)
    lib.tt_fail_allocation(0, False)


@pytest.mark.parametrize("second_order", [False, True])
@pytest.mark.parametrize(
    "grads", [slice(0), slice(None), slice(2, None)], ids=["no", "all", "some"]
)
@pytest.mark.parametrize("persistent", [False, True], ids=["one", "from there on"])
def test_every_refused_allocation_of_a_step(
    in_new_context, fail_allocation, persistent, grads, second_order
):
    """MemoryError each time; then weights and gradients are as if nothing had been tried, nothing
    has leaked, and the next attempt gives what an undisturbed one does."""

    def body():
        step = Step(grads, second_order)
        weights, gradients = step.weights(), step.grads()
        tt.empty_cache()
        start = tt.memory_stats()["system_allocations"]
        step.run()
        needed = tt.memory_stats()["system_allocations"] - start
        expected = step.weights() + step.grads()
        assert needed > 10
        refused = 0
        for k in range(1, needed + 3):
            step = Step(grads, second_order)
            tt.empty_cache()
            fresh = tt.memory_stats()
            fail_allocation(k, persistent)
            try:
                step.run()
                message = None
            except MemoryError as error:
                message = str(error)
            fail_allocation(0, False)
            if message is not None:
                refused += 1
                assert "out of memory in the" in message
                same(step.weights(), weights, (k, message))
                if not step.has_gradients:
                    same(step.grads(), gradients, (k, message))
                    now = tt.memory_stats()
                    for key in ("live_handles", "tape_nodes", "held_tensors", "step_used"):
                        assert now[key] == fresh[key], (k, key, message)
                    for pool in ("parameters", "state", "data", "meta"):
                        assert now[f"{pool}_blocks"] == fresh[f"{pool}_blocks"], (k, pool, message)
                step.run()
            same(step.weights() + step.grads(), expected, (k, message))
        assert refused > 0 or not persistent

    in_new_context(body)


@pytest.mark.parametrize("create_graph", [False, True])
def test_every_refused_allocation_of_grad(in_new_context, fail_allocation, create_graph):
    """Nothing is half done: the graph can be asked again, and no result is left behind."""

    def body():
        # Large enough that the pass wants more of the step arena than is at hand.
        x, w = (tt.ones(400, 400, requires_grad=True) for _ in range(2))
        refused = 0
        for k in range(1, 60):
            h = x * w
            loss = (h * h).sum()
            tt.empty_cache()
            fresh = tt.memory_stats()
            fail_allocation(k, True)
            try:
                tt.grad(loss, [x, w], create_graph=create_graph)
            except MemoryError:
                refused += 1
            else:
                break
            finally:
                fail_allocation(0, False)
            now = tt.memory_stats()
            for key in ("live_handles", "tape_nodes", "held_tensors", "data_blocks"):
                assert now[key] == fresh[key], (k, key)
            gx, gw = tt.grad(loss, [x, w])
            assert (gx.numpy() == 2).all() and (gw.numpy() == 2).all()
        assert refused > 0

    in_new_context(body)


def test_refused_allocations_outside_of_the_tape(in_new_context, fail_allocation):
    def body():
        calls = {
            "tensor": lambda: tt.tensor(np.ones(100)),
            "zeros": lambda: tt.zeros(100),
            "randn": lambda: tt.randn(100),
            "no_grad": lambda: tt.ones(100) * 2,
            "detach": lambda: (tt.ones(100, requires_grad=True) * 2).detach(),
            "clone": lambda: tt.ones(100).clone(),
            "parameter": lambda: nn.Parameter(tt.ones(100)),
            "optimizer": lambda: tt.optim.AdamW([tt.ones(100, requires_grad=True)]),
            "strided": lambda: tt.ones(4, 5).transpose(0, 1).reshape(20) + tt.ones(1),
        }
        for name, call in calls.items():
            for k in range(1, 20):
                gc.collect()
                tt.empty_cache()
                fresh = tt.memory_stats()
                fail_allocation(k, True)
                try:
                    call()
                except MemoryError:
                    pass
                else:
                    assert k > 1, name
                    break
                finally:
                    fail_allocation(0, False)
                now = tt.memory_stats()
                for key in ("live_handles", "tape_nodes", "data_blocks", "meta_blocks"):
                    assert now[key] == fresh[key], (name, k, key)
            else:
                pytest.fail(f"{name} never succeeded")

    in_new_context(body)


def test_no_memory_for_a_context(fail_allocation, in_new_context):
    def body():
        with pytest.raises(MemoryError, match=r"context pool: asked for \d+ bytes, \d+ in use"):
            tt.zeros(1)
        fail_allocation(0, False)
        assert tt.zeros(1).item() == 0.0

    fail_allocation(1, True)
    in_new_context(body)
