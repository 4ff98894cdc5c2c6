"""Derivatives of derivatives."""

from __future__ import annotations

import numpy as np
import pytest

import tinytape as tt
from tinytape.nn import functional as F

from ..support.leaves import RNG, close, leaf, scalar

# ---- higher orders -------------------------------------------------------------------------------


def test_third_derivative():
    x = scalar(1.7)
    y = x * x * x * x * x
    for k, factor in enumerate((5, 20, 60, 120, 120), 1):
        (y,) = tt.grad(y, x, create_graph=True)
        close(y, factor * 1.7 ** (5 - k))
    # The fifth derivative is a constant, found through x all the same: its own is zero.
    if y.requires_grad:
        (y,) = tt.grad(y, x, allow_unused=True)
        assert y is None or y.item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("f", "derivatives"),
    [
        (tt.exp, [np.exp] * 4),
        (tt.log, [lambda x: 1 / x, lambda x: -1 / x**2, lambda x: 2 / x**3, lambda x: -6 / x**4]),
        (
            tt.sqrt,
            [lambda x: 0.5 * x**-0.5, lambda x: -0.25 * x**-1.5, lambda x: 0.375 * x**-2.5],
        ),
        (
            tt.tanh,
            [
                lambda x: 1 - np.tanh(x) ** 2,
                lambda x: -2 * np.tanh(x) * (1 - np.tanh(x) ** 2),
                lambda x: (1 - np.tanh(x) ** 2) * (6 * np.tanh(x) ** 2 - 2),
            ],
        ),
    ],
)
def test_higher_derivatives(f, derivatives):
    x = tt.tensor([0.5, 1.25], dtype=tt.float64, requires_grad=True)
    y = f(x)
    for derivative in derivatives:
        (y,) = tt.grad(y.sum(), x, create_graph=True)
        np.testing.assert_allclose(y.numpy(), derivative(x.numpy()), rtol=1e-9)


def test_hessian_vector_product():
    x, v = leaf(4), RNG.standard_normal(4)
    y = (x * x).sum() * x[0] + x[1] * x[2] * x[3]
    (g,) = tt.grad(y, x, create_graph=True)
    (hv,) = tt.grad(g, x, tt.tensor(v))
    a = x.numpy()
    hessian = 2 * a[0] * np.eye(4)
    hessian[0] += 2 * a
    hessian[:, 0] += 2 * a
    for i, j, k in ((1, 2, 3), (2, 1, 3), (1, 3, 2), (3, 1, 2), (2, 3, 1), (3, 2, 1)):
        hessian[i, j] += a[k]
    close(hv, hessian @ v)


def test_a_gradient_penalty_reaches_the_leaves():
    """The norm of a gradient as a loss, with backward() into .grad."""
    w, x = leaf(3, 3), tt.tensor(RNG.standard_normal((2, 3)), requires_grad=True)
    (g,) = tt.grad(F.linear(x, w).tanh().sum(), x, create_graph=True)
    (g * g).sum().backward()

    def penalty(weights):
        t = np.tanh(x.numpy() @ weights.T)
        return (((1 - t * t) @ weights) ** 2).sum()

    for at in np.ndindex(3, 3):
        step = np.zeros((3, 3))
        step[at] = 1e-6
        slope = (penalty(w.numpy() + step) - penalty(w.numpy() - step)) / 2e-6
        assert w.grad.numpy()[at] == pytest.approx(slope, abs=1e-7)


def test_meta_gradient_through_an_update():
    """The loss after a step of gradient descent, by the step size and by the start."""
    w, rate = leaf(3), scalar(0.1)
    target = RNG.standard_normal(3)
    error = w - target
    (g,) = tt.grad((error * error).sum(), w, create_graph=True)
    after = w - rate * g - target
    d_rate, d_w = tt.grad((after * after).sum(), [rate, w])
    e = w.numpy() - target
    close(d_rate, 2 * (0.8 * e * (-2 * e)).sum())
    close(d_w, 2 * 0.8 * 0.8 * e)


def test_create_graph_keeps_the_graph():
    x = leaf(3)
    y = (x * x * x).sum()
    (g,) = tt.grad(y, x, create_graph=True)
    (again,) = tt.grad(y, x, create_graph=True)
    close(again, g.numpy())
    (h,) = tt.grad(g.sum(), x)
    close(h, 6 * x.numpy())
    with pytest.raises(RuntimeError, match="second time"):
        tt.grad(y, x)


def test_a_gradient_by_the_cotangent():
    x, u = leaf(3), leaf(3)
    (g,) = tt.grad(x * x, x, u, create_graph=True)
    (gu,) = tt.grad(g.sum(), u)
    close(gu, 2 * x.numpy())


def test_a_strided_cotangent_without_a_graph():
    """The vjp of reshape has to copy it, into memory that lasts as long as the result."""
    n = 300
    x = leaf(n)
    u = tt.tensor(np.ones((2, n))).transpose(0, 1)
    y = x.expand(2, n).reshape(n, 2)
    for create_graph in (False, True):
        (g,) = tt.grad(y, x, u, retain_graph=True, create_graph=create_graph)
        close(g, np.full(n, 2.0))
