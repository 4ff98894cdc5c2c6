"""Gradients of the first order: what accumulates where, and what tt.grad returns."""

from __future__ import annotations

import numpy as np
import pytest

import tinytape as tt
from tinytape.nn import functional as F

from ..support.leaves import RNG, close, leaf, scalar

# ---- accumulation --------------------------------------------------------------------------------


def test_gradients_of_several_passes_add_up():
    x = leaf(3)
    for n in (1, 2, 3):
        (x * x).sum().backward()
        close(x.grad, n * 2 * x.numpy())
    x.grad = None
    (x * 3).sum().backward()
    close(x.grad, [3.0] * 3)


def test_the_gradient_is_one_tensor_that_is_added_to_in_place():
    x = leaf(3)
    x.sum().backward()
    held = x.grad
    assert x.grad is held
    x.sum().backward()
    assert x.grad is held
    close(held, [2.0] * 3)
    x.grad = None
    close(held, [2.0] * 3)
    x.sum().backward()
    assert x.grad is not held
    close(held, [2.0] * 3)


def test_a_gradient_can_be_set():
    x, g = leaf(3), tt.ones(3, dtype=tt.float64)
    x.grad = g
    assert x.grad is g
    x.sum().backward()
    close(g, [2.0] * 3)
    with pytest.raises(TypeError, match="grad: expected a Tensor"):
        x.grad = np.zeros(3)
    with pytest.raises(ValueError, match=r"grad: .*\(3,\).*\(2,\)"):
        x.grad = tt.zeros(2, dtype=tt.float64)
    with pytest.raises(TypeError, match=r"grad: .*float64.*float32"):
        x.grad = tt.zeros(3)
    with pytest.raises(RuntimeError, match="grad: "):
        x.grad = x * 2
    assert x.grad is g


def test_fan_out():
    x = leaf(4)
    y = x * 2
    z = y * y + y + x * y - y
    z.sum().backward()
    close(x.grad, 8 * x.numpy() + 4 * x.numpy())


@pytest.mark.parametrize("consumers", [1, 2, 3, 40])
def test_many_consumers_of_one_tensor(consumers):
    """More than the pass keeps spare buffers for."""
    x = leaf(5)
    y = x * 1.0
    total = y * 0.0
    for k in range(consumers):
        total = total + (y * float(k)).exp() * 1e-3
    total.sum().backward()
    k = np.arange(consumers)[:, None]
    close(x.grad, (k * np.exp(k * x.numpy()) * 1e-3).sum(0))


def test_one_tensor_in_every_place():
    x = leaf(3, 3)
    a = x.numpy()
    (x + x).sum().backward()
    close(x.grad, np.full((3, 3), 2.0))
    for f, expected in [
        (lambda x: x - x, np.zeros((3, 3))),
        (lambda x: x * x, 2 * a),
        (lambda x: x / x, np.zeros((3, 3))),
        (lambda x: x * x.transpose(0, 1), 2 * a.T),
        (lambda x: x @ x, np.ones((3, 3)) @ a.T + a.T @ np.ones((3, 3))),
        (
            lambda x: F.linear(x, x, x[0]),
            np.ones((3, 3)) @ a + np.ones((3, 3)) @ a + np.array([[3.0], [0], [0]]),
        ),
    ]:
        (g,) = tt.grad(f(x).sum(), x)
        close(g, expected)


@pytest.mark.parametrize("is_causal", [False, True])
def test_attention_of_one_tensor_over_several_blocks(is_causal):
    """The kernel works through blocks of 64 queries: it must not write three gradients into one."""
    x = leaf(1, 2, 150, 4)
    u = tt.tensor(RNG.standard_normal((1, 2, 150, 4)))
    (together,) = tt.grad(F.scaled_dot_product_attention(x, x, x, is_causal=is_causal), x, u)
    qkv = [tt.tensor(x.numpy(), requires_grad=True) for _ in range(3)]
    apart = tt.grad(F.scaled_dot_product_attention(*qkv, is_causal=is_causal), qkv, u)
    np.testing.assert_allclose(together.numpy(), sum(g.numpy() for g in apart), atol=1e-12)


def test_tied_weights():
    """One table as embedding and as output layer."""
    table, index = leaf(7, 4), tt.tensor([1, 1, 5])
    target = tt.tensor([2, 3, 1])

    def loss(embedding, head):
        return F.cross_entropy(F.linear(F.embedding(index, embedding), head), target)

    loss(table, table).backward()
    a, b = (tt.tensor(table.numpy(), requires_grad=True) for _ in range(2))
    loss(a, b).backward()
    close(table.grad, a.grad.numpy() + b.grad.numpy())


def test_leaves_that_want_no_gradient_get_none():
    x, y = leaf(3), tt.ones(3, dtype=tt.float64)
    (x * y + y).sum().backward()
    close(x.grad, [1.0] * 3)
    assert y.grad is None
    x.requires_grad_(False)
    assert not (x * y).requires_grad


def test_intermediate_tensors_get_no_grad():
    x = leaf(3)
    y = x * 2
    y.sum().backward(retain_graph=True)
    assert y.grad is None
    close(x.grad, [2.0] * 3)


def test_backward_of_a_leaf():
    x = scalar(3.0)
    x.backward()
    x.backward(tt.tensor(2.0, dtype=tt.float64))
    close(x.grad, 3.0)


def test_backward_with_a_gradient():
    x, u = leaf(2, 3), RNG.standard_normal((3, 2))
    (x * x).transpose(0, 1).backward(tt.tensor(u))
    close(x.grad, 2 * x.numpy() * u.T)
    x.grad = None
    (x * 2).backward(gradient=tt.tensor(u).transpose(0, 1))
    close(x.grad, 2 * u.T)
    x.grad = None
    (x * 2).backward(tt.ones(1, 1, dtype=tt.float64).expand(2, 3))
    close(x.grad, np.full((2, 3), 2.0))
    (x * 2).sum(1, keepdim=True).sum().reshape(1, 1, 1).backward()  # one element of any shape
    close(x.grad, np.full((2, 3), 4.0))


