"""What is held when its step ends costs itself and its own graph, and no more.

Programs with several roots are run twice: once with all graphs on one tape, of which some are gone
through and some stay held over later steps, and once with a new graph for each root.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

import tinytape as tt
from tinytape import nn
from tinytape.nn import functional as F

from ..support.leaves import close, leaf

# Not formatted by ruff: with one element a line the table is hard to compare by eye.
UNARY = (
    lambda x: x.tanh(), lambda x: x.exp() * 0.1, lambda x: x * x, lambda x: x.t().contiguous().t(),
    lambda x: x[1:].expand(2, *x[1:].shape).sum(0).mean() + x, lambda x: F.softmax(x, -1),
    lambda x: F.layer_norm(x, x.shape[-1:]), lambda x: x.reshape(-1).flip(0).reshape(x.shape),
    lambda x: F.dropout(x, 0.5), lambda x: x.cumsum(0), lambda x: x.sort(-1)[0], lambda x: -x,
    lambda x: x.clamp(-1, 1), lambda x: tt.cat([x, x], 0)[2:-1:1][: x.shape[0]].sum() + x,
    lambda x: x.to(tt.float32).to(tt.float64), lambda x: x.std(0) + x,
)  # fmt: skip
BINARY = (
    lambda x, y: x + y,
    lambda x, y: x * y,
    lambda x, y: x @ y.t() @ y,
    lambda x, y: x - y.mean(),
    lambda x, y: tt.maximum(x, y),
    lambda x, y: tt.where(x > 0, x, y),
    lambda x, y: F.linear(x, y[:3], y[0]),
    lambda x, y: F.linear(x, y[1:].t()),
)


def program(seed: int, leaves: list[tt.Tensor]) -> tt.Tensor:
    rng = random.Random(seed)
    tt.manual_seed(seed)
    values = list(leaves)
    for _ in range(rng.randrange(1, 9)):
        if rng.random() < 0.6:
            values.append(rng.choice(UNARY)(rng.choice(values)))
        else:
            values.append(rng.choice(BINARY)(rng.choice(values), rng.choice(values)))
        values[-1] = values[-1] * (1 / 3)
    return (values[-1] * values[-1]).sum() + sum((x * x * x).sum() for x in leaves)


def filler() -> None:
    """A step beside which what is held is small."""
    w = tt.ones(120, 120, requires_grad=True)
    x = w
    for _ in range(12):
        x = x * 1.0 + w
    x.sum().backward()


def differentiate(root: tt.Tensor, leaves: list[tt.Tensor], way: str) -> list[np.ndarray]:
    if way == "graph":
        first = tt.grad(root, leaves, create_graph=True)
        total = sum((g * g).sum() for g in first)
        return [g.numpy() for g in (*first, *tt.grad(total, leaves))]
    if way == "retain":
        root.backward(retain_graph=True)
    root.backward()
    found = [x.grad.numpy() for x in leaves]
    for x in leaves:
        x.grad = None
    return found


@pytest.mark.parametrize("seed", range(60))
def test_graphs_that_outlive_their_step(in_new_context, seed):
    def body():
        rng = random.Random(seed)
        leaves = [leaf(4, 3), leaf(4, 3)]
        tasks = [(1000 * seed + i, rng.choice(("plain", "retain", "graph"))) for i in range(8)]
        expected = [differentiate(program(s, leaves), leaves, way) for s, way in tasks]
        roots = {}
        order = list(range(len(tasks)))
        rng.shuffle(order)
        for i in range(len(tasks)):
            roots[i] = program(tasks[i][0], leaves)
            if rng.random() < 0.7:
                filler()
            if rng.random() < 0.3:
                tt.ones(300_000, requires_grad=True).exp().exp()  # and a sweep may come
            for j in [j for j in order if j in roots and rng.random() < 0.3]:
                values = roots[j].item()
                found = differentiate(roots[j], leaves, tasks[j][1])
                for a, b in zip(found, expected[j], strict=True):
                    np.testing.assert_array_equal(a, b)
                assert roots[j].item() == values
                order.remove(j)
                if rng.random() < 0.7:
                    del roots[j]
        for j in order:
            found = differentiate(roots[j], leaves, tasks[j][1])
            for a, b in zip(found, expected[j], strict=True):
                np.testing.assert_array_equal(a, b)
        roots.clear()
        stats = tt.memory_stats()
        assert stats["tape_nodes"] == stats["held_tensors"] == 0

    in_new_context(body)


class Net:
    def __init__(self) -> None:
        tt.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 10))
        self.optimizer = tt.optim.SGD(self.net.parameters(), lr=0.01)
        self.x, self.y = tt.randn(256, 64), tt.tensor([i % 10 for i in range(256)])

    def step(self) -> tt.Tensor:
        loss = F.cross_entropy(self.net(self.x), self.y)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss


KEPT: dict[str, tuple[Callable[[Net], tt.Tensor], int]] = {
    # what is kept, and the most bytes that each may cost, its nodes and tensors included
    "norm": (lambda m: m.net[0].bias.norm(), 1_500),
    "clone": (lambda m: m.net[0].bias.clone(), 1_500 + 4 * 256),
    "view": (lambda m: m.net[0].weight.t()[3], 2_500),
    "mean": (lambda m: m.net[2].weight.mean(), 1_500),
    "penalty": (lambda m: sum((p * p).sum() for p in m.net.parameters()), 15_000 + 4 * 19_500),
}


@pytest.mark.parametrize("name", sorted(KEPT))
@pytest.mark.parametrize("when", ["before", "after", "forward only"])
def test_a_kept_result_costs_itself(in_new_context, name, when):
    what, most = KEPT[name]

    def body():
        model = Net()
        for _ in range(3):
            model.step()
        kept, values, sizes = [], [], []
        for i in range(200):
            if when == "forward only":
                F.cross_entropy(model.net(model.x), model.y)
            if when == "after":
                model.step()
            kept.append(what(model))
            values.append(kept[-1].tolist())
            if when == "before":
                model.step()
            if i in (99, 199):
                sizes.append(tt.memory_stats())
        before, after = sizes
        grown = after["kept_used"] + after["step_used"] - before["kept_used"] - before["step_used"]
        slack = 16 << 20 if when == "forward only" else 0  # until the next sweep
        assert grown <= 100 * 2 * most + slack, grown / 100
        assert after["system_bytes"] - before["system_bytes"] <= 100 * 4 * most + 2 * slack + 2**17
        if name != "view":  # of a weight: it shows what that is now
            assert [x.tolist() for x in kept] == values
        kept.clear()
        model.step()
        assert tt.memory_stats()["tape_nodes"] == 0

    in_new_context(body)


def test_the_time_of_a_step_does_not_grow_with_what_is_kept(in_new_context):
    """Counted in nodes: a pass goes by none that is older than its own graph."""

    def body():
        w = leaf(2)
        kept = []
        for _ in range(2000):
            filler_loss = (w * w).sum()
            kept.append(w.norm())
            filler_loss.backward()
        (g,) = tt.grad(kept[17], w)
        close(g, w.numpy() / np.linalg.norm(w.numpy()))
        used = tt.memory_stats()["kept_used"]
        del kept[1:]
        (w * w).sum().backward()
        assert tt.memory_stats()["kept_used"] < used / 100
        assert tt.memory_stats()["held_tensors"] == 1

    in_new_context(body)


def test_a_kept_graph_notices_what_changed():
    w = leaf(3)
    kept = (w * w).sum()
    filler()
    w.copy_(2.0)
    with pytest.raises(RuntimeError, match="changed in place"):
        kept.backward()


def test_hooks_and_functions_of_a_kept_graph():
    class Cube(tt.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x * x * x
            ctx.save_for_backward(x, y)
            return y

        @staticmethod
        def backward(ctx, dy):
            x, y = ctx.saved_tensors
            return dy * 3 * y / x

    x, seen = leaf(3), []
    hidden = x * 2
    hidden.register_hook(lambda g: seen.append(g.numpy()))
    y = Cube.apply(hidden)
    y.retain_grad()
    loss = y.sum()
    for _ in range(3):
        filler()
    loss.backward()
    close(x.grad, 24 * x.numpy() ** 2)
    close(y.grad, [1.0] * 3)
    np.testing.assert_allclose(seen[0], 12 * x.numpy() ** 2)


def test_new_results_grow_out_of_a_kept_graph():
    x = leaf(3)
    root = x.exp()
    for i in range(4):
        filler()
        root = root * x
        view = root.reshape(1, 3)
        filler()
        root = view[0] + i
    root.sum().backward(retain_graph=True)
    first = x.grad.numpy()
    x.grad = None
    filler()
    root.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), first)
    copy = x.detach().requires_grad_()
    expected = copy.exp()
    for i in range(4):
        expected = expected * copy + i
    expected.sum().backward()
    close(copy.grad, first)


def test_a_running_total_beside_kept_results_stays_flat(in_new_context):
    def body():
        w = leaf(50)
        kept, total, nodes = [], tt.zeros((), dtype=tt.float64), []
        for _ in range(30):
            loss = (w * w).sum()
            loss.backward()
            total = total + loss
            kept.append(w.norm())
            nodes.append(tt.memory_stats()["tape_nodes"] - len(kept))
        assert max(nodes) <= 3

    in_new_context(body)
