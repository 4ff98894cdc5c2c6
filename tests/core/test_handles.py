"""Tensors of other threads, and handles that are forged or stale: refused, never followed."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

import tinytape as tt
from tinytape import _foreach, errors, nn
from tinytape._ffi import OPS, ffi, lib
from tinytape.nn import functional as F

X = tt.ones(2, 3)


# ---- threads -------------------------------------------------------------------------------------


def made_elsewhere(make):
    """What another thread made, after it has ended."""
    box = []
    worker = threading.Thread(target=lambda: box.append(make()))
    worker.start()
    worker.join()
    return box.pop()


class Elsewhere:
    """Tensors of a thread that is still there."""

    def __enter__(self) -> tuple[tt.Tensor, ...]:
        self.ready, self.done = threading.Event(), threading.Event()

        def work() -> None:
            # More than one, so that their handles are also handles of the caller's context.
            decoys = [tt.full((2, 3), 7.0) for _ in range(50)]
            w = tt.ones(2, 3, requires_grad=True)
            self.made = (tt.ones(2, 3), w, w * 2, *decoys)
            del w, decoys
            self.ready.set()
            self.done.wait(30)

        self.worker = threading.Thread(target=work)
        self.worker.start()
        assert self.ready.wait(30)
        made, self.made = self.made, ()
        return made

    def __exit__(self, *exc_info: object) -> None:
        self.done.set()
        self.worker.join()


def uses_of(x: tt.Tensor, w: tt.Tensor, y: tt.Tensor, mine: tt.Tensor) -> list:
    """Ways to use x, a leaf w and its result y, all of another thread; mine is the caller's."""
    update = {"lr": 1.0, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0}
    update |= {"nesterov": False, "maximize": False, "first": False}
    return [
        lambda: x * 2,
        lambda: x + mine,
        lambda: mine + x,
        lambda: x.sum(),
        lambda: x[0],
        lambda: x.numpy(),
        lambda: x.detach(),
        lambda: x.copy_(0),
        lambda: x.requires_grad_(),
        lambda: x.requires_grad,
        lambda: x.is_leaf,
        lambda: w.grad,
        lambda: y.backward(tt.ones(2, 3)),
        lambda: tt.grad(y, w, tt.ones(2, 3)),
        lambda: tt.grad((mine * 2).sum(), [w]),
        lambda: (mine * 2).backward(x),
        lambda: tt.grad(mine * 2, mine, x),
        lambda: mine.copy_(x),
        lambda: F.linear(mine, x),
        lambda: F.linear(mine, mine, x),
        lambda: nn.Parameter(x),
        lambda: tt.tensor(x),
        lambda: repr(x),
        lambda: nn.init.zeros_(x),
        lambda: _foreach.sgd_([w], [x], None, **update),
    ]


def test_tensors_of_another_thread_are_refused():
    with Elsewhere() as theirs:
        mine = tt.ones(2, 3, requires_grad=True)
        for i, use in enumerate(uses_of(*theirs[:3], mine)):
            try:
                use()
            except errors.ThreadError as error:
                assert "thread" in str(error) or "context" in str(error)
            else:
                pytest.fail(f"use {i} was not refused")
        assert mine.grad is None


def test_a_gradient_of_another_thread_is_refused():
    """Its handle may well be one of this context too, but of another tensor."""
    with Elsewhere() as theirs:
        mine = [tt.zeros(2, 3) for _ in range(60)]
        for t in mine[:5]:
            for other in theirs[3:]:
                with pytest.raises(errors.ThreadError):
                    t.grad = other
            assert t.grad is None


def test_tensors_outlive_their_thread_but_stay_its_own():
    x = made_elsewhere(lambda: tt.ones(2, 3))
    with pytest.raises(errors.ThreadError):
        _ = x + X
    del x


def test_a_tensor_dropped_by_another_thread_is_released_by_its_owner(in_new_context):
    def body():
        for make in (lambda: tt.ones(2), lambda: tt.ones(2, requires_grad=True) * 2):
            box = [make() for _ in range(20)]
            before = tt.memory_stats()["live_handles"]
            assert before >= 20
            dropper = threading.Thread(target=box.clear)
            dropper.start()
            dropper.join()
            after = tt.memory_stats()
            assert after["live_handles"] == after["held_tensors"] == after["tape_nodes"] == 0

    in_new_context(body)