@pytest.mark.parametrize(
    "through",
    [
        lambda x: x + 0.0,  # passes its gradient on as it is
        lambda x: x.view(6) + x.view(6),
        lambda x: (x * 1.0).view(6) * 1.0,  # buffers of one size are used again
        lambda x: (x * 1.0 + x).exp().log(),
    ],
)
def test_backward_reads_the_given_gradient_and_leaves_it(through):
    x = tt.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=True)
    y = through(x)
    given = tt.arange(6.0).view(y.shape)
    y.backward(given, retain_graph=True)
    first = x.grad.numpy()
    assert given.flatten().tolist() == [0, 1, 2, 3, 4, 5]
    (again,) = tt.grad(y, x, given)
    np.testing.assert_array_equal(again.numpy(), first)
    assert given.flatten().tolist() == [0, 1, 2, 3, 4, 5]


def test_a_leaf_may_be_given_its_own_gradient():
    x = tt.tensor([1.0, 2.0], requires_grad=True)
    (x * 3).sum().backward()
    (x * 2).backward(x.grad)
    assert x.grad.tolist() == [9.0, 9.0]
    (x + 0.0).backward(x.grad)
    assert x.grad.tolist() == [18.0, 18.0]


def test_zero_sizes():
    x = tt.zeros(0, 3, requires_grad=True)
    (x * 2).sum().backward()
    assert x.grad.shape == (0, 3)
    w = leaf(4, 3, dtype=tt.float32)
    F.linear(x, w).sum().backward()
    close(w.grad, np.zeros((4, 3)))
    v = leaf(3, 4, dtype=tt.float32)
    for lead in ((0,), (2, 0), (0, 2)):
        empty = tt.zeros(*lead, 3)
        assert (empty @ v).shape == (*lead, 4)
        (g,) = tt.grad((empty @ v).sum(), v)
        close(g, np.zeros((3, 4)))


# ---- tt.grad -------------------------------------------------------------------------------------


def test_grad_returns_and_leaves_grad_alone():
    x, y = leaf(3), leaf(3)
    x.grad = tt.ones(3, dtype=tt.float64)
    gx, gy = tt.grad((x * y).sum(), [x, y])
    close(gx, y.numpy())
    close(gy, x.numpy())
    close(x.grad, [1.0] * 3)
    assert y.grad is None
    assert gx.is_leaf and not gx.requires_grad


def test_grad_of_intermediates():
    x = leaf(3)
    y = x * x
    z = y * x
    gy, gx = tt.grad(z.sum(), [y, x])
    close(gy, x.numpy())
    close(gx, 3 * x.numpy() ** 2)


def test_grad_of_a_tensor_by_itself():
    x = scalar(2.0)
    y = x * x
    gy, gx = tt.grad(y, [y, x])
    close(gy, 1.0)
    close(gx, 4.0)
    (g,) = tt.grad(x, x)
    close(g, 1.0)


def test_grad_of_several_outputs_is_their_sum():
    x, u = leaf(3), RNG.standard_normal(3)
    y, z = x * 2, (x * x).sum()
    (g,) = tt.grad([y, z, z], [x], [tt.tensor(u), None, None])
    close(g, 2 * u + 4 * x.numpy())
    first, second = tt.grad((x * 3).sum(), [x, x])  # one input asked for twice
    close(first, [3.0] * 3)
    close(second, [3.0] * 3)


@pytest.mark.parametrize("create_graph", [False, True])
def test_unused_inputs(create_graph):
    x, y, constant = leaf(3), leaf(2), tt.ones(3, dtype=tt.float64)
    options = {"create_graph": create_graph}
    with pytest.raises(RuntimeError, match=r"input 1 of shape \(2,\) was not used"):
        tt.grad((x * 2).sum(), [x, y], **options)
    gx, gy = tt.grad((x * 2).sum(), [x, y], allow_unused=True, **options)
    close(gx, [2.0] * 3)
    assert gy is None
    with pytest.raises(RuntimeError, match="grad: input 0 does not require grad"):
        tt.grad((x * 2).sum(), constant)
    later = x * 5
    assert tt.grad((x * 2).sum(), [later], allow_unused=True, **options) == (None,)


def test_grad_checks_its_arguments():
    x = leaf(3)
    y = x * 2
    with pytest.raises(ValueError, match="at least one output"):
        tt.grad([], [x])
    with pytest.raises(ValueError, match="at least one output"):
        tt.grad(y.sum(), [])
    with pytest.raises(ValueError, match="2 grad_outputs for 1"):
        tt.grad(y, x, [None, None])
    with pytest.raises(TypeError, match="expected a Tensor, got ndarray"):
        tt.grad(y, [np.zeros(3)])
    with pytest.raises(RuntimeError, match=r"scalar outputs, got shape \(3,\)"):
        tt.grad(y, x)
    with pytest.raises(ValueError, match=r"shape \(3,\) has shape \(2,\)"):
        tt.grad(y, x, tt.zeros(2, dtype=tt.float64))
    with pytest.raises(TypeError, match="float64 output must be float64, got float32"):
        tt.grad(y, x, tt.zeros(3))
    with pytest.raises(RuntimeError, match="does not require grad"):
        tt.tensor(1.0).backward()
    with pytest.raises(ValueError, match=r"use grad\(..., create_graph=True\)"):
        y.sum().backward(create_graph=True)
    close(tt.grad(y.sum(), x)[0], [2.0] * 3)  # nothing of this hurt the graph
