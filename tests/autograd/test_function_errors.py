"""Functions that are wrong: the message names them, and nothing has changed."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import tinytape as tt
from tinytape.autograd import Function
from tinytape.autograd.function import once_differentiable

from ..support.functions import Add3, Cube, Exp
from ..support.leaves import close, leaf


@pytest.fixture
def rule(monkeypatch):
    return lambda f: monkeypatch.setattr(Add3, "rule", staticmethod(f))


# ---- errors --------------------------------------------------------------------------------------

WRONG = {
    "too few": (lambda ctx, g: g, ValueError, "Add3: backward returned 1 gradients, .*3 argum"),
    "too many": (lambda ctx, g: (g,) * 4, ValueError, "Add3: backward returned 4 gradients"),
    "shape": (
        lambda ctx, g: (tt.ones(2, dtype=tt.float64), g, None),
        ValueError,
        r"Add3: .*shape \(2,\) for argument 0 of shape \(3,\)",
    ),
    "dtype": (lambda ctx, g: (g, tt.ones(3), None), TypeError, "Add3: .*float32 .*argument 1"),
    "type": (lambda ctx, g: (g, 3.0, None), TypeError, "Add3: .*float as the gradient"),
    "array": (lambda ctx, g: (np.ones(3), g, None), TypeError, "Add3: .*ndarray"),
    "no tensor": (
        lambda ctx, g: (g, g, g),
        ValueError,
        "Add3: .*argument 2, which is not a Tensor",
    ),
    "its own": (lambda ctx, g: 1 / 0, ZeroDivisionError, "division"),
}


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_backward_changes_nothing(name, create_graph, rule, in_new_context):
    f, error, message = WRONG[name]

    def body():
        x, y = leaf(3), leaf(3)
        y.grad = tt.ones(3, dtype=tt.float64)
        z = (Add3.apply(x * y, y, 7) * y).sum()
        before = tt.memory_stats()
        for _ in range(2):
            rule(f)
            with pytest.raises(error, match=message):
                tt.grad(z, [x, y], create_graph=create_graph)
            with pytest.raises(error, match=message):
                z.backward()
        with tt.no_grad():
            x * x
        now = tt.memory_stats()
        for key in ("live_handles", "tape_nodes", "held_tensors", "data_blocks"):
            assert now[key] == before[key], key
        assert x.grad is None
        close(y.grad, [1.0] * 3)
        rule(lambda ctx, g: (g, g, None, None))
        z.backward()
        close(x.grad, y.numpy() ** 2)

    in_new_context(body)


def test_misuse_of_forward():
    class Nothing(Function):
        @staticmethod
        def forward(ctx, x):
            return None

    class Raises(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(3)

    class Forward(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

    x = leaf(3)
    with pytest.raises(TypeError, match=r"Nothing: forward must return a Tensor.*NoneType"):
        Nothing.apply(x)
    with pytest.raises(TypeError, match=r"Raises: save_for_backward expected Tensors.*int"):
        Raises.apply(x)
    assert tt.is_grad_enabled()
    with pytest.raises(NotImplementedError, match="must define forward"):
        Function.apply(x)
    with pytest.raises(NotImplementedError, match="must define backward"):
        Forward.apply(x).sum().backward()
    assert x.grad is None


def test_a_pass_inside_of_backward_is_refused():
    class Nested(Cube):
        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            with tt.enable_grad():
                return tt.grad((x * x).sum(), x)[0]

    x = leaf(3)
    with pytest.raises(RuntimeError, match="a backward pass is under way"):
        Nested.apply(x).sum().backward()
    Cube.apply(x).sum().backward()


def test_once_differentiable():
    class Opaque(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return tt.tensor(np.sin(x.numpy()))

        @staticmethod
        @once_differentiable
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return tt.tensor(np.cos(x.numpy()) * g.numpy())

    x = leaf(3)
    Opaque.apply(x).sum().backward()
    close(x.grad, np.cos(x.numpy()))
    (g,) = tt.grad(Opaque.apply(x).sum(), x, create_graph=True)
    close(g, np.cos(x.numpy()))
    with pytest.raises(RuntimeError, match=r"Opaque: trying to differentiate twice .*once"):
        tt.grad(g.sum(), x)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        g.sum().backward()


def test_inputs_are_dropped_in_backward(rule, in_new_context):
    def body():
        held = {"x": leaf(3), "y": leaf(3)}
        b = held["y"].numpy()
        held["z"] = Add3.apply(held["x"] * held["y"], held["y"], 1)

        def backward(ctx, g):
            held.clear()
            gc.collect()
            for _ in range(30):
                tt.ones(3, dtype=tt.float64) * 2
            return g * 3, g, None

        rule(backward)
        seen = []
        held["x"].register_hook(lambda g: seen.append(g.numpy()))
        tt.autograd.backward(held["z"].sum())
        np.testing.assert_allclose(seen[0], 3 * b)
        tt.ones(1)._context.forget_ended()
        assert tt.memory_stats()["tape_nodes"] == 0
        assert tt.memory_stats()["live_handles"] == 0

    in_new_context(body)


def test_a_loop_of_functions_runs_in_flat_memory(in_new_context):
    def body():
        x, seen = leaf(50, 50), []
        x.register_hook(lambda g: g * 0.5)
        for _ in range(30):
            x.grad = None
            y = Exp.apply(Cube.apply(x * 0.1))
            y.register_hook(lambda g: g * 2)
            y.sum().backward()
            stats = tt.memory_stats()
            seen.append((stats["system_bytes"], stats["system_allocations"]))
        assert len({bytes_ for bytes_, _ in seen[5:]}) == 1
        assert seen[5][1] == seen[-1][1]

    in_new_context(body)
