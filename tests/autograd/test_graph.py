"""The life of a graph: what it survives, what ends it, and how recording is switched off."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import tinytape as tt
from tinytape.nn import functional as F

from ..support.leaves import close, leaf

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
        _ = y * "3"
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


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("hooked", [False, True])
def test_a_long_chain_on_a_small_stack(create_graph, hooked):
    """Nothing on the way from recording to freeing recurses, in C or in Python."""
    failures = []

    def body():
        try:
            differentiate_a_long_chain(create_graph, hooked)
        except BaseException as error:
            failures.append(error)

    before = threading.stack_size(256 << 10)
    try:
        thread = threading.Thread(target=body)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert not failures, failures


def differentiate_a_long_chain(create_graph, hooked):
    x, seen = leaf(2), []
    y = x
    for k in range(150_000):
        y = y.exp() if k == 100_000 else -y
        if hooked and k == 50_000:
            y.register_hook(lambda g: seen.append(1))
    if create_graph:
        (g,) = tt.grad(y.sum(), x, create_graph=True)
        close(g, -np.exp(x.numpy()))
        (g,) = tt.grad(g.sum(), x)
        close(g, -np.exp(x.numpy()))
    else:
        y.sum().backward()
        close(x.grad, -np.exp(x.numpy()))
    assert len(seen) == hooked * (1 + create_graph)
    del y
    assert tt.memory_stats()["tape_nodes"] == 0


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
    with pytest.raises(RuntimeError, match=r"linear: input 1 .*changed in place"):
        loss.backward()
    assert w.grad is None and x.grad is None
    F.linear(x, w).sum().backward()
    close(x.grad, np.ones((2, 3)) @ w.numpy())


def test_an_optimiser_step_between_forward_and_backward_raises():
    w = leaf(3)
    w.grad = tt.ones(3, dtype=tt.float64)
    loss = (w * w).sum()
    tt.optim.SGD([w], lr=0.1).step()
    with pytest.raises(RuntimeError, match=r"mul: input 0 .*changed in place"):
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
