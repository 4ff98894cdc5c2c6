"""The C part of Tensor and Context: nothing that Python can do to it crashes, and what is unusual
goes the way through Python with the same result."""

from __future__ import annotations

import copy
import gc
import threading
import weakref

import numpy as np
import pytest

import tinytape as tt
from tinytape._ffi import OPS, binding
from tinytape.context import Context, current
from tinytape.errors import ArgumentError, StaleTensorError, ThreadError


def live_handles() -> int:
    gc.collect()
    return tt.memory_stats()["live_handles"]


# ---- what is refused ----


def test_a_tensor_is_made_by_functions_only():
    for make in (tt.Tensor, lambda: object.__new__(tt.Tensor), binding.TensorBase):
        with pytest.raises(TypeError):
            make()


@pytest.mark.parametrize("args", [(), (5, 3), (None, 1), (object(), 1)])
def test_wrap_wants_a_context_and_a_handle(args):
    with pytest.raises(TypeError):
        tt.Tensor._wrap(*args)


def test_a_context_that_is_not_open_owns_nothing():
    with pytest.raises(RuntimeError, match="not open"):
        tt.Tensor._wrap(binding.ContextBase(), 1)


def test_a_context_is_opened_once():
    context = current()
    with pytest.raises(RuntimeError, match="open already"):
        context.__init__()
    assert (tt.ones(2) + 1).tolist() == [2.0, 2.0]


def test_a_handle_that_never_was_is_stale():
    made = tt.Tensor._wrap(current(), 12345678901)
    for use in (lambda: made.shape, lambda: made.grad, lambda: made + 1, lambda: made.numpy()):
        with pytest.raises(StaleTensorError):
            use()


def test_what_belongs_to_the_core_cannot_be_set():
    x = tt.ones(2)
    for name in ("_context", "_handle", "shape", "dtype", "ndim"):
        with pytest.raises(AttributeError):
            setattr(x, name, 7)
    with pytest.raises(AttributeError):
        del x.grad
    with pytest.raises(TypeError, match="grad: expected a Tensor or None"):
        x.grad = 3


@pytest.mark.parametrize(
    "args",
    [
        (),
        (1,),
        (OPS["add"], ()),
        (OPS["add"], (1, 2)),
        (OPS["add"], 3),
        ("add", (tt.ones(1), tt.ones(1))),
        (-1, (tt.ones(1), tt.ones(1))),
        (1 << 70, (tt.ones(1), tt.ones(1))),
        (OPS["add"], (tt.ones(1),)),
        (OPS["add"], (tt.ones(1),) * 9),
        (OPS["add"], (tt.ones(1), "x")),
        (OPS["reshape"], (tt.ones(1),), ["1"]),
        (OPS["reshape"], (tt.ones(1),), [1] * 13),
        (OPS["reshape"], (tt.ones(1),), [1 << 64]),
        (OPS["reshape"], (tt.ones(1),), [1], ["x"]),
        (OPS["reshape"], (tt.ones(1),), [1], [1.0], 5),
    ],
)
def test_apply_refuses_what_is_no_call(args):
    with pytest.raises(Exception) as caught:
        binding.apply(*args)
    assert not isinstance(caught.value, SystemError)


def test_handles_and_number_answer_none_to_what_they_do_not_know():
    x = tt.ones(2)
    assert binding.handles(x._context, (x,)) is None  # no list
    assert binding.handles(x._context, [x, 3]) is None
    assert binding.handles(None, [x]) is None
    assert binding.handles() is None
    assert len(binding.handles(x._context, [x, None])) == 16
    for value in (True, "1", 10**400, np.float32(1), None):
        assert binding.number(x, value) is None
    assert binding.number(3, 3) is None and binding.number() is None
    assert binding.number(x.to(tt.int32), 2**63) is None


# ---- the unusual gives the same ----


@pytest.mark.parametrize("numbers", [list, np.array, tuple])
def test_attributes_may_be_of_any_integers(numbers):
    x = tt.arange(6)
    assert binding.apply(OPS["reshape"], [x], numbers([2, 3])).shape == (2, 3)


def test_an_operation_with_several_results_gives_a_tuple():
    x = tt.tensor([3.0, 1.0, 2.0])
    usual = binding.apply(OPS["sort"], (x,), (0, 0))
    x._context._watched = True  # as under detect_anomaly
    try:
        slowly = binding.apply(OPS["sort"], (x,), (0, 0))
    finally:
        x._context._watched = False
    assert isinstance(usual, tuple) and isinstance(slowly, tuple)
    assert [y.tolist() for y in usual] == [y.tolist() for y in slowly]


