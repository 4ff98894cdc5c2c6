"""The cases in tinytape, as a user would write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinytape as tt
from tinytape import models, nn, optim, sampling
from tinytape.nn import functional as F

from .cases import ALPHABET, LSTM_PARAMETERS
from .inputs import Tokens, adam_weights, gpt_weights, lstm_weights, op_inputs

Step = Callable[[], Any]


def start(threads: int, compiled: bool) -> dict[str, Any]:
    tt.set_num_threads(threads)
    return {"tinytape": tt.__version__, **{f"tinytape_{k}": v for k, v in tt.get_config().items()}}


def stats() -> dict[str, int]:
    return tt.memory_stats()


def _gpt_model(sizes: dict[str, Any]) -> models.GPT:
    names = ("vocab_size", "context", "width", "heads", "layers")
    model = models.GPT(models.GPTConfig(**{name: sizes[name] for name in names}))
    model.load_state_dict(gpt_weights(sizes))
    return model


def gpt(sizes: dict[str, Any], ids: np.ndarray) -> Step:
    model = _gpt_model(sizes)
    vocabulary = sizes["vocab_size"]
    tokens = Tokens(ids, vocabulary)
    parameters = list(model.parameters())
    optimizer = optim.AdamW(parameters, lr=1e-3)

    def step() -> float:
        x, y = tokens.windows(sizes["batch"], sizes["context"])
        logits = model(tt.tensor(x))
        loss = F.cross_entropy(logits.reshape(-1, vocabulary), tt.tensor(y).reshape(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.item())

    return step


class FeedForward(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, hidden)
        self.proj = nn.Linear(hidden, width)

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        out: tt.Tensor = self.proj(
            F.linear_activation(x, self.fc.weight, self.fc.bias, activation="gelu")
        )
        return out


class CharacterLSTM(nn.Module):
    def __init__(self, vocabulary: int, width: int = 256) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(width, width)
        self.ff1 = FeedForward(width, 2 * width)
        self.ff2 = FeedForward(width, 2 * width)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, x: tt.Tensor, state: Any) -> Any:
        y, state = self.lstm(self.embedding(x), state)
        return self.head(self.ff2(self.ff1(y))), state


def lstm(sizes: dict[str, Any], ids: np.ndarray) -> Step:
    model = CharacterLSTM(ALPHABET)
    model.load_state_dict(lstm_weights(ALPHABET))
    parameters = list(model.parameters())
    assert sum(p.numel() for p in parameters) == LSTM_PARAMETERS
    tokens = Tokens(ids, ALPHABET)
    optimizer = optim.Adam(parameters, lr=1e-3)
    state: Any = None

    def step() -> float:
        nonlocal state
        x, y = tokens.lanes(sizes["batch"], sizes["length"])
        logits, (h, c) = model(tt.tensor(x), state)
        state = h.detach(), c.detach()
        loss = F.cross_entropy(logits.reshape(-1, ALPHABET), tt.tensor(y).reshape(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.item())

    return step


def generate(sizes: dict[str, Any], ids: np.ndarray) -> Step:
    model = _gpt_model(sizes)
    count = sizes["context"]

    def step() -> float:
        made = list(sampling.generate(model, [0], count, temperature=0))
        return float(made[-1])

    return step


def _adam(of: str) -> Step:
    parameters = [tt.nn.Parameter(tt.tensor(a)) for a in adam_weights(of)]
    for p in parameters:
        p.grad = tt.full_like(p, 0.01)
    return optim.AdamW(parameters, lr=1e-3).step


def op(sizes: dict[str, Any], ids: np.ndarray) -> Step:
    name = sizes["op"]
    if name == "adam":
        return _adam(sizes["of"])
    arrays, dy_array, indices = op_inputs(sizes)
    inputs = [tt.tensor(a, requires_grad=True) for a in arrays]
    dy = tt.tensor(dy_array)
    at = None if indices is None else tt.tensor(indices)
    if name == "add":
        a, b = inputs
        return lambda: a + b  # recorded, and let go
    forward: dict[str, Callable[..., tt.Tensor]] = {
        "matmul": tt.matmul,
        "layer_norm": lambda x, w, b: F.layer_norm(x, (x.shape[-1],), w, b),
        "gelu": F.gelu,
        "softmax": lambda x: F.softmax(x, -1),
        "cross_entropy": lambda x: F.cross_entropy(x, at),
        "attention": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        "embedding": lambda w: F.embedding(at, w),
    }
    function = forward[name]

    def step() -> None:
        function(*inputs).backward(dy)
        for x in inputs:
            x.grad = None

    return step
