"""Passes tensors and models between processes: python -m tests.support.passed_around METHOD

Prints "done", or ends with a traceback. If it hangs, it is ended after a hundred seconds.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import tinytape as tt
from tinytape import nn


def double(x: tt.Tensor) -> tt.Tensor:
    return x * 2


def trained(model: nn.Module) -> nn.Module:
    """After a step, as the caller would have made it."""
    model(tt.ones(1, 3)).sum().backward()
    tt.optim.SGD(model.parameters(), lr=0.5).step()
    return model


def relay(inbox: Any, outbox: Any) -> None:
    for x in iter(inbox.get, None):
        outbox.put(double(x))
        outbox.put(x)  # what it came with, once more
    weight = nn.Parameter(tt.full((2,), 5.0))
    outbox.put({"weight": weight, "loss": (weight * weight).sum()})


def queues(context: Any) -> None:
    inbox, outbox = context.Queue(), context.Queue()
    worker = context.Process(target=relay, args=(inbox, outbox))
    worker.start()
    x = tt.tensor([1.0, 2.0], requires_grad=True)
    for made in (x, x * 3, x.detach()):
        inbox.put(made)
        assert outbox.get(timeout=30).tolist() == (made * 2).tolist()
        assert outbox.get(timeout=30).requires_grad == made.requires_grad
    inbox.put(None)
    found = outbox.get(timeout=30)
    assert type(found["weight"]) is nn.Parameter and found["loss"].item() == 50.0
    (found["weight"] * x).sum().backward()  # it meets tensors of this thread
    assert x.grad is not None and x.grad.tolist() == [5.0, 5.0]
    worker.join(30)
    assert worker.exitcode == 0


def pools(context: Any) -> None:
    tensors = [tt.full((3,), float(k)) for k in range(5)]
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    with context.Pool(2) as pool:
        found = pool.map(double, tensors) + list(pool.imap(double, tensors))
        found += [pool.apply_async(double, (x,)).get(30) for x in tensors]
        models = [pool.apply(trained, (model,))]
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        found += executor.map(double, tensors, timeout=30)
        models.append(executor.submit(trained, model).result(30))
    assert [x.tolist() for x in found] == [[2.0 * k] * 3 for k in range(5)] * 4
    assert sum(found[:5], tt.zeros(3)).tolist() == [20.0] * 3
    expected = trained(model).state_dict()
    for other in models:
        for name, value in other.state_dict().items():
            assert value.tolist() == expected[name].tolist(), name
        trained(other)  # and on, in this process


if __name__ == "__main__":
    faulthandler.dump_traceback_later(100, exit=True)
    method = multiprocessing.get_context(sys.argv[1])
    queues(method)
    pools(method)
    print("done")
