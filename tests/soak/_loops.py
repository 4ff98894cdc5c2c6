"""Loops that must run in flat memory: ``python -m tests.soak._loops NAME STEPS`` runs one of them.

It prints what ``memory_stats()`` and the kernel say after 200 steps and at the end, as JSON.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import tinytape as tt
from tinytape import models, nn
from tinytape.nn import functional as F

SETTLED = 200
BATCH, CONTEXT, VOCAB = 2, 8, 65


def transformer() -> tuple[nn.Module, tt.optim.Optimizer, Callable[[], tt.Tensor]]:
    model = models.create("tiny", VOCAB, context=CONTEXT, generator=tt.Generator(1))
    optimizer = tt.optim.AdamW(model.parameters(), lr=1e-3)
    rng = np.random.default_rng(0)

    def loss() -> tt.Tensor:
        tokens = rng.integers(0, VOCAB, (BATCH, CONTEXT + 1))
        logits = model(tt.tensor(tokens[:, :-1]))
        return F.cross_entropy(logits.reshape(-1, VOCAB), tt.tensor(tokens[:, 1:].reshape(-1)))

    return model, optimizer, loss


def training() -> Callable[[], None]:
    model, optimizer, loss = transformer()

    def step() -> None:
        loss().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def no_grad() -> Callable[[], None]:
    _, _, loss = transformer()

    def step() -> None:
        with tt.no_grad():
            loss().item()

    return step


def second_order() -> Callable[[], None]:
    """A gradient's norm is part of the loss."""
    generator = tt.Generator(1)
    layers = [nn.Linear(6, 6, generator=generator) for _ in range(2)]
    params = [p for layer in layers for p in layer.parameters()]
    optimizer = tt.optim.Adam(params, lr=1e-3)
    rng = np.random.default_rng(0)

    def step() -> None:
        x = tt.tensor(rng.standard_normal((4, 6)), dtype=tt.float32, requires_grad=True)
        y = F.layer_norm(layers[1](F.gelu(layers[0](x))), (6,)).square().mean()
        (g,) = tt.grad(y, x, create_graph=True)
        (y + g.square().sum()).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


class Interrupted(Exception):
    pass


def raise_it(_: tt.Tensor) -> None:
    raise Interrupted


def exceptions() -> Callable[[], None]:
    """In the forward, before backward, in backward, in the engine, after backward."""
    model, optimizer, loss = transformer()

    def attempt(place: int) -> None:
        hidden = model.token_embedding(tt.tensor(np.arange(CONTEXT)[None]))
        if place == 0:
            raise Interrupted
        value = loss() + hidden.square().mean()
        if place == 1:
            raise Interrupted
        if place == 2:
            hidden.register_hook(raise_it)
        if place == 3:
            value = value + tt.zeros(5, 7) + tt.zeros(6)
        value.backward()
        if place == 4:
            raise Interrupted
        optimizer.step()

    def step() -> None:
        for place in range(6):  # the sixth ends well
            with contextlib.suppress(Interrupted, ValueError):
                attempt(place)
            optimizer.zero_grad()

    return step


def recurrent() -> Callable[[], None]:
    """A state that is carried from step to step and cut off its graph."""
    generator = tt.Generator(1)
    lstm, head = nn.LSTM(5, 8, generator=generator), nn.Linear(8, 5, generator=generator)
    optimizer = tt.optim.Adam([*lstm.parameters(), *head.parameters()], lr=1e-3)
    rng = np.random.default_rng(0)
    state = (tt.zeros(1, 3, 8), tt.zeros(1, 3, 8))

    def step() -> None:
        nonlocal state
        x = tt.tensor(rng.standard_normal((4, 3, 5)), dtype=tt.float32)
        y, state = lstm(x, state)
        state = tuple(s.detach() for s in state)
        F.mse_loss(head(y), x).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


LOOPS = {f.__name__: f for f in (training, no_grad, second_order, exceptions, recurrent)}


def resident() -> int | None:
    """Bytes of this process that are in RAM; None where the system does not say."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def measure(name: str, steps: int) -> list[dict[str, Any]]:
    """Blocks, bytes and residence after 200 steps and at the end."""
    step = LOOPS[name]()
    seen = []
    for i in range(steps):
        step()
        if i + 1 in (SETTLED, steps):
            gc.collect()
            seen.append({**tt.memory_stats(), "resident": resident()})
    return seen


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
