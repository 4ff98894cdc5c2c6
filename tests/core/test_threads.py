"""Threads: the same bits at any number, contexts that do not meet, and fork."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest

import tinytape as tt
from tinytape import models
from tinytape.nn import functional as F

from ..ops import rows
from ..ops.problem import large_problem
from ..soak.threads import in_threads as all_at_once

ROWS = rows()


def same_bits(a: np.ndarray, b: np.ndarray, what: object) -> None:
    assert a.dtype == b.dtype and a.shape == b.shape, what
    assert a.tobytes() == b.tobytes(), (what, np.abs(a - b).max())


# ---- every operation -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [tt.float32, tt.float64])
@pytest.mark.parametrize("name", sorted(ROWS))
def test_results_are_the_same_bits_at_any_number_of_threads(name, dtype, threads):
    """Forward, kernel and vjp, at a size that is cut into shards."""
    problem = large_problem(ROWS[name])
    wanted, roots = problem.wanted, [problem.expected[k] for k in problem.judged]
    cotangents = problem.like(roots) if any(wanted) and ROWS[name].differentiable else []

    def everything() -> list[np.ndarray]:
        leaves = problem.tensors(dtype)
        results = problem.run(leaves)
        if cotangents:
            ys, xs = problem.roots(results), problem.wanted_of(leaves)
            us = [tt.tensor(c, dtype=dtype) for c in cotangents]
            results += tt.grad(ys, xs, us, retain_graph=True)
            results += tt.grad(ys, xs, us, create_graph=True)
        return [x.numpy() for x in results]

    threads(1)
    expected = everything()
    for n in (2, 3):
        threads(n)
        for _ in range(2):
            for i, (a, b) in enumerate(zip(everything(), expected, strict=True)):
                same_bits(a, b, (name, n, i))


def test_copies_of_strided_tensors_are_the_same_at_any_number_of_threads(threads):
    array = np.random.default_rng(0).standard_normal((70, 50, 60))
    for n in (1, 2):
        threads(n)
        x = tt.tensor(array)
        np.testing.assert_array_equal(x.permute(2, 0, 1).numpy(), array.transpose(2, 0, 1))
        np.testing.assert_array_equal(x[::2, :, 1:].clone().numpy(), array[::2, :, 1:])
        y = tt.zeros(60, 50, 70, dtype=tt.float64)
        y.permute(2, 1, 0).copy_(x)
        np.testing.assert_array_equal(y.numpy(), array.transpose(2, 1, 0))


# ---- training ------------------------------------------------------------------------------------


def losses(steps: int = 10, seed: int = 0) -> list[float]:
    """Of a tiny transformer with dropout, clipping and AdamW."""
    generator = tt.Generator(seed)
    model = models.create("tiny", 65, context=32, dropout=0.1, generator=generator)
    optimizer = tt.optim.AdamW(model.parameters(), lr=1e-2)
    rng = np.random.default_rng(seed)
    out = []
    tokens = rng.integers(0, 65, (8, 33))
    for _ in range(steps):
        logits = model(tt.tensor(tokens[:, :-1])).reshape(-1, 65)
        loss = F.cross_entropy(logits, tt.tensor(tokens[:, 1:].reshape(-1)))
        loss.backward()
        out.append(float(tt.nn.utils.clip_grad_norm_(model.parameters(), 0.5)))
        optimizer.step()
        optimizer.zero_grad()
        out.append(loss.item())
    return out


def test_a_transformers_losses_are_the_same_bits_at_any_number_of_threads(threads):
    found = []
    for n in (1, 2, 4):
        threads(n)
        found.append(losses())
    assert found[0] == found[1] == found[2]
    assert found[0][1] > found[0][-1]


def test_optimisers_are_the_same_bits_at_any_number_of_threads(threads):
    rng = np.random.default_rng(0)
    shapes = ((300, 301), (7,), (100_000,), (0, 3))
    start = [rng.standard_normal(s) for s in shapes]
    grads = [rng.standard_normal(s) for s in shapes]

    def run(make: Callable[[list[tt.Tensor]], tt.optim.Optimizer]) -> list[np.ndarray]:
        params = [tt.tensor(a, dtype=tt.float32, requires_grad=True) for a in start]
        optimizer = make(params)
        norms = []
        for _ in range(3):
            for p, g in zip(params, grads, strict=True):
                p.grad = tt.tensor(g, dtype=tt.float32)
            norms.append(float(tt.nn.utils.clip_grad_norm_(params, 1.0)))
            optimizer.step()
        return [np.array(norms)] + [p.numpy() for p in params]

    for make in (
        lambda p: tt.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
        lambda p: tt.optim.AdamW(p, lr=0.1),
    ):
        threads(1)
        expected = run(make)
        threads(2)
        for a, b in zip(run(make), expected, strict=True):
            same_bits(a, b, "optimiser")


# ---- contexts ------------------------------------------------------------------------------------


def in_threads(*works: Callable[[], object]) -> list[object]:
    """Results of the works, each in a thread of its own, all at once."""
    results = all_at_once(list(works))
    for r in results:
        if isinstance(r, BaseException):
            raise r
    return results


@pytest.mark.parametrize("n", [1, 2])
def test_two_contexts_in_two_threads_give_the_serial_results(n, threads):
    threads(n)
    serial = [losses(seed=s) for s in (1, 2, 3)]
    together = in_threads(*[lambda s=s: losses(seed=s) for s in (1, 2, 3)])
    assert together == serial


def test_modes_belong_to_a_thread():
    with tt.no_grad():
        assert in_threads(tt.is_grad_enabled) == [True]
        assert in_threads(lambda: (tt.ones(1, requires_grad=True) * 2).requires_grad) == [True]
        assert not tt.is_grad_enabled()


def test_statistics_belong_to_a_context():
    keep = [tt.ones(1000) for _ in range(10)]
    (stats,) = in_threads(tt.memory_stats)
    assert stats["live_handles"] == stats["data_bytes"] == 0
    assert tt.memory_stats()["live_handles"] >= len(keep)


def test_errors_belong_to_a_thread():
    """Each thread reads its own last error, however the calls interleave."""

    def fail(name: str, call: Callable[[], object]) -> int:
        wrong = 0
        for _ in range(300):
            try:
                call()
            except (ValueError, IndexError) as error:
                wrong += not str(error).startswith(name)
        return wrong

    def shapes() -> int:
        x, y = tt.ones(2), tt.ones(3)
        return fail("add: shapes (2,) and (3,)", lambda: x + y)

    def indices() -> int:
        table, index = tt.ones(3, 2), tt.tensor([7])
        return fail("embedding: index 7", lambda: F.embedding(index, table))

    assert in_threads(shapes, indices, shapes, indices) == [0, 0, 0, 0]


def test_the_number_of_threads_may_change_while_others_work(threads):
    """Scratch memory is cut for the threads there are; one more must not run beyond it."""
    expected = losses(steps=4)
    done = threading.Event()

    def change() -> None:
        n = 1
        while not done.is_set():
            n = n % 6 + 1
            tt.set_num_threads(n)

    def work() -> object:
        try:
            return [losses(steps=4) for _ in range(6)]
        finally:
            done.set()

    assert in_threads(change, work)[1] == [expected] * 6


def test_the_number_of_threads():
    before = tt.get_num_threads()
    try:
        for n in (1, 3, 2):
            tt.set_num_threads(n)
            assert tt.get_num_threads() == n
        tt.set_num_threads(10**9)
        assert 1 <= tt.get_num_threads() <= 64
        for bad in (0, -1, 1.5, True, "2", None):
            with pytest.raises(ValueError, match="set_num_threads"):
                tt.set_num_threads(bad)
    finally:
        tt.set_num_threads(before)


# ---- processes -----------------------------------------------------------------------------------


def run_script(code: str, timeout: float = 120) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done.stdout


def test_fork():
    """The pool ran in the parent; the child starts its own, and so does the parent again."""
    code = """
