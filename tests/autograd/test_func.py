"""tt.func: gradients and products with Jacobians and Hessians, as functions of functions."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import tinytape as tt
from tinytape import func

from ..support.leaves import RNG, close, leaf


def given(*shape):
    return tt.tensor(RNG.standard_normal(shape))


def f(x, y):
    """With Jacobians known: (2 x y, x^2) and (exp y) diagonals."""
    return x * x * y, y.exp()


def test_vjp():
    x, y, u, v = (given(3) for _ in range(4))
    (a, b), pull = func.vjp(f, x, y)
    close(a, x.numpy() ** 2 * y.numpy())
    close(b, np.exp(y.numpy()))
    assert not a.requires_grad and a.is_leaf
    for _ in range(2):  # as often as wanted
        gx, gy = pull(u, v)
        close(gx, 2 * x.numpy() * y.numpy() * u.numpy())
        close(gy, x.numpy() ** 2 * u.numpy() + np.exp(y.numpy()) * v.numpy())
        assert not gx.requires_grad
    assert not x.requires_grad


def test_jvp():
    x, y, s, t = (given(3) for _ in range(4))
    (a, _), (da, db) = func.jvp(f, (x, y), (s, t))
    close(a, x.numpy() ** 2 * y.numpy())
    close(da, 2 * x.numpy() * y.numpy() * s.numpy() + x.numpy() ** 2 * t.numpy())
    close(db, np.exp(y.numpy()) * t.numpy())
    assert not da.requires_grad


def test_jvp_is_the_transpose_of_vjp():
    w, x, t, u = given(4, 3), given(2, 3), given(2, 3), given(2, 4)

    def layer(x):
        return (x @ w.transpose(0, 1)).tanh()

    _, pull = func.vjp(layer, x)
    _, pushed = func.jvp(layer, (x,), (t,))
    (pulled,) = pull(u)
    assert (pushed.numpy() * u.numpy()).sum() == pytest.approx((pulled.numpy() * t.numpy()).sum())


def test_jvp_of_linear_and_constant_functions():
    x, t = given(3), given(3)
    _, d = func.jvp(lambda x: x * 3, (x,), (t,))
    close(d, 3 * t.numpy())
    c = tt.ones(2, dtype=tt.float64)
    (_, _), (d, zero) = func.jvp(lambda x: (x * x, c), (x,), (t,))
    close(d, 2 * x.numpy() * t.numpy())
    close(zero, [0.0, 0.0])
    with pytest.raises(RuntimeError, match=r"jvp: output 0 .*strict"):
        func.jvp(lambda x: c, (x,), (t,), strict=True)


def test_hvp():
    x, y, s, t = (given(3) for _ in range(4))

    def g(x, y):
        return (x * x * x * y).sum()

    value, (hx, hy) = func.hvp(g, (x, y), (s, t))
    a, b = x.numpy(), y.numpy()
    close(value, (a**3 * b).sum())
    close(hx, 6 * a * b * s.numpy() + 3 * a * a * t.numpy())
    close(hy, 3 * a * a * s.numpy())
    assert not value.requires_grad and not hx.requires_grad
    value, h = func.hvp(lambda x: (x * 2).sum(), x, s)
    close(h, np.zeros(3))
    _, h = func.hvp(lambda x: (x * x).sum(), leaf(3), s)
    close(h, 2 * s.numpy())


def test_grad_and_value():
    x, y = given(3), given(3)

    def g(x, y, scale=1.0):
        return (x * x * y).sum() * scale

    close(func.grad(g)(x, y), 2 * x.numpy() * y.numpy())
    gy, gx = func.grad(g, argnums=(1, 0))(x, y, scale=3.0)
    close(gx, 6 * x.numpy() * y.numpy())
    close(gy, 3 * x.numpy() ** 2)
    close(func.grad(g, argnums=-1)(x, y), x.numpy() ** 2)
    slope, value = func.grad_and_value(g)(x, y)
    close(value, (x.numpy() ** 2 * y.numpy()).sum())
    close(slope, 2 * x.numpy() * y.numpy())
    slope, aux = func.grad(lambda x: ((x * x).sum(), "aux"), has_aux=True)(x)
    close(slope, 2 * x.numpy())
    assert aux == "aux"
    slope, (value, aux) = func.grad_and_value(lambda x: (x.sum(), 7), has_aux=True)(x)
    assert aux == 7 and not value.requires_grad


def test_aux():
    x = given(3)
    _, pull, aux = func.vjp(lambda x: (x * 2, [x.shape]), x, has_aux=True)
    assert aux == [(3,)]
    close(pull(tt.ones(3, dtype=tt.float64))[0], [2.0] * 3)
    assert func.jvp(lambda x: (x, "a"), (x,), (x,), has_aux=True)[2] == "a"


def test_transformations_nest():
    x = tt.tensor(1.5, dtype=tt.float64)

    def quintic(x):
        return x * x * x * x * x

    g = quintic
    for k, factor in enumerate((5, 20, 60), 1):
        g = func.grad(g)
        close(g(x), factor * 1.5 ** (5 - k))
        assert not g(x).requires_grad
    _, pull = func.vjp(lambda x: func.jvp(quintic, (x,), (x,))[1], x)  # d (5 x^5)
    close(pull(tt.tensor(1.0, dtype=tt.float64))[0], 25 * 1.5**4)
    _, h = func.hvp(lambda x: func.grad(quintic)(x), x, tt.tensor(1.0, dtype=tt.float64))
    close(h, 60 * 1.5**2)


def test_results_carry_a_graph_where_something_else_requires_a_gradient():
    w, x = leaf(3), given(3)
    slope = func.grad(lambda x: (x * x * w).sum())(x)
    close(slope, 2 * x.numpy() * w.numpy())
    slope.sum().backward()
    close(w.grad, 2 * x.numpy())
    v = leaf(3)
    slope = func.grad(lambda x: (x * x * x).sum())(v)
    (second,) = tt.grad(slope.sum(), v)
    close(second, 6 * v.numpy())
    (_, pull), u = func.vjp(lambda x: x * x, x), leaf(3)
    pull(u)[0].sum().backward()
    close(u.grad, 2 * x.numpy())
    out, _ = func.vjp(lambda x: x * w, x)
    assert out.requires_grad
    t = leaf(3)
    _, d = func.jvp(lambda x: x * x, (x,), (t,))
    d.sum().backward()
    close(t.grad, 2 * x.numpy())


def test_under_no_grad():
    x = given(3)
    with tt.no_grad():
        close(func.grad(lambda x: (x * x).sum())(x), 2 * x.numpy())
        close(func.hvp(lambda x: (x * x).sum(), x, x)[1], 2 * x.numpy())
        close(func.jvp(lambda x: x * x, (x,), (x,))[1], 2 * x.numpy() ** 2)


def test_nothing_is_left_behind(in_new_context):
    def body():
        x = given(50)
        for _ in range(5):
            func.hvp(lambda x: (x * x).exp().sum(), x, x)
            func.jvp(lambda x: x.tanh(), (x,), (x,))
            func.vjp(lambda x: x.tanh(), x)[1](x)
            func.grad(lambda x: (x * x).sum())(x)
        stats = tt.memory_stats()
        assert stats["tape_nodes"] == 0 and stats["live_handles"] == 1
        power = x
        for _ in range(20):  # an iteration of the product does not drag its past along
            power = func.hvp(lambda x: (x * x).sum(), x, power)[1] * 0.5
        assert tt.memory_stats()["tape_nodes"] == 0
        close(power, x.numpy())

    in_new_context(body)


def test_misuse():
    x, i = given(3), tt.tensor([1, 2])
    with pytest.raises(TypeError, match="vjp: expected a Tensor as input 0, got float"):
        func.vjp(lambda x: x, 3.0)
    with pytest.raises(TypeError, match=r"vjp: input 0 must be of floats, got .*int64"):
        func.vjp(lambda x: x, i)
    with pytest.raises(TypeError, match="vjp: the function must return a Tensor or a tuple"):
        func.vjp(lambda x: [x], x)
    with pytest.raises(TypeError, match="has_aux"):
        func.vjp(lambda x: x, x, has_aux=True)
    _, pull = func.vjp(lambda x: x * 2, x)
    with pytest.raises(ValueError, match="vjp: expected 1 cotangents, got 2"):
        pull(x, x)
    with pytest.raises(ValueError, match=r"vjp: cotangent 0 must have shape \(3,\), got \(2,\)"):
        pull(given(2))
    with pytest.raises(TypeError, match=r"vjp: cotangent 0 must be .*float64, got .*float32"):
        pull(tt.ones(3))
    with pytest.raises(TypeError, match="jvp: primals and tangents must be tuples"):
        func.jvp(lambda x: x, x, x)
    with pytest.raises(ValueError, match="jvp: expected 1 tangents, got 2"):
        func.jvp(lambda x: x, (x,), (x, x))
    with pytest.raises(ValueError, match="hvp: the function must return one single element"):
        func.hvp(lambda x: x * x, x, x)
    with pytest.raises(ValueError, match="grad: the function must return one single element"):
        func.grad(lambda x: x * x)(x)
    with pytest.raises(ValueError, match="grad: there is no argument 2 among 1"):
        func.grad(lambda x: x.sum(), argnums=2)(x)


def test_func_is_loaded_at_first_use():
    code = "import sys, tinytape as tt; assert 'tinytape.func' not in sys.modules; tt.func.grad"
    subprocess.run([sys.executable, "-c", code], check=True)
