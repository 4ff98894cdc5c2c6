"""Backward: what accumulates where, what a graph survives, what raises, and orders above the first."""

from __future__ import annotations

import numpy as np
import pytest

import tinytape as tt
from tinytape.nn import functional as F

RNG = np.random.default_rng(0)


def leaf(*shape: int, dtype: tt.dtype = tt.float64) -> tt.Tensor:
    return tt.tensor(RNG.standard_normal(shape), dtype=dtype, requires_grad=True)


def scalar(value: float) -> tt.Tensor:
    return tt.tensor(value, dtype=tt.float64, requires_grad=True)


def close(x: tt.Tensor | None, expected) -> None:
    assert x is not None
    np.testing.assert_allclose(x.numpy(), np.asarray(expected), rtol=1e-12, atol=1e-13)


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
        (lambda x: F.linear(x, x, x[0]), np.ones((3, 3)) @ a + np.ones((3, 3)) @ a
         + np.array([[3.0], [0], [0]])),
    ]:  # fmt: skip
        (g,) = tt.grad(f(x).sum(), x)
        close(g, expected)


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


# ---- the life of a graph -------------------------------------------------------------------------


def test_a_second_backward_raises():
    x = leaf(3)
    loss = (x * x).sum()
    loss.backward()
    for again in (
        loss.backward,
        (loss * 2).backward,
        lambda: tt.grad(loss, x),
        lambda: tt.grad(loss, x, allow_unused=True),
        lambda: tt.grad(loss, x, create_graph=True),
    ):
        with pytest.raises(RuntimeError, match="second time"):
            again()
    close(x.grad, 2 * x.numpy())


def test_a_second_backward_through_a_held_intermediate_raises():
    x = leaf(3)
    y = x * x
    y.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.sum().backward()
    z = (y * 2).sum()
    with pytest.raises(RuntimeError, match="second time"):
        z.backward()
    close(x.grad, 2 * x.numpy())


@pytest.mark.parametrize("passes", [2, 3])
def test_retain_graph(passes):
    x = leaf(3)
    loss = (x * x).exp().sum()
    for n in range(passes):
        loss.backward(retain_graph=n + 1 < passes)
    close(x.grad, passes * 2 * x.numpy() * np.exp(x.numpy() ** 2))
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()
    y = (x * x).sum()
    first = tt.grad(y, x, retain_graph=True)[0]
    close(tt.grad(y, x)[0], first.numpy())
    with pytest.raises(RuntimeError, match="second time"):
        tt.grad(y, x)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_graphs_live_side_by_side(order):
    xs = [leaf(30), leaf(30)]
    hidden = [(x * x).tanh() for x in xs]
    losses = [(h * h).sum() for h in hidden]
    for i in order:
        losses[i].backward()
    for x in xs:
        t = np.tanh(x.numpy() ** 2)
        close(x.grad, 4 * x.numpy() * t * (1 - t * t))
    for h, x in zip(hidden, xs, strict=True):
        close(h, np.tanh(x.numpy() ** 2))


def test_graphs_recorded_in_turns():
    """Their nodes lie between each other on the tape."""
    x, y = leaf(4), leaf(4)
    a, b = x * 1.0, y * 1.0
    for _ in range(10):
        a, b = a * x, b * y
    a.sum().backward()
    close(x.grad, 11 * x.numpy() ** 10)
    b = b * y
    b.sum().backward()
    close(y.grad, 12 * y.numpy() ** 11)


def test_held_tensors_keep_their_values():
    x = leaf(5)
    kept = []
    for k in range(6):
        y = x * float(k)
        views = y.reshape(5, 1), y[1:3], y.expand(2, 5)
        (y * y).sum().backward()
        kept.append((k, y, views))
    for k, y, views in kept:
        expected = k * x.numpy()
        close(y, expected)
        close(views[0], expected[:, None])
        close(views[1], expected[1:3])
        close(views[2], [expected, expected])
        assert y.requires_grad and not y.is_leaf