import os, warnings
warnings.simplefilter("ignore")  # newer Pythons warn of fork in a process that had threads
import numpy as np
import tinytape as tt
tt.set_num_threads(2)
a = tt.tensor(np.random.default_rng(0).standard_normal((600, 500)))
b = tt.tensor(np.random.default_rng(1).standard_normal((500, 400)))
expected = (a @ b).numpy()
w = tt.ones(400, requires_grad=True, dtype=tt.float64)
for generation in range(3):
    child = os.fork()
    if child == 0:
        assert tt.get_num_threads() == 2
        assert ((a @ b).numpy() == expected).all()
        ((a @ b) * w).exp().mean().backward()
        assert w.grad is not None
        grandchild = os.fork()
        if grandchild == 0:
            os._exit(0 if ((a @ b).numpy() == expected).all() else 4)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert ((a @ b).numpy() == expected).all()
print("done")
"""
    assert run_script(code) == "done\n"


@pytest.mark.parametrize(
    "tail",
    [
        "",
        "cycle = [x, y]; cycle.append(cycle)",
        "f = lambda: (x, y, f)",
        "import threading; threading.Thread(target=lambda: tt.ones(300, 300).exp().sum()).start()",
        "import atexit; atexit.register(lambda: print((x @ x).sum().item() > 0))",
        "g = tt.grad(y.sum(), x, create_graph=True); sys.exit(0)",
        "class C:\n    def __del__(self): y.sum().backward()\nc = C()",
        "y.sum().backward(); tt.optim.AdamW([x]).step()",
        "y.sum().backward(); o = tt.optim.AdamW([x]); o.step(); o.me = o; sys.exit(0)",
    ],
    ids=["plain", "cycle", "globals", "thread", "atexit", "exit", "finalizer", "step", "training"],
)
def test_the_interpreter_ends_cleanly(tail):
    """With tensors, graphs and a running pool left behind in any way. The tensors are so large that
    their memory goes back to the kernel: whoever still uses it then is found out."""
    code = f"""
import sys
import tinytape as tt
tt.set_num_threads(2)
x = tt.ones(600, 600, requires_grad=True)
y = (x @ x).tanh()
function = lambda: (x, y)
{tail}
"""
    run_script(code)


def test_threads_that_come_and_go():
    """Each leaves a context behind that is given back."""
    code = """
import gc, threading
import tinytape as tt
def work(k):
    x = tt.ones(50, 50, requires_grad=True)
    loss = (x @ x).sum()
    if k % 2:
        loss.backward()
    cell = [x, loss]
    cell.append(cell)
sizes = []
for k in range(60):
    threads = [threading.Thread(target=work, args=(k,)) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    gc.collect()
    sizes.append(tt.memory_stats()["system_bytes"])
assert max(sizes[5:]) == min(sizes[5:]), sizes
"""
    run_script(code)
