"""Tensors that pass from thread to thread and from process to process."""

from __future__ import annotations

import copy
import io
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinytape as tt
from tinytape import errors, nn

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_queues_pools_and_executors(method):
    """Their threads pickle what another thread made, and unpickle what another will use."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.support.passed_around", method]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def elsewhere(function: Callable[..., Any], *args: Any) -> Any:
    """What it gives in a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *args).result(30)


def test_any_thread_may_pickle_and_copy_deeply():
    x = tt.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    assert pickle.loads(elsewhere(pickle.dumps, y)).tolist() == [3.0, 6.0]
    assert pickle.loads(bytes(elsewhere(ForkingPickler.dumps, x))).requires_grad
    again = pickle.loads(elsewhere(pickle.dumps, model))
    assert again[0].weight.tolist() == model[0].weight.tolist()

    def use() -> Any:
        own = copy.deepcopy(model)
        mine = copy.deepcopy(x)
        own(mine[None]).sum().backward()
        return [p.grad is not None for p in own.parameters()], mine.grad is not None, own

    grads, mine, own = elsewhere(use)
    assert all(grads) and mine and all(p.grad is None for p in model.parameters())
    y.sum().backward()  # nothing here has noticed
    assert x.grad.tolist() == [3.0, 3.0]
    with pytest.raises(errors.ThreadError):
        own(x[None])


def test_an_unpickled_tensor_belongs_to_the_thread_that_first_uses_it():
    data = pickle.dumps(nn.Linear(2, 3))
    layer = elsewhere(pickle.loads, data)  # never used there
    assert layer(tt.ones(1, 2)).shape == (1, 3)
    with pytest.raises(errors.ThreadError):
        elsewhere(layer, tt.ones(1, 2))
    box: queue.Queue[nn.Module] = queue.Queue()
    box.put(pickle.loads(data))
    assert elsewhere(lambda: box.get()(tt.ones(1, 2)).numpy().shape) == (1, 3)


def test_threads_that_use_it_at_once_agree_on_one_owner():
    for _ in range(50):
        x = pickle.loads(pickle.dumps(tt.ones(2)))
        start = threading.Barrier(4)

        def use(x: tt.Tensor = x, start: threading.Barrier = start) -> list[float] | None:
            start.wait(10)
            try:
                return (x + 1).tolist()
            except errors.ThreadError:
                return None

        with ThreadPoolExecutor(4) as pool:
            found = [f.result(30) for f in [pool.submit(use) for _ in range(4)]]
        assert sorted(found, key=str) == [None, None, None, [2.0, 2.0]] or found.count(None) == 3


def test_a_result_of_a_thread_pool_is_refused_with_what_to_do():
    x = elsewhere(lambda: tt.ones(2) * 3)
    with pytest.raises(errors.ThreadError, match=r"another thread.*numpy.*copy\.deepcopy"):
        x.tolist()
    with pytest.raises(errors.ThreadError, match=r"numpy.*copy\.deepcopy"):
        tt.ones(2) + x
    assert copy.deepcopy(x).tolist() == [3.0, 3.0]


def pickled_while(work: Callable[[threading.Event], None], tensors: list[tt.Tensor]) -> list[Any]:
    """What another thread reads of these tensors while this one works."""
    seen: list[Any] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set() or not seen:
            seen.append([pickle.loads(pickle.dumps(x)).numpy() for x in tensors])

    reader = ThreadPoolExecutor(1)
    reading = reader.submit(read)
    try:
        work(done)
    finally:
        done.set()
        reading.result(60)
        reader.shutdown()
    return seen


def test_values_are_read_whole_while_their_owner_changes_them():
    """A pickle holds what a tensor was between two changes, by whichever means it is changed."""
    x = nn.Parameter(tt.zeros(300_000))
    x.grad = tt.full((300_000,), -1.0)
    optimizer = tt.optim.SGD([x], lr=1.0)

    def work(done: threading.Event) -> None:
        for k in range(60):
            optimizer.step()
            x.detach().fill_(float(k))
            x.detach().copy_(np.full(300_000, float(k)))
            (x * 1.0).sum().backward()

    for values, grads in pickled_while(work, [x, x.grad]):
        assert (values == values[0]).all() and (grads == grads[0]).all()


def test_values_are_read_while_their_step_ends():
    """Results lie where the step's memory is, and move out of it when it ends."""
    x = tt.ones(1000, requires_grad=True)
    held = [(x * k).exp() for k in (0.0, 1.0)]
    kept = [k.numpy() for k in held]

    def work(done: threading.Event) -> None:
        for round in range(30):
            if round == 15:
                sum((y.sum() for y in held), tt.zeros(())).backward()
            many = [tt.ones(3) for _ in range(300)]  # the table of handles grows
            (x * 2).exp().sum().backward()
            del many

    for found in pickled_while(work, held):
        assert all((a == b).all() for a, b in zip(found, kept, strict=True))


def test_a_hostile_pickle_is_refused_when_it_is_used():
    """What a tensor cannot be made from is an error of its first use, each time."""
    from tinytape.copying import rebuild

    x = rebuild(np.array(["a"]), False)
    for _ in range(2):
        with pytest.raises(errors.DTypeError):
            x.tolist()
    buffer = io.BytesIO()
    pickle.dump(x, buffer)  # it has only been handed on