def test_garbage_in_cycles_with_a_dead_thread():
    """The collector may finalise the context before the tensors in it."""

    def work():
        # So large that their memory goes back to the kernel: a late release would be found out.
        cell = [tt.zeros(1 << 19, requires_grad=True) for _ in range(3)]
        cell += [x * 2 for x in cell]
        cell.append(cell)

    for _ in range(5):
        made_elsewhere(work)
        gc.collect()
    assert (X * 2).sum().item() == 12.0


# ---- the raw library: forged and stale handles ---------------------------------------------------


@pytest.fixture
def raw():
    """The library's pointer to a new context, freed afterwards."""
    context = lib.tt_ctx_new()
    yield context
    lib.tt_ctx_free(context)


def new_raw(context, pool=lib.TT_POOL_DATA, dtype=lib.TT_FLOAT32, shape=(2, 3)):
    out = ffi.new("tt_handle *")
    sizes = ffi.new("int64_t[]", shape or (0,))
    status = lib.tt_new(context, pool, dtype, len(shape), sizes, ffi.NULL, out)
    return status, out[0]


FORGED = [
    0,
    1,
    -1,
    2**31,
    2**32,
    2**32 + 1,
    2**33 + 1,
    2**62,
    2**63 - 1,
    -(2**63),
    -(2**32) + 1,
    257,
]


def test_forged_handles_are_refused_everywhere(raw):
    _, good = new_raw(raw)
    assert lib.tt_set_requires_grad(raw, good, 1) == lib.TT_OK
    out, info, number = ffi.new("tt_handle[3]"), ffi.new("int64_t[22]"), ffi.new("double *")
    space = ffi.new("char[1024]")
    ints, reals = ffi.new("int64_t[12]"), ffi.new("double[4]")
    one = ffi.new("tt_handle[]", [good] * 8)
    for forged in FORGED:
        if forged == good:
            continue
        bad = ffi.new("tt_handle[]", [forged] * 8)
        mixed = ffi.new("tt_handle[]", [good, forged])
        calls = [
            lib.tt_release(raw, forged),
            lib.tt_info(raw, forged, info),
            lib.tt_read(raw, forged, space, 24),
            lib.tt_write(raw, forged, space, 24),
            lib.tt_check_in_place(raw, forged, b"x"),
            lib.tt_copy(raw, forged, good, 0, b"x"),
            lib.tt_put(raw, forged, 0, 1, good, good, b"x"),
            lib.tt_detach(raw, forged, out),
            lib.tt_copy_to_pool(raw, forged, 0, out),
            lib.tt_set_requires_grad(raw, forged, 1),
            lib.tt_get_grad(raw, forged, out),
            lib.tt_set_grad(raw, forged, 0),
            lib.tt_random_fill(raw, forged, 0, 0, 0, 0, 0.0, 1.0),
            lib.tt_backward(raw, 1, bad, ffi.NULL, 0, bad, 0, 0, out),
            lib.tt_backward(raw, 1, one, one, 1, bad, 0, 0, out),
            lib.tt_adam(raw, 1, one, bad, one, one, 1, 0.1, 0.9, 0.9, 1e-8, 0.0, 0, 0),
            lib.tt_adam(raw, 2, mixed, mixed, mixed, mixed, 1, 0.1, 0.9, 0.9, 1e-8, 0.0, 0, 0),
            lib.tt_sgd(raw, 1, one, one, bad, 0.1, 0.9, 0.0, 0.0, 0, 0, 0),
            lib.tt_grad_norm(raw, 1, bad, 2.0, number),
            lib.tt_scale(raw, 2, mixed, 2.0),
        ]
        if forged:
            calls.append(lib.tt_set_grad(raw, good, forged))
            assert lib.tt_set_grad_enabled(raw, 0, ffi.NULL) == lib.TT_OK  # good wants gradients
            calls.append(lib.tt_copy(raw, good, forged, 0, b"x"))
            calls.append(lib.tt_copy(raw, good, good, forged, b"x"))
            calls.append(lib.tt_put(raw, good, 0, 1, forged, good, b"x"))
            calls.append(lib.tt_put(raw, good, 0, 1, good, forged, b"x"))
            assert lib.tt_set_grad_enabled(raw, 1, ffi.NULL) == lib.TT_OK
            calls.append(lib.tt_backward(raw, 1, one, bad, 0, one, 0, 0, out))
            calls += [
                lib.tt_apply(raw, op, lib.tt_op_inputs(op), bad, 0, ints, 0, reals, out)
                for op in OPS.values()
            ]
        assert set(calls) == {lib.TT_ERR_STALE}, forged
        assert lib.tt_error_code() == lib.TT_ERR_STALE


