"""What may happen while a backward pass waits for a hook, and how long hooks live."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

import tinytape as tt

from ..support.leaves import close, leaf

# ---- what happens in a pause ---------------------------------------------------------------------


def test_tensors_are_dropped_in_a_hook(in_new_context):
    def body():
        held = {"x": leaf(3)}
        held["y"] = held["x"] * 2
        held["z"] = held["y"] * held["y"]
        held["loss"] = held["z"].sum()
        seen = []

        def hook(g):
            held.clear()
            gc.collect()
            for _ in range(50):
                tt.ones(3, dtype=tt.float64) * 7  # takes memory that would be free
            seen.append(g.numpy())

        expected = 4 * held["x"].numpy()
        held["z"].register_hook(lambda g: hook(g))
        held["x"].register_hook(lambda g: seen.append(g.numpy()))
        tt.autograd.backward(held["loss"])
        np.testing.assert_allclose(seen[1], 2 * expected)
        stats = tt.memory_stats()
        assert stats["tape_nodes"] == stats["data_blocks"] == stats["live_handles"] == 0

    in_new_context(body)


@pytest.mark.parametrize("create_graph", [False, True])
def test_inputs_that_are_dropped_in_a_hook(create_graph):
    x, unused = leaf(3), [leaf(4)]
    x.register_hook(lambda g: unused.clear())
    g, none = tt.grad((x * x).sum(), [x, *unused], create_graph=create_graph, allow_unused=True)
    close(g, 2 * x.numpy())
    assert none is None


@pytest.mark.parametrize("fails", [False, True])
def test_what_a_hook_records_and_keeps_stays_valid(in_new_context, fails):
    def body():
        x, kept = leaf(30), []
        y = x * 2

        def hook(g):
            with tt.enable_grad():
                kept.append((x * x * g).sum())
                kept.append(y * 3)  # noqa: F821 - deleted below
            if fails:
                raise KeyError

        handle = y.register_hook(hook)
        try:
            (y * y).sum().backward()
        except KeyError:
            assert fails
        handle.remove()
        for _ in range(20):
            (x * 3).exp().sum()
        scale = 4 * x.numpy()
        close(kept[0], (x.numpy() ** 2 * scale).sum())
        (g,) = tt.grad(kept[0], x)
        close(g, 2 * x.numpy() * scale)
        close(kept[1], 6 * x.numpy())
        if fails:
            (g,) = tt.grad(kept[1].sum(), x)
            close(g, [6.0] * 30)
        else:
            with pytest.raises(RuntimeError, match="second time"):
                kept[1].sum().backward()
        kept.clear()
        del y
        gc.collect()
        assert tt.memory_stats()["tape_nodes"] == 0

    in_new_context(body)


def test_much_is_computed_in_a_hook(in_new_context):
    """Enough that the tape would be swept, and with it chunks that hold nothing but gradients."""

    def body():
        x = leaf(200_000)
        y = x * 2

        def hook(g):
            with tt.enable_grad():
                for _ in range(20):
                    (x * x).exp()

        y.register_hook(hook)
        (y * y).sum().backward()
        close(x.grad, 8 * x.numpy())

    in_new_context(body)


def test_memory_is_refused_in_the_middle(in_new_context):
    from tinytape._ffi import lib

    def body():
        x = leaf(300, 300)
        y = x * 2
        y.register_hook(lambda g: g * 1.0)
        loss = (y * y).sum()
        refused = 0
        for create_graph in (False, True):
            for k in range(1, 60):
                tt.empty_cache()
                before = tt.memory_stats()
                lib.tt_fail_allocation(k, True)
                try:
                    tt.grad(loss, x, retain_graph=True, create_graph=create_graph)
                except MemoryError:
                    refused += 1
                else:
                    break
                finally:
                    lib.tt_fail_allocation(0, False)
                with tt.no_grad():
                    tt.ones(2) * 2  # what the exception held is let go
                now = tt.memory_stats()
                for key in ("live_handles", "tape_nodes", "held_tensors", "data_blocks"):
                    assert now[key] == before[key], (k, key)
        assert refused > 3
        loss.backward()
        close(x.grad, 8 * x.numpy())

    in_new_context(body)


# ---- how long hooks live -------------------------------------------------------------------------


def test_the_hook_of_a_result_nobody_holds_is_called():
    x, seen = leaf(3), []

    def forward():
        y = x * 2
        y.register_hook(lambda g: seen.append(g.numpy()))
        return (y * y).sum()

    loss = forward()
    gc.collect()
    loss.backward()
    np.testing.assert_allclose(seen[0], 4 * x.numpy())


@pytest.mark.parametrize("refers_to_itself", [False, True])
def test_the_hook_of_a_leaf_nobody_holds_is_called(refers_to_itself, in_new_context):
    def body():
        seen = []

        def forward():
            x = leaf(3)
            if refers_to_itself:
                x.register_hook(lambda g: seen.append((g * x).numpy() / x.numpy()))
            else:
                x.register_hook(lambda g: seen.append(g.numpy()))
            return (x * 2).sum()

        loss = forward()
        gc.collect()
        tt.ones(3).requires_grad_().register_hook(lambda g: None)
        loss.backward()
        np.testing.assert_allclose(seen[0], [2.0] * 3)
        del loss
        gc.collect()
        context = tt.ones(1)._context
        context.forget_ended()
        assert not context.attached and not context.lingering
        assert tt.memory_stats()["live_handles"] == 0
        assert tt.memory_stats()["meta_blocks"] == 0

    in_new_context(body)


def test_a_leaf_whose_hook_refers_to_it_is_garbage(in_new_context):
    def body():
        x = leaf(3)
        gone = weakref.ref(x)
        x.register_hook(lambda g: g * x)  # noqa: F821 - deleted below
        (x * x).sum().backward()
        del x
        gc.collect()
        assert gone() is None
        assert tt.memory_stats()["live_handles"] == 0
        assert tt.memory_stats()["data_blocks"] == 0

    in_new_context(body)


def test_hooks_end_with_the_graph(in_new_context):
    def body():
        class Big:
            pass

        x = leaf(3)
        for way in ("backward", "dropped"):
            big = Big()
            gone = weakref.ref(big)
            y = x * 2
            y.register_hook(lambda g, big=big: None)
            loss = y.sum()
            if way == "backward":
                loss.backward()
            del big, y, loss
            x._context.forget_ended()
            gc.collect()
            assert gone() is None, way
        for _ in range(100):
            y = x * 2
            y.register_hook(lambda g: None)
            y.sum().backward()
        assert len(x._context.attached) <= 1
        assert tt.memory_stats()["meta_blocks"] < 10

    in_new_context(body)


def test_hooked_tensors_that_another_thread_collects(in_new_context):
    """Dropped over there, their owner lets go of them."""
    box = []

    def body():
        x = leaf(3)
        x.register_hook(lambda g: None)
        box.append((x * 2).sum())
        box.append(x)
        del x
        thread = threading.Thread(target=box.pop)
        thread.start()
        thread.join()
        box.pop().backward()
        tt.ones(1)._context.enter()
        tt.ones(1)._context.forget_ended()
        assert tt.memory_stats()["live_handles"] == 0

    in_new_context(body)
    gc.collect()


def test_a_context_ends_with_hooks_in_it():
    def body():
        x = leaf(3)
        x.register_hook(lambda g: g * x)
        y = x * 2
        y.register_hook(lambda g: g * y)
        loss = y.sum()
        loss.backward(retain_graph=True)

    for _ in range(5):
        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        gc.collect()


# ---- retain_grad ---------------------------------------------------------------------------------


def test_retain_grad():
    x = leaf(3)
    y = x * 2
    assert not y.retains_grad and y.grad is None
    y.retain_grad()
    y.retain_grad()
    assert y.retains_grad
    y.register_hook(lambda g: g * 10)  # what is kept is what the hooks leave
    (y * y).sum().backward(retain_graph=True)
    close(y.grad, 20 * y.numpy())
    (y * 1.0).sum().backward()
    close(y.grad, 20 * y.numpy() + 10)
    y.grad = None
    assert y.grad is None
    x.retain_grad()
    assert not x.retains_grad


def test_backward_with_inputs():
    x, w = leaf(3), leaf(3)
    y = x * w
    loss = (y * y).sum()
    loss.backward(inputs=[x], retain_graph=True)
    loss.backward(inputs=[x, y, x], retain_graph=True)
    a, b = x.numpy(), w.numpy()
    close(x.grad, 4 * a * b * b)
    close(y.grad, 2 * a * b)
    assert w.grad is None
    held = x.grad
    tt.autograd.backward([loss, loss], [None, tt.tensor(2.0, dtype=tt.float64)], inputs=x)
    close(held, 10 * a * b * b)
    assert x.grad is held
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()
    with pytest.raises(ValueError, match="inputs cannot be empty"):
        x.sum().backward(inputs=[])
    with pytest.raises(RuntimeError, match="does not require"):
        x.sum().backward(inputs=[tt.ones(2)])
    with pytest.raises(TypeError, match="expected a Tensor, got int"):
        x.sum().backward(inputs=[3])
    with pytest.raises(ValueError, match="at least one"):
        tt.autograd.backward([])


def test_materialize_grads():
    x, y = leaf(3), leaf(2)
    gx, gy = tt.grad((x * 2).sum(), [x, y], materialize_grads=True)
    close(gx, [2.0] * 3)
    close(gy, [0.0] * 2)
    assert gy.dtype is tt.float64
    with pytest.raises(ValueError, match="allow_unused=False"):
        tt.grad((x * 2).sum(), [x, y], allow_unused=False, materialize_grads=True)
