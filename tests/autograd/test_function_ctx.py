"""Functions: what their contexts keep and say, and for how long."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import tinytape as tt
from tinytape.autograd import Function

from ..support.functions import Add3, Cube, Exp
from ..support.leaves import close, leaf, scalar


@pytest.fixture
def rule(monkeypatch):
    return lambda f: monkeypatch.setattr(Add3, "rule", staticmethod(f))


# ---- the context ---------------------------------------------------------------------------------


def test_needs_input_grad(rule):
    seen = []

    def backward(ctx, g):
        seen.append(ctx.needs_input_grad)
        return g, g, None

    rule(backward)
    x, y, constant = leaf(3), leaf(3), tt.ones(3, dtype=tt.float64)
    Add3.apply(x, constant, 3).sum().backward()
    assert constant.grad is None
    tt.grad(Add3.apply(x, y, 3).sum(), y)
    assert seen == [(True, False, False), (False, True, False)]


def test_nothing_is_recorded_without_need():
    x = tt.ones(3)
    assert not Cube.apply(x).requires_grad
    x.requires_grad_()
    with tt.no_grad():
        assert not Cube.apply(x).requires_grad
    nodes = tt.memory_stats()["tape_nodes"]
    y = Cube.apply(x)
    assert tt.memory_stats()["tape_nodes"] == nodes + 1
    del y


def test_non_differentiable_outputs():
    class Sort(Function):
        @staticmethod
        def forward(ctx, x):
            order = np.argsort(x.numpy())
            index, values = tt.tensor(order), tt.tensor(x.numpy()[order])
            floor = tt.tensor(np.floor(x.numpy()))
            ctx.mark_non_differentiable(index, floor)
            ctx.order = order
            return values, index, floor

        @staticmethod
        def backward(ctx, g, index_gradient, floor_gradient):
            assert index_gradient.tolist() == [0, 0, 0] and floor_gradient.tolist() == [0, 0, 0]
            out = np.empty(3)
            out[ctx.order] = g.numpy()
            return tt.tensor(out)

    x = tt.tensor([3.5, 1.5, 2.5], dtype=tt.float64, requires_grad=True)
    values, index, floor = Sort.apply(x)
    assert values.requires_grad and not index.requires_grad and not floor.requires_grad
    assert index.tolist() == [1, 2, 0]
    (values * tt.arange(3.0, dtype=tt.float64)).sum().backward()
    close(x.grad, [2.0, 0.0, 1.0])


@pytest.mark.parametrize("materialize", [False, True])
def test_materialized_gradients(materialize):
    class Both(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(materialize)
            return x * 2, x.sum()

        @staticmethod
        def backward(ctx, g, h):
            if materialize:
                assert h.shape == () and h.dtype is tt.float64 and h.item() == 0
            else:
                assert h is None
            return g * 2

    x = leaf(3)
    Both.apply(x)[0].sum().backward()
    close(x.grad, [2.0] * 3)


def test_saved_tensors_that_change_raise():
    class Product(Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return x * w

        @staticmethod
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            return g * w, g * x

    x, w = leaf(3), leaf(3)
    y = Product.apply(x, w).sum()
    with tt.no_grad():
        w.zero_()
    with pytest.raises(RuntimeError, match=r"Product: input 1 .*changed in place"):
        y.backward()
    z = Add3.apply(x, w, 0)
    with tt.no_grad():
        w.zero_()
    z.sum()


def test_saved_tensors_are_for_backward_only():
    kept = []

    class Keeps(Cube):
        @staticmethod
        def forward(ctx, x):
            kept.append(ctx)
            return Cube.forward(ctx, x)

    x = leaf(3)
    y = Keeps.apply(x)
    with pytest.raises(RuntimeError, match="Keeps: saved tensors are there for its backward"):
        _ = kept[0].saved_tensors
    y.sum().backward()
    with pytest.raises(RuntimeError, match="Keeps: saved tensors are there for its backward"):
        _ = kept[0].saved_tensors


def test_saved_tensors_kept_by_backward(in_new_context):
    def body():
        kept = []

        class Leaky(Function):
            @staticmethod
            def forward(ctx, x):
                y = x * 2
                ctx.save_for_backward(x, y)
                return y

            @staticmethod
            def backward(ctx, g):
                kept.extend(ctx.saved_tensors)
                return g * 2

        x = leaf(3)
        Leaky.apply(x * 1.0).sum().backward()
        for _ in range(20):
            (x * 3).exp().sum()
        close(kept[0], x.numpy())
        close(kept[1], 2 * x.numpy())
        with pytest.raises(RuntimeError, match="second time"):
            tt.grad((kept[1] * kept[0]).sum(), x)
        kept.clear()
        gc.collect()
        assert tt.memory_stats()["tape_nodes"] == 0

    in_new_context(body)


def test_retain_graph_and_a_second_backward():
    x = leaf(3)
    y = Cube.apply(x).sum()
    y.backward(retain_graph=True)
    y.backward()
    close(x.grad, 6 * x.numpy() ** 2)
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


def test_functions_end_with_their_graph(in_new_context):
    class Big:
        pass

    def body():
        x, gone = leaf(3), []

        class Holds(Exp):
            @staticmethod
            def forward(ctx, x):
                ctx.big = Big()
                gone.append(weakref.ref(ctx.big))
                return Exp.forward(ctx, x)

        for k in range(20):
            y = Holds.apply(x * 2)
            if k % 2:
                y.sum().backward()
            del y
        gc.collect()
        x._context.forget_ended()
        assert not any(ref() for ref in gone)
        assert not x._context.attached
        stats = tt.memory_stats()
        assert stats["tape_nodes"] == 0 and stats["live_handles"] == 1
        x.grad = None
        assert tt.memory_stats()["data_blocks"] == 1

    in_new_context(body)


def test_gradients_of_none(rule):
    """What lies behind an input without a gradient is not visited."""
    x, y = leaf(3), leaf(3)
    rule(lambda ctx, g: (g, None, None))
    Add3.apply(x * 2, (y * y).exp(), 3).sum().backward()
    close(x.grad, [2.0] * 3)
    assert y.grad is None
    seen = []
    y.register_hook(lambda g: seen.append(g.numpy()))
    z = Add3.apply(x * 2, (y * y).exp(), 3).sum()
    _, gy = tt.grad(z, [x, y], allow_unused=True, create_graph=True)
    assert gy is None and not seen
    _, gy = tt.grad((z + y.sum()) * 1.0, [x, y])
    close(gy, [1.0] * 3)
    assert len(seen) == 1
    rule(lambda ctx, g: (None, None, None))
    x.grad = None
    Add3.apply(x, y, 3).sum().backward()
    assert x.grad is None


def test_a_gradient_of_the_broadcast_shape_is_summed():
    class Scale(Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return x * w

        @staticmethod
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            return g * w, g * x

    x, w, v = leaf(4, 3), leaf(1, 3), scalar(2.0)
    Scale.apply(x, w).sum().backward()
    close(w.grad, x.numpy().sum(0, keepdims=True))
    Scale.apply(x, v).sum().backward()
    close(v.grad, x.numpy().sum())