def test_stale_handles_are_refused_although_their_slot_is_in_use(raw):
    info = ffi.new("int64_t[22]")
    handles = []
    for _ in range(100):
        _, handle = new_raw(raw)
        assert handle not in handles
        handles.append(handle)
        assert lib.tt_info(raw, handle, info) == lib.TT_OK
        assert lib.tt_release(raw, handle) == lib.TT_OK
        assert lib.tt_release(raw, handle) == lib.TT_ERR_STALE
    _, alive = new_raw(raw)
    assert all(lib.tt_info(raw, h, info) == lib.TT_ERR_STALE for h in handles)
    assert lib.tt_info(raw, alive, info) == lib.TT_OK


def test_operations_called_with_anything(raw):
    """Every operation with every number of inputs and attributes: a status, never a crash."""
    made = [
        new_raw(raw, dtype=dtype, shape=shape)[1]
        for dtype in (lib.TT_FLOAT32, lib.TT_FLOAT64, lib.TT_INT64)
        for shape in ((), (3,), (2, 3), (0, 3), (1, 2, 2, 3), (1,) * 8)
    ]
    for h in made[:6]:
        assert lib.tt_set_requires_grad(raw, h, 1) == lib.TT_OK
    rng = np.random.default_rng(0)
    ints, reals = ffi.new("int64_t[12]"), ffi.new("double[4]")
    out = ffi.new("tt_handle[3]")
    values = [0, 1, -1, 2, 3, 7, -7, 100, 2**31, 2**32 + 1, 2**62, -(2**63), 2**63 - 1]
    succeeded = set()
    for _ in range(60):
        for name, op in OPS.items():
            n_in = int(rng.integers(0, 9)) if rng.random() < 0.2 else lib.tt_op_inputs(op)
            given = ffi.new("tt_handle[8]", [made[i] for i in rng.integers(0, len(made), 8)])
            if rng.random() < 0.5:  # one type, so that more is reached than the check of types
                given = ffi.new("tt_handle[8]", [made[i] for i in rng.integers(0, 6, 8)])
            small = rng.random() < 0.7
            for i in range(12):
                ints[i] = int(rng.integers(-1, 4)) if small else values[rng.integers(len(values))]
            for i in range(4):
                reals[i] = [0.0, 0.5, -1.0, 2.0, float("nan"), float("inf")][rng.integers(6)]
            n_ints, n_reals = (int(n) for n in (rng.integers(0, 13), rng.integers(0, 5)))
            status = lib.tt_apply(raw, op, n_in, given, n_ints, ints, n_reals, reals, out)
            assert lib.TT_ERR_INTERNAL < status <= 0, name
            if status == 0:
                succeeded.add(name)
                assert lib.tt_release(raw, out[0]) == lib.TT_OK
    assert len(succeeded) > len(OPS) // 2
    for n_in, n_ints, n_reals in ((9, 0, 0), (-1, 0, 0), (1, 13, 0), (1, -1, 0), (1, 0, 5)):
        status = lib.tt_apply(raw, 0, n_in, given, n_ints, ints, n_reals, reals, out)
        assert status == lib.TT_ERR_ARG
    for op in (-1, len(OPS), 2**31 - 1):
        assert lib.tt_apply(raw, op, 1, given, 0, ints, 0, reals, out) == lib.TT_ERR_ARG
        assert ffi.string(lib.tt_op_name(op)) == b""
        assert lib.tt_op_inputs(op) == lib.tt_op_outputs(op) == -1