def test_views_of_a_leaf_that_outlive_their_graph_still_show_it():
    x = leaf(2, 3)
    view = x.reshape(3, 2)
    (view * view).sum().backward()
    x.fill_(4)
    close(view, np.full((3, 2), 4.0))


def test_losses_kept_in_a_list_stay_readable():
    x = leaf(10)
    losses = []
    for k in range(50):
        loss = (x * x).sum() * float(k)
        loss.backward()
        losses.append(loss)
    expected = (x.numpy() ** 2).sum()
    for k, loss in enumerate(losses):
        assert loss.item() == pytest.approx(k * expected, rel=1e-12)


def test_a_running_total_of_losses(in_new_context):
    """``total = total + loss`` after each backward, as in many scripts."""
    in_new_context(keep_a_running_total)


def keep_a_running_total():
    x = leaf(10)
    total, numbers = tt.zeros((), dtype=tt.float64), 0.0
    nodes = set()
    for k in range(20):
        x.grad = None
        loss = (x * float(k)).exp().sum()
        loss.backward()
        total = total + loss
        numbers += loss.item()
        nodes.add(tt.memory_stats()["tape_nodes"])
        close(x.grad, k * np.exp(k * x.numpy()))
    assert total.item() == pytest.approx(numbers, rel=1e-12)
    assert max(nodes) <= 2


def test_a_total_over_a_batch_goes_backward_at_once():
    x = leaf(10)
    total = tt.zeros((), dtype=tt.float64)
    for k in range(5):
        total = total + (x * float(k)).sum()
    total.backward()
    close(x.grad, [10.0] * 10)


def test_exceptions_between_forward_and_backward_change_nothing():
    x = leaf(3)
    y = x * x
    with pytest.raises(ValueError, match="add"):
        _ = y + tt.zeros(4, dtype=tt.float64)
    with pytest.raises(IndexError):
        y.sum(3)
    with pytest.raises(TypeError, match="mul"):
        _ = y * tt.zeros(3)
    y.sum().backward()
    close(x.grad, 2 * x.numpy())


def test_a_chain_of_150000_operations(in_new_context):
    in_new_context(run_a_long_chain)


def run_a_long_chain():
    x = leaf(2)
    y = x
    for _ in range(150_000):
        y = -y
    assert tt.memory_stats()["tape_nodes"] == 150_000
    y.sum().backward()
    close(x.grad, [1.0, 1.0])
    assert tt.memory_stats()["tape_nodes"] == 0
    y = x
    for _ in range(150_000):
        y = -y
    before = tt.memory_stats()["live_handles"]
    del y  # freed without a backward, and without recursion
    after = tt.memory_stats()
    assert (after["tape_nodes"], after["live_handles"]) == (0, before - 1)


# ---- in place ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w.copy_(np.ones((3, 3))),
        lambda w: w.zero_(),
        lambda w: w.detach().fill_(1),
        lambda w: w[0].fill_(1),
        lambda w: w.transpose(0, 1).copy_(np.ones((3, 3))),
        lambda w: tt.nn.init.normal_(w),
    ],
)
def test_a_saved_input_that_changed_raises(change):
    w, x = leaf(3, 3), leaf(2, 3)
    loss = (F.linear(x, w) * 2).sum()
    with tt.no_grad():
        change(w)
    with pytest.raises(RuntimeError, match="linear: input 1 .*changed in place"):
        loss.backward()
    assert w.grad is None and x.grad is None
    F.linear(x, w).sum().backward()
    close(x.grad, np.ones((2, 3)) @ w.numpy())


def test_an_optimiser_step_between_forward_and_backward_raises():
    w = leaf(3)
    w.grad = tt.ones(3, dtype=tt.float64)
    loss = (w * w).sum()
    tt.optim.SGD([w], lr=0.1).step()
    with pytest.raises(RuntimeError, match="mul: input 0 .*changed in place"):
        loss.backward()
    close(w.grad, [1.0] * 3)


