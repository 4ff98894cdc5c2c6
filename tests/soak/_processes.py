"""A few training steps, alone, among threads, and in processes that come and go.

``python -m tests.soak._processes forks N`` forks N times; ``... exit KIND`` ends with something
left behind. Both end with status 0 and no output when nothing is wrong.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import tinytape as tt
from tinytape import models, nn
from tinytape.nn import functional as F

VOCAB, CONTEXT = 65, 16


def train(steps: int, seed: int) -> bytes:
    """The losses, gradient norms and last weights of a tiny transformer with dropout."""
    generator = tt.Generator(seed)
    model = models.create("tiny", VOCAB, context=CONTEXT, dropout=0.1, generator=generator)
    optimizer = tt.optim.AdamW(model.parameters(), lr=1e-2)
    rng = np.random.default_rng(seed)
    numbers = []
    for _ in range(steps):
        tokens = rng.integers(0, VOCAB, (4, CONTEXT + 1))
        logits = model(tt.tensor(tokens[:, :-1])).reshape(-1, VOCAB)
        loss = F.cross_entropy(logits, tt.tensor(tokens[:, 1:].reshape(-1)))
        loss.backward()
        numbers += [loss.item(), nn.utils.clip_grad_norm_(model.parameters(), 0.5).item()]
        optimizer.step()
        optimizer.zero_grad()
    return np.array(numbers).tobytes() + b"".join(p.numpy().tobytes() for p in model.parameters())


def product() -> bytes:
    """Large enough for two threads."""
    generator = tt.Generator(3)
    a, b = tt.randn(300, 300, generator=generator), tt.randn(300, 300, generator=generator)
    return (a @ b).numpy().tobytes()


def train_for_ever() -> None:
    while True:
        train(1, 5)


def in_background() -> None:
    threading.Thread(target=train_for_ever, daemon=True).start()
    time.sleep(0.02)


# ---- forks ---------------------------------------------------------------------------------------


def child(expected: tuple[bytes, bytes], leave: Callable[[int], Any]) -> None:
    signal.alarm(120)  # a child that hangs is ended, and its status says so
    status = 1
    try:
        status = 0 if (product(), train(1, 1)) == expected else 3
    except BaseException:
        traceback.print_exc()
    leave(status)


def forks(n: int) -> int:
    """By turns the child ends at once and as an interpreter does; half of the time another thread
    is in the middle of something."""
    warnings.simplefilter("ignore", DeprecationWarning)  # of forks among threads
    tt.set_num_threads(2)
    expected = product(), train(1, 1)
    for i in range(n):
        # The sanitizer's own allocator does not survive a fork among threads.
        if i == n // 2 and "libasan" not in os.environ.get("LD_PRELOAD", ""):
            in_background()
        pid = os.fork()
        if pid == 0:
            child(expected, os._exit if i % 2 else sys.exit)
        same = (product(), train(1, 1)) == expected
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status or not same:
            print(
                f"fork {i}: the child ended with {status}, the parent's bits are "
                f"{'the same' if same else 'others'}"
            )
            return 1
    return 0


def spawned(connection: Any) -> None:
    """What a process that was spawned sends back."""
    tt.set_num_threads(2)
    connection.send_bytes(product() + train(2, 1))
    connection.close()


# ---- the end of the interpreter ------------------------------------------------------------------

left_behind: list[Any] = []


def leave_tensors() -> None:
    left_behind.append(tt.ones(600, 600) @ tt.ones(600, 600))


def leave_a_graph() -> None:
    x = tt.ones(600, 600, requires_grad=True)
    left_behind.extend([x, (x @ x).tanh(), left_behind])


def leave_a_thread() -> None:
    in_background()


def leave_a_pass() -> None:
    """The end comes in a hook, in the middle of a backward pass."""
    x = tt.ones(600, 600, requires_grad=True)
    y = (x @ x).tanh()
    y.register_hook(lambda g: sys.exit(0))
    left_behind.append(y)
    y.sum().backward()


EXITS = {f.__name__: f for f in (leave_tensors, leave_a_graph, leave_a_thread, leave_a_pass)}


if __name__ == "__main__":
    if sys.argv[1] == "forks":
        sys.exit(forks(int(sys.argv[2])))
    tt.set_num_threads(2)
    EXITS[sys.argv[2]]()
