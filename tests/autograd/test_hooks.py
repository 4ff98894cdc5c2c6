"""Hooks: when they are called, what they see and change, and how long they live."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

import tinytape as tt

from ..support.leaves import close, leaf, scalar

# ---- what a hook sees and does -------------------------------------------------------------------


def test_a_hook_sees_the_gradient_of_a_leaf_before_it_is_stored():
    x, seen = leaf(3), []
    x.register_hook(lambda g: seen.append((g, x.grad)))
    (x * x).sum().backward()
    ((g, before),) = seen
    close(g, 2 * x.numpy())
    assert before is None and not g.requires_grad
    close(x.grad, 2 * x.numpy())
    x.register_hook(lambda g: None)
    x.sum().backward()
    close(seen[1][0], [1.0] * 3)  # of this pass alone, not what has added up
    close(x.grad, 2 * x.numpy() + 1)


def test_a_hook_of_a_result_replaces_what_flows_on():
    x = leaf(3)
    y = x * 2
    y.register_hook(lambda g: g * 10)
    (y * y).sum().backward()
    close(x.grad, 10 * 2 * 2 * (2 * x.numpy()))


def test_several_hooks_are_called_in_order():
    x = leaf(2)
    x.register_hook(lambda g: g + 1)
    x.register_hook(lambda g: None)
    x.register_hook(lambda g: g * 2)
    x.sum().backward()
    close(x.grad, [4.0, 4.0])


@pytest.mark.parametrize("create_graph", [False, True])
def test_hooks_of_a_tensor_with_many_consumers_are_called_once(create_graph):
    x = leaf(3)
    y, seen = x * 1.0, []
    y.register_hook(lambda g: seen.append(("y", g.numpy())))
    x.register_hook(lambda g: seen.append(("x", g.numpy())))
    total = (y * y + y.exp() + x * 3 + y * x).sum()
    tt.grad(total, x, create_graph=create_graph)
    a = x.numpy()
    assert [name for name, _ in seen] == ["y", "x"]
    np.testing.assert_allclose(seen[0][1], 2 * a + np.exp(a) + a)
    np.testing.assert_allclose(seen[1][1], 2 * a + np.exp(a) + a + 3 + a)


def test_a_leaf_is_complete_only_after_its_last_use():
    """Its oldest consumer is the last that the pass comes to."""
    x, seen = leaf(3), []
    x.register_hook(lambda g: seen.append(g.numpy()))
    first = x * 2
    second = x * 3
    (first.exp() * second * x).sum().backward()
    assert len(seen) == 1
    np.testing.assert_allclose(seen[0], x.grad.numpy())


def test_hooks_under_grad():
    x = leaf(3)
    x.register_hook(lambda g: g * 2)
    y = x * x
    y.register_hook(lambda g: g * 5)
    gx, gy = tt.grad(y.sum(), [x, y])
    close(gy, [5.0] * 3)
    close(gx, 2 * 5 * 2 * x.numpy())
    assert x.grad is None
    (g,) = tt.grad((x * x).sum(), [x])  # y is not on the way
    close(g, 4 * x.numpy())


def test_a_hook_where_the_pass_ends():
    """The captured tensor's own node is not visited."""
    x = leaf(3)
    y = x * x
    y.register_hook(lambda g: g * 5)
    (gy,) = tt.grad((y * y).sum(), y)
    close(gy, 10 * y.numpy())
    (gy,) = tt.grad(x * x, (y := x * 1.0), tt.ones(3, dtype=tt.float64), allow_unused=True)
    assert gy is None
    y.register_hook(lambda g: g * 7)
    (gy,) = tt.grad(y.sum() * 1.0, y)
    close(gy, [7.0] * 3)
    (gy,) = tt.grad(y, y, tt.ones(3, dtype=tt.float64))
    close(gy, [7.0] * 3)