def test_bad_arguments_of_writing_in_place(raw):
    _, h = new_raw(raw, shape=(2, 3))
    _, vector = new_raw(raw, dtype=lib.TT_INT64, shape=(2,))
    _, matrix = new_raw(raw, dtype=lib.TT_INT64, shape=(2, 2))
    _, mask = new_raw(raw, dtype=lib.TT_BOOL, shape=(2, 3))
    out = ffi.new("tt_handle *")
    assert lib.tt_number(raw, -1, ffi.NULL, out) == lib.TT_ERR_DTYPE
    assert lib.tt_number(raw, lib.TT_INT64, ffi.NULL, out) == lib.TT_OK
    number = out[0]
    for axis, count in ((-1, 1), (0, 0), (0, -1), (2, 1), (1, 2), (3, 1), (2**31 - 1, 1), (0, 9)):
        assert lib.tt_put(raw, h, axis, count, vector, number, b"x") == lib.TT_ERR_ARG
    for index in (h, matrix, mask, number):
        assert lib.tt_put(raw, h, 0, 1, index, number, b"x") == lib.TT_ERR_ARG
    assert lib.tt_put(raw, h, 0, 1, vector, number, b"x") == lib.TT_OK
    assert lib.tt_put(raw, h, 0, 1, vector, matrix, b"x") == lib.TT_ERR_SHAPE
    for places in ([2, 0], [0, -1], [2**62, 0], [-(2**63), 0]):
        data = ffi.new("int64_t[]", places)
        assert lib.tt_write(raw, vector, data, 16) == lib.TT_OK
        assert lib.tt_put(raw, h, 0, 1, vector, number, b"x") == lib.TT_ERR_INDEX
    assert lib.tt_copy(raw, h, number, vector, b"x") == lib.TT_ERR_DTYPE
    assert lib.tt_copy(raw, number, h, 0, b"x") == lib.TT_ERR_SHAPE
    _, long = new_raw(raw, dtype=lib.TT_BOOL, shape=(4,))
    assert lib.tt_copy(raw, h, number, long, b"x") == lib.TT_ERR_SHAPE
    assert lib.tt_copy(raw, h, number, mask, b"x") == lib.TT_OK


def test_bad_arguments_of_the_raw_library(raw):
    _, h = new_raw(raw)
    one, out = ffi.new("tt_handle[]", [h]), ffi.new("tt_handle[1]")
    space, number = ffi.new("char[64]"), ffi.new("double *")
    assert new_raw(raw, pool=-1)[0] == new_raw(raw, pool=3)[0] == lib.TT_ERR_ARG
    assert new_raw(raw, dtype=-1)[0] == new_raw(raw, dtype=8)[0] == lib.TT_ERR_DTYPE
    assert new_raw(raw, shape=(1,) * 9)[0] == new_raw(raw, shape=(2, -1))[0] == lib.TT_ERR_SHAPE
    assert new_raw(raw, shape=(2**31, 2**31, 2**31))[0] == lib.TT_ERR_NOMEM
    for n in (-1, 0, 23, 25, 2**62):
        assert lib.tt_read(raw, h, space, n) == lib.tt_write(raw, h, space, n) == lib.TT_ERR_SHAPE
    assert lib.tt_copy_to_pool(raw, h, 7, out) == lib.TT_ERR_ARG
    for n in (-1, 0, 1 << 20):
        assert lib.tt_backward(raw, n, one, ffi.NULL, 0, one, 0, 0, out) == lib.TT_ERR_ARG
    assert lib.tt_backward(raw, 1, one, ffi.NULL, -1, one, 0, 0, out) == lib.TT_ERR_ARG
    assert lib.tt_grad_norm(raw, -1, one, 2.0, number) == lib.TT_ERR_ARG
    for norm in (0.0, -1.0, float("nan")):
        assert lib.tt_grad_norm(raw, 1, one, norm, number) == lib.TT_ERR_ARG
    assert (
        lib.tt_adam(raw, 1, one, one, one, one, 0, 0.1, 0.9, 0.9, 1e-8, 0.0, 0, 0) == lib.TT_ERR_ARG
    )
    assert lib.tt_set_num_threads(0) == lib.tt_set_num_threads(-5) == -1
    lib.tt_ctx_free(ffi.NULL)
    assert lib.tt_release(raw, h) == lib.TT_OK


def test_the_raw_library_refuses_another_thread(raw):
    _, h = new_raw(raw)
    assert made_elsewhere(lambda: lib.tt_release(raw, h)) == lib.TT_ERR_THREAD
    assert made_elsewhere(lambda: new_raw(raw)[0]) == lib.TT_ERR_THREAD
    assert lib.tt_release(raw, h) == lib.TT_OK
