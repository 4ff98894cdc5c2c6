"""Functions: operations whose backward rule is written in Python."""

from __future__ import annotations

import numpy as np
import pytest

import tinytape as tt
from tinytape.autograd import Function

from ..support.functions import Add3, Cube, Exp, Mixed
from ..support.leaves import close, leaf, scalar

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
