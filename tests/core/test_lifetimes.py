"""What outlives what: temporaries of a rule, gradients across contexts, calls inside calls."""

from __future__ import annotations

import signal
import threading

import numpy as np
import pytest

import tinytape as tt
from tinytape.nn import functional as F

RNG = np.random.default_rng(7)


def test_what_a_vjp_shows_a_view_of_outlives_the_call() -> None:
    """A reshape of an expanded gradient is a view of a copy, and the copy must not be scratch."""
    rows, columns = 40, 20
    w0, c0 = RNG.standard_normal(2 * rows * columns), RNG.standard_normal(rows)
    w = tt.tensor(w0, requires_grad=True)
    z = w * w
    loss = (z.reshape(2 * rows, columns).reshape(rows, 2 * columns).sum(1) * tt.tensor(c0)).sum()
    (g,) = tt.grad(loss, w, create_graph=True)
    F.layer_norm(tt.randn(300, 300), (300,)).sum()  # takes scratch memory for itself
    tt.empty_cache()
    (h,) = tt.grad(g.sum(), w)
    weight = np.repeat(c0, 2 * columns)
    np.testing.assert_allclose(g.numpy(), 2 * w0 * weight, rtol=1e-12)
    np.testing.assert_allclose(h.numpy(), 2 * weight, rtol=1e-12)


def test_a_copy_that_an_operation_reads_outlives_many_sweeps(in_new_context) -> None:
    """A transposed weight is copied for the product; the copy belongs to no node."""
    n = 2200  # large enough for a chunk of its own
    w = RNG.standard_normal((n, n)).astype(np.float32)

    def gradient() -> np.ndarray:
        x = tt.zeros(4, n, requires_grad=True)
        y = F.linear(x, tt.tensor(w).transpose(0, 1))
        large = tt.zeros(1000, 1000, requires_grad=True)
        for _ in range(30):
            tt.exp(tt.exp(large))
        return tt.grad(y.sum(), x)[0].numpy()

    expected = np.tile(w.sum(1, dtype=np.float64), (4, 1))
    np.testing.assert_allclose(in_new_context(gradient), expected, atol=1e-3)


def test_an_operation_without_a_gradient_records_nothing() -> None:
    """Not even the broadcasting of its inputs, or their copies."""
    x = tt.ones(3, 2, requires_grad=True)
    y = x * 2
    row, turned = y[0], y.t()
    nodes = tt.memory_stats()["tape_nodes"]
    for f in (
        lambda: y < tt.ones(4, 1, 1),
        turned.argmax,
        turned.argsort,
        lambda: row == y,
        lambda: tt.floor_divide(y, row),
    ):
        kept = f()
        assert tt.memory_stats()["tape_nodes"] == nodes and not kept.requires_grad
    y.sum().backward()
    assert x.grad is not None and x.grad.tolist() == [[2.0, 2.0]] * 3


def test_a_layer_without_outputs_has_a_gradient_of_zeros() -> None:
    x = tt.full((3, 4), 7.0, requires_grad=True)
    F.linear(x, tt.zeros(0, 4, requires_grad=True)).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [[0.0] * 4] * 3


def test_a_gradient_of_another_context_is_refused() -> None:
    p = tt.zeros(2, requires_grad=True)
    decoy = tt.tensor([5.0, 6.0])  # handles are numbered alike in every context
    foreign: list[tt.Tensor] = []
    thread = threading.Thread(target=lambda: foreign.extend(tt.ones(2) for _ in range(8)))
    thread.start()
    thread.join()
    for value in foreign:
        with pytest.raises(RuntimeError, match="different contexts"):
            p.grad = value
    assert p.grad is None and decoy.tolist() == [5.0, 6.0]


def test_only_a_leaf_has_a_grad_to_set() -> None:
    y = tt.ones(2, requires_grad=True) * 2
    with pytest.raises(RuntimeError, match="only leaf tensors"):
        y.grad = tt.ones(2)


def test_a_pass_gives_up_only_what_it_went_through() -> None:
    """The graph below a captured tensor is still there for a pass of its own."""
    x = tt.tensor([1.0, 2.0], requires_grad=True)
    hidden = x * 3
    (g,) = tt.grad((hidden * hidden).sum(), hidden)
    hidden.backward(g)
    assert x.grad is not None and x.grad.tolist() == [18.0, 36.0]


def test_large_logits_lose_nothing() -> None:
    x = tt.tensor([[1e4, 1e4], [1e6, 1e6]], requires_grad=True)
    loss = F.cross_entropy(x, tt.tensor([0, 1]), reduction="none")
    np.testing.assert_allclose(loss.numpy(), np.log(2), rtol=1e-6)
    loss.sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), [[-0.5, 0.5], [0.5, -0.5]], rtol=1e-6)


def test_cached_blocks_are_bounded_when_shapes_change() -> None:
    stats: list[tuple[int, int]] = []

    def allocate() -> None:
        with tt.no_grad():
            for n in range(100_000, 3_000_000, 97_000):
                tt.zeros(n) + 1
                stats.append((n, tt.memory_stats()["pool_cached_bytes"]))

    # A thread of its own: the bound follows from the most that its context ever held.
    thread = threading.Thread(target=allocate)
    thread.start()
    thread.join()
    assert len(stats) == 30
    for n, cached in stats:
        assert cached <= 3 * 2 * 4 * 1.25 * n + 2**20


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="POSIX timers")
def test_a_signal_handler_may_compute_in_the_middle_of_a_call() -> None:
    inner: list[float] = []
    a, b = tt.tensor([1.0, 2.0]), tt.tensor([10.0, 20.0])

    def handler(*_: object) -> None:
        inner.append((tt.tensor([3.0]) * 4).item())

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    try:
        for i in range(20_000):
            total = (a + b) * float(i)
            if i % 997 == 0:
                assert total.tolist() == [11.0 * i, 22.0 * i]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(inner) > 10 and set(inner) == {12.0}


@pytest.mark.slow
def test_ten_thousand_steps_take_the_memory_of_two_hundred(in_new_context) -> None:
    """The plain loop, with nothing said about memory: not a byte and not an allocation more."""
    names = ["step_high_water", "step_capacity", "scratch_high_water", "system_allocations"]
    names += ["system_bytes", "pool_cached_bytes", "parameters_bytes", "state_bytes"]

    def train() -> dict[int, dict[str, int]]:
        model = tt.models.create("tiny", 65)
        optimizer = tt.optim.AdamW(model.parameters(), lr=1e-3)
        seen = {}
        for step in range(1, 10_001):
            ids = (tt.random.philox_u64(1, 0, 18 * step, 18) % 65).astype(np.int64).reshape(2, 9)
            logits = model(tt.tensor(ids[:, :-1]))
            loss = F.cross_entropy(logits.reshape(-1, 65), tt.tensor(ids[:, 1:]).reshape(-1))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step in (200, 10_000):
                stats = tt.memory_stats()
                seen[step] = {name: stats[name] for name in names}
        return seen

    seen = in_new_context(train)
    assert seen[10_000] == seen[200]


@pytest.mark.parametrize("function", ["reshape", "permute", "expand", "clone"])
def test_an_array_where_a_tensor_belongs_is_named(function: str) -> None:
    arguments = () if function == "clone" else (0,)
    with pytest.raises(TypeError, match="expected a Tensor, got ndarray"):
        getattr(tt, function)(np.ones(3), *arguments)
