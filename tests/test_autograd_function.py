"""Functions: operations whose backward rule is written in Python."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import tinytape as tt
from tinytape.autograd import Function
from tinytape.autograd.function import once_differentiable

from .leaves import close, leaf, scalar


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x * x * g


class Exp(Function):
    """Saves its output."""

    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        return ctx.saved_tensors[0] * g


class Mixed(Function):
    """Two outputs, an argument that is no tensor, and a saved tensor that is neither."""

    @staticmethod
    def forward(ctx, x, power, w):
        inner = x * power
        ctx.save_for_backward(x, inner, None, w)
        ctx.power = power
        return inner * w, x + w

    @staticmethod
    def backward(ctx, g, h):
        x, inner, nothing, w = ctx.saved_tensors
        assert nothing is None and x.shape == w.shape
        return g * w * ctx.power + h, None, g * inner + h


class Add3(Function):
    """As its uses want it: see `rule`."""

    rule = staticmethod(lambda ctx, g: (g, g, g))

    @staticmethod
    def forward(ctx, a, b, c):
        return a + b + c if isinstance(c, tt.Tensor) else a + b

    @staticmethod
    def backward(ctx, g):
        return Add3.rule(ctx, g)


@pytest.fixture
def rule(monkeypatch):
    return lambda f: monkeypatch.setattr(Add3, "rule", staticmethod(f))


# ---- gradients -----------------------------------------------------------------------------------


def test_first_order():
    x = leaf(4)
    y = Cube.apply(x * 2)
    assert y.requires_grad and not y.is_leaf
    close(y, 8 * x.numpy() ** 3)
    (y * 5).sum().backward()
    close(x.grad, 5 * 24 * x.numpy() ** 2)


def test_directly_on_a_leaf_and_as_a_root():
    x = scalar(2.0)
    Cube.apply(x).backward()
    close(x.grad, 12.0)
    Exp.apply(x).backward()
    close(x.grad, 12 + np.exp(2.0))


def test_higher_orders():
    x = leaf(3)
    y = Cube.apply(x)
    derivatives = [3 * x.numpy() ** 2, 6 * x.numpy(), [6.0] * 3]
    for expected in derivatives:
        (y,) = tt.grad(y.sum(), x, create_graph=True)
        close(y, expected)
    y = Exp.apply(x)
    for _ in range(3):
        (y,) = tt.grad(y.sum(), x, create_graph=True)
        close(y, np.exp(x.numpy()))


def test_several_outputs_and_other_arguments():
    x, w = leaf(3), leaf(3)
    u, v = Mixed.apply(x, 2.0, w)
    (u * v).sum().backward()
    a, b = x.numpy(), w.numpy()
    close(u, 2 * a * b)
    close(v, a + b)
    close(x.grad, (a + b) * 2 * b + 2 * a * b)
    close(w.grad, (a + b) * 2 * a + 2 * a * b)


def test_the_second_order_of_several_outputs():
    x, w = leaf(3), leaf(3)
    u, v = Mixed.apply(x, 2.0, w)
    (g,) = tt.grad((u * v).sum(), x, create_graph=True)  # 4 a b + 2 b^2
    (gx, gw) = tt.grad(g.sum(), [x, w])
    # `inner` was computed in forward, where nothing is recorded: as in PyTorch, it is a constant.
    a, b = x.numpy(), w.numpy()
    close(g, 4 * a * b + 2 * b * b)
    assert gx is not None
    close(gw, 4 * a + 4 * b)


def test_an_output_that_is_not_used():
    x, w = leaf(3), leaf(3)
    u, v = Mixed.apply(x, 2.0, w)
    u.sum().backward()
    close(x.grad, 2 * w.numpy())
    _, v = Mixed.apply(x, 2.0, w)
    (g,) = tt.grad(v.sum(), w, create_graph=True)
    close(g, [1.0] * 3)


def test_one_tensor_in_every_place():
    x = leaf(3)
    Add3.apply(x, x, x).sum().backward()
    close(x.grad, [3.0] * 3)
    (g,) = tt.grad(Add3.apply(x, x, x).sum(), x, create_graph=True)
    close(g, [3.0] * 3)


def test_in_a_chain_with_everything_else():
    x = leaf(2, 3)
    y = x.transpose(0, 1)
    z = (Exp.apply(y) * Cube.apply(y) + y).tanh().sum()
    (g,) = tt.grad(z, x)
    t = x.numpy()
    inner = np.exp(t) * t**3 + t
    slope = np.exp(t) * (t**3 + 3 * t * t) + 1
    np.testing.assert_allclose(g.numpy(), (1 - np.tanh(inner) ** 2) * slope, rtol=1e-10, atol=1e-14)


def test_a_function_inside_of_a_function():
    class Outer(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return Cube.apply(x) * 2

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 6 * Cube.apply(x) / x * g

    x = leaf(3)
    (g,) = tt.grad(Outer.apply(x).sum(), x, create_graph=True)
    close(g, 6 * x.numpy() ** 2)
    (gg,) = tt.grad(g.sum(), x)
    np.testing.assert_allclose(gg.numpy(), 12 * x.numpy(), rtol=1e-10)


def test_a_gradient_inside_of_forward():
    class Slope(Function):
        @staticmethod
        def forward(ctx, x):
            with tt.enable_grad():
                inner = x.detach().requires_grad_()
                (g,) = tt.grad((inner * inner * inner).sum(), inner)
            ctx.save_for_backward(x)
            return g

        @staticmethod
        def backward(ctx, g):
            return 6 * ctx.saved_tensors[0] * g

    x = leaf(3)
    Slope.apply(x).sum().backward()
    close(x.grad, 6 * x.numpy())


def test_an_input_returned_as_it_is():
    class Same(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 2

    x = leaf(3)
    for given in (x, x * 1.0, (x * 1.0).reshape(3, 1)):
        (g,) = tt.grad(Same.apply(given).sum(), x)
        close(g, [2.0] * 3)
    y = Same.apply(x * 3)
    y.sum().backward()
    close(y, 3 * x.numpy())  # it outlives its tape


def test_views_and_strided_outputs():
    class Turn(Function):
        @staticmethod
        def forward(ctx, x):
            return x.transpose(0, 1)

        @staticmethod
        def backward(ctx, g):
            return g.transpose(0, 1)

    x = leaf(2, 3)
    y = Turn.apply(x * 1.0)
    assert y.shape == (3, 2)
    (y * tt.arange(6.0, dtype=tt.float64).view(3, 2)).sum().backward()
    close(x.grad, [[0, 2, 4], [1, 3, 5]])


def test_sixty_inputs():
    class Total(Function):
        @staticmethod
        def forward(ctx, *xs):
            total = xs[0]
            for x in xs[1:]:
                total = total + x
            return total

        @staticmethod
        def backward(ctx, g):
            return tuple(g * (i + 1) for i in range(len(ctx.needs_input_grad)))

    xs = [leaf(2) for _ in range(60)]
    Total.apply(*xs).sum().backward()
    for i, x in enumerate(xs):
        close(x.grad, [i + 1.0] * 2)
    with pytest.raises(ValueError, match=r"Total: 64 inputs, 1 outputs .*more than 64"):
        Total.apply(*[leaf(2) for _ in range(64)])


def test_setup_context():
    class Double(Function):
        @staticmethod
        def forward(x, factor):
            return x * factor

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.factor = inputs[1]
            assert output.shape == inputs[0].shape

        @staticmethod
        def backward(ctx, g):
            return g * ctx.factor, None

    x = leaf(3)
    Double.apply(x, 4.0).sum().backward()
    close(x.grad, [4.0] * 3)


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