@pytest.mark.parametrize(("kind", "value"), [(tt.float32, 3), (tt.float64, 0.1), (tt.int64, -5)])
def test_a_number_is_the_same_with_and_without_python(kind, value):
    x = tt.ones(2, dtype=kind)
    fast = x * value
    x._context._watched = True
    try:
        slow = x * value
    finally:
        x._context._watched = False
    assert fast.dtype is slow.dtype is kind and fast.tolist() == slow.tolist()


def test_a_number_that_does_not_fit_is_named():
    with pytest.raises(ArgumentError, match=r"mul: .* does not fit into int64"):
        tt.ones(2, dtype=tt.int64) * 10**30


def test_another_thread_is_refused_everything():
    x = tt.ones(2, requires_grad=True)
    x.sum().backward()
    caught = []

    def use():
        y = tt.ones(2)
        uses = [
            lambda: x + x,
            lambda: x.requires_grad,
            lambda: x.grad,
            lambda: setattr(x, "grad", None),
            lambda: x + y,
            lambda: y + x,
            lambda: setattr(y, "grad", x),
            lambda: x * 2,
        ]
        for function in uses:
            try:
                function()
            except ThreadError as error:
                caught.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert len(caught) == 8
    assert x.grad.tolist() == [1.0, 1.0]


def test_what_another_thread_drops_is_released_at_the_next_call():
    before = live_handles()
    held = [tt.ones(4) for _ in range(10)]
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()
    context = current()
    assert context._orphaned and len(context.orphans) == 10
    x = tt.ones(1) + 1  # both the usual way and that through Python look after them
    assert not context._orphaned and not context.orphans
    del x
    assert live_handles() == before


# ---- ends ----


def test_a_tensor_ends_at_once():
    before = live_handles()
    x = tt.ones(3, requires_grad=True)
    (x * 2).sum().backward()
    seen = weakref.ref(x)
    grad = x.grad
    assert grad is x.grad
    del x, grad
    assert seen() is None and tt.memory_stats()["live_handles"] == before


def test_tensors_in_cycles_are_collected():
    before = live_handles()
    for _ in range(20):
        x, y = tt.ones(3), tt.ones(3)
        x.grad, y.grad = y, x
        z = tt.ones(3, requires_grad=True)
        z.register_hook(lambda g, z=z: None)
    del x, y, z
    assert live_handles() == before


def test_a_long_chain_of_gradients_ends():
    x = tt.ones(1)
    for _ in range(50_000):
        y = tt.ones(1)
        y.grad = x
        x = y
    del x, y


def test_a_context_in_a_cycle_with_its_tensors_is_collected():
    def work():
        x = tt.ones(3, requires_grad=True)
        x._context.attached[-1] = [x, x * 2]
        seen.append(weakref.ref(x._context))

    seen: list[weakref.ref[Context]] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    gc.collect()
    assert seen[0]() is None


def test_exchange_keeps_to_one_context():
    x, y = tt.ones(2), tt.zeros(3)
    x._exchange(y)
    assert (x.shape, y.shape) == ((3,), (2,)) and y.tolist() == [1.0, 1.0]
    with pytest.raises(TypeError):
        x._exchange(3)
    assert copy.deepcopy(x).tolist() == [0.0] * 3


# ---- code of the caller that runs in the middle ----


def test_a_gradient_that_is_let_go_may_change_the_gradient():
    class Meddling(tt.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * 2

        @staticmethod
        def backward(ctx, dy):
            others.append(ctx.saved_tensors[0])  # another object for the same leaf
            return dy * 2

    others = []
    x = tt.ones(2).requires_grad_(True)
    Meddling.apply(x).sum().backward()
    weakref.finalize(x.grad, lambda: setattr(x, "grad", None))
    others[0].grad = None
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]  # the finalizer ran and took it away meanwhile
    assert x.grad is None
    (x * 4).sum().backward()
    assert x.grad.tolist() == [4.0, 4.0]


def test_a_number_that_converts_itself_does_not_get_to_the_list():
    class Clearing(int):
        def __float__(self):
            reals.clear()
            return 1.0

    reals = [Clearing(1), 2.0, 3.0]
    with pytest.raises((ArgumentError, IndexError, TypeError, ValueError)):
        binding.apply(OPS["clamp"], (tt.ones(2),), (), reals)


def test_a_flag_with_nothing_behind_it_is_lowered():
    context = current()
    context._orphaned = True
    tt.ones(2) + 1
    assert not context._orphaned


def test_a_gradient_of_nothing_lies_within_its_bounds():
    with pytest.raises(ValueError, match="slice_backward"):
        binding.apply(OPS["slice_backward"], (tt.zeros(2, 0),), (1, 1000000, 1, 0, 4))


def test_a_sum_has_no_activation():
    x, w, b = tt.ones(2, 3), tt.ones(4, 3), tt.ones(4)
    with pytest.raises(ValueError, match="linear_add"):
        binding.apply(OPS["linear_add"], (x, w, b, tt.ones(2, 4)), (1,))