def test_hooks_of_roots():
    x, seen = scalar(3.0), []
    x.register_hook(lambda g: seen.append(g.item()))
    x.backward()
    (x * x).backward()
    y = x * 2
    y.register_hook(lambda g: g * 4)
    y.backward()
    assert seen == [1.0, 6.0, 8.0]
    close(x.grad, 15.0)
    tt.autograd.backward([x, x * x])  # a root that is used further down too
    assert seen[-1] == 7.0


def test_the_gradient_carries_a_graph_under_create_graph():
    x, seen = leaf(3), []
    y = x * x

    def hook(g):
        seen.append(g.requires_grad)
        return g * x

    handle = y.register_hook(hook)
    (g,) = tt.grad((y * y).sum(), x, create_graph=True)  # 2 x^2 * x * 2 x
    close(g, 4 * x.numpy() ** 4)
    handle.remove()  # the second derivative passes through y again
    (gg,) = tt.grad(g.sum(), x)
    close(gg, 16 * x.numpy() ** 3)
    assert seen == [True]


def test_a_constant_in_place_of_the_gradient_under_create_graph():
    x = leaf(3)
    y = x * x
    y.register_hook(lambda g: tt.full((3,), 2.0, dtype=tt.float64))
    (g,) = tt.grad((y * y).sum(), x, create_graph=True)
    gc.collect()
    close(g, 4 * x.numpy())
    (gg,) = tt.grad(g.sum(), x)
    close(gg, [4.0] * 3)


def test_a_constant_that_only_the_pass_holds():
    x = leaf(3)
    y = -x  # a rule that records nothing for a constant
    y.register_hook(lambda g: tt.full((3,), 2.0, dtype=tt.float64))
    x.register_hook(lambda g: [tt.zeros(3, dtype=tt.float64) for _ in range(50)] and None)
    gy, gx = tt.grad((y * y).sum(), [y, x], create_graph=True)
    close(gy, [2.0] * 3)
    close(gx, [-2.0] * 3)


def test_operations_in_a_hook_are_recorded_only_under_create_graph():
    x, modes = leaf(3), []
    x.register_hook(lambda g: modes.append(tt.is_grad_enabled()))
    (x * x).sum().backward()
    with tt.no_grad(), tt.enable_grad():
        tt.grad((x * x).sum(), x, create_graph=True)
    assert modes == [False, True] and tt.is_grad_enabled()


def test_strided_and_broadcast_replacements():
    x = leaf(2, 3)
    x.register_hook(lambda g: tt.arange(6.0, dtype=tt.float64).view(3, 2).transpose(0, 1))
    y = x * 1.0
    y.register_hook(lambda g: tt.ones(1, 1, dtype=tt.float64).expand(2, 3))
    y.sum().backward()
    close(x.grad, [[0, 2, 4], [1, 3, 5]])


# ---- handles -------------------------------------------------------------------------------------


def test_hooks_are_removed():
    x = leaf(2)
    double = x.register_hook(lambda g: g * 2)
    with x.register_hook(lambda g: g * 10):
        x.sum().backward()
    double.remove()
    double.remove()
    x.sum().backward()
    close(x.grad, [21.0, 21.0])


def test_a_hook_removes_itself_and_adds_another():
    x, calls = leaf(2), []

    def hook(g):
        calls.append("once")
        handle.remove()
        x.register_hook(lambda g: calls.append("later"))

    handle = x.register_hook(hook)
    for _ in range(3):
        x.sum().backward()
    assert calls == ["once", "later", "later"]


def test_a_hook_is_removed_by_another_thread():
    x = leaf(2)
    handle = x.register_hook(lambda g: g * 2)
    thread = threading.Thread(target=handle.remove)
    thread.start()
    thread.join()
    x.sum().backward()
    close(x.grad, [1.0, 1.0])


def test_hooks_are_registered_by_the_owning_thread():
    x, caught = leaf(2), []

    def register():
        try:
            x.register_hook(lambda g: g)
        except RuntimeError as error:
            caught.append(error)

    thread = threading.Thread(target=register)
    thread.start()
    thread.join()
    assert isinstance(caught[0], tt.errors.ThreadError)