def test_changes_that_do_not_matter():
    x, b = leaf(2, 3), leaf(3)
    y = x + b
    b.zero_()
    x.zero_()
    y.sum().backward()
    close(x.grad, np.ones((2, 3)))
    close(b.grad, [2.0] * 3)


# ---- switching the record off --------------------------------------------------------------------


def test_modes_nest():
    x = leaf(2)
    assert tt.is_grad_enabled()
    with tt.no_grad():
        assert not tt.is_grad_enabled() and not (x * 2).requires_grad
        with tt.enable_grad():
            assert tt.is_grad_enabled() and (x * 2).requires_grad
            with tt.no_grad(), tt.no_grad():
                assert not (x * 2).requires_grad
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad
    assert tt.is_grad_enabled() and (x * 2).requires_grad


def test_modes_end_with_an_exception():
    with pytest.raises(KeyError), tt.no_grad():
        raise KeyError
    assert tt.is_grad_enabled()


def test_modes_as_decorators():
    x = leaf(2)

    @tt.no_grad()
    def inference(depth):
        """Doubles."""
        return [x * 2, *(inference(depth - 1) if depth else [])]

    @tt.enable_grad()
    def training():
        return x * 2

    assert inference.__name__ == "inference" and inference.__doc__ == "Doubles."
    assert not any(y.requires_grad for y in inference(3))
    with tt.no_grad():
        assert training().requires_grad
    with tt.set_grad_enabled(False):
        assert not (x * 2).requires_grad


def test_set_grad_enabled_is_also_a_statement():
    """As in PyTorch, calling it is enough."""
    x = leaf(2)
    try:
        tt.set_grad_enabled(False)
        assert not tt.is_grad_enabled() and not (x * 2).requires_grad
    finally:
        tt.set_grad_enabled(True)
    assert tt.is_grad_enabled()
    with tt.set_grad_enabled(False):
        pass
    assert tt.is_grad_enabled()


def test_results_under_no_grad_are_leaves():
    x = leaf(3)
    with tt.no_grad():
        y = x * 2
        view = x.reshape(3, 1)
    assert y.is_leaf and not y.requires_grad and view.is_leaf
    y.requires_grad_()
    (y * x).sum().backward()
    close(y.grad, x.numpy())
    close(x.grad, y.numpy())


def test_backward_under_no_grad_works():
    x = leaf(3)
    loss = (x * x).sum()
    with tt.no_grad():
        loss.backward()
        close(x.grad, 2 * x.numpy())
        with tt.enable_grad():
            y = (x * x).sum()
        (g,) = tt.grad(y, x, create_graph=True)
        assert g.requires_grad and not tt.is_grad_enabled()


def test_detach():
    x = leaf(3)
    y = x * 2
    d = y.detach()
    (d * d * x).sum().backward()
    close(x.grad, d.numpy() ** 2)
    shared = x.detach()
    x.fill_(5)
    close(shared, [5.0] * 3)
    close(y, 2 * d.numpy() / 2)


def test_requires_grad_belongs_to_leaves():
    x = leaf(3)
    with pytest.raises(RuntimeError, match=r"requires_grad_.*leaf.*detach"):
        (x * 2).requires_grad_(False)
    with pytest.raises(TypeError, match=r"requires_grad_.*int64"):
        tt.tensor([1, 2], requires_grad=True)
    x.requires_grad = False
    assert not x.requires_grad
    assert x.requires_grad_() is x and x.requires_grad


def test_a_leaf_that_wants_a_gradient_only_after_it_was_used_gets_none():
    """As in PyTorch: what a recorded operation knows of its inputs is what they were then."""
    x, late = leaf(3), tt.ones(3, dtype=tt.float64)
    loss = (x * late).sum()
    late.requires_grad_()
    loss.backward()
    close(x.grad, [1.0] * 3)
    assert late.grad is None


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
    """The loss after one step of gradient descent, differentiated by the step size and the start."""
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