# ---- errors --------------------------------------------------------------------------------------


def test_misuse():
    x = leaf(3)
    with pytest.raises(RuntimeError, match=r"register_hook: .*doesn't require grad"):
        tt.ones(2).register_hook(lambda g: g)
    with pytest.raises(TypeError, match="register_hook: expected a function, got int"):
        x.register_hook(3)
    with pytest.raises(RuntimeError, match="retain_grad: "):
        tt.ones(2).retain_grad()


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (lambda: tt.ones(2, dtype=tt.float64), ValueError, r"register_hook: .*\(2,\).*\(3,\)"),
        (lambda: tt.ones(3), TypeError, "register_hook: .*float32.*float64"),
        (lambda: np.ones(3), TypeError, "register_hook: .*ndarray"),
        (lambda: 1 / 0, ZeroDivisionError, "division"),
    ],
)
def test_hooks_that_fail_change_nothing(create_graph, returned, error, message, in_new_context):
    def body():
        x, w = leaf(3), leaf(3)
        w.grad = tt.ones(3, dtype=tt.float64)
        y = x * w
        handle = y.register_hook(lambda g: returned())
        z = (y * y * w).sum()
        before = tt.memory_stats()
        for _ in range(3):
            with pytest.raises(error, match=message):
                tt.grad(z, [x, w], create_graph=create_graph)
            with pytest.raises(error, match=message):
                z.backward()
        with tt.no_grad():
            x * x  # what the exception held is let go
        now = tt.memory_stats()
        for key in ("live_handles", "tape_nodes", "held_tensors", "data_blocks"):
            assert now[key] == before[key], key
        assert x.grad is None
        close(w.grad, [1.0] * 3)
        handle.remove()
        z.backward()
        a, b = x.numpy(), w.numpy()
        close(x.grad, 2 * a * b**3)
        close(w.grad, 1 + 3 * a**2 * b**2)

    in_new_context(body)


@pytest.mark.parametrize(
    "inner",
    [
        lambda x: x.sum().backward(),
        lambda x: tt.grad(x.sum(), x),
        lambda x: tt.grad(x.sum(), x, create_graph=True),
    ],
)
def test_a_pass_inside_of_a_pass_is_refused(inner):
    x = leaf(3)
    x.register_hook(lambda g: inner(x))
    with pytest.raises(tt.errors.TapeStateError, match="a backward pass is under way"):
        (x * x).sum().backward()
    assert x.grad is None
    x._hooks.functions.clear()

    def careful(g):
        with pytest.raises(RuntimeError, match="under way"), tt.enable_grad():
            inner(x)

    x.register_hook(careful)
    (x * x).sum().backward()
    close(x.grad, 2 * x.numpy())


def test_grad_cannot_be_set_during_a_pass():
    x = leaf(3)

    def hook(g):
        x.grad = None

    handle = x.register_hook(hook)
    with pytest.raises(RuntimeError, match="grad: cannot be set while a backward pass"):
        (x * x).sum().backward()
    handle.remove()
    (x * x).sum().backward()
    close(x.grad, 2 * x.numpy())


def test_a_saved_value_that_a_hook_changes_raises():
    x, w = leaf(3), leaf(3)
    y = x * w
    z = y * 2

    def hook(g):
        with tt.no_grad():
            w.zero_()

    z.register_hook(hook)
    with pytest.raises(RuntimeError, match=r"mul: input 1 .*changed in place"):
        z.sum().backward()
    assert x.grad is None and w.grad is None


def test_a_hook_that_is_registered_too_late_is_not_called():
    """The root's gradient is used up when another hook thinks of looking at it."""
    x, seen = leaf(3), []
    y = x * 2
    x.register_hook(lambda g: y.register_hook(lambda g: seen.append(g)) and None)
    for create_graph in (False, True):
        tt.grad(y, x, tt.ones(3, dtype=tt.float64), retain_graph=True, create_graph=create_graph)
        assert len(seen) == create_graph
