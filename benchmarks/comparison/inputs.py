"""What all engines are given alike: the tokens of a corpus, and weights drawn with numpy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


class Tokens:
    """Batches of ids, the same sequence of them in every engine.

    Args:
        ids: of the corpus, any unsigned integers.
        vocabulary: ids from there on are folded back, so that any corpus fits any model.
    """

    def __init__(self, ids: np.ndarray, vocabulary: int) -> None:
        self.ids = (ids % vocabulary).astype(np.int64)
        self._random = np.random.default_rng(1)
        self._at = 0

    def windows(self, batch: int, length: int) -> tuple[np.ndarray, np.ndarray]:
        """x and the targets y, (batch, length), from random places."""
        starts = self._random.integers(0, len(self.ids) - length, batch)
        window = self.ids[starts[:, None] + np.arange(length + 1)]
        return np.ascontiguousarray(window[:, :-1]), np.ascontiguousarray(window[:, 1:])

    def lanes(self, batch: int, length: int) -> tuple[np.ndarray, np.ndarray]:
        """x and y, (length, batch): each column goes on where it ended in the call before."""
        lane = len(self.ids) // batch
        places = self._at + np.arange(length + 1)[:, None] + lane * np.arange(batch)
        self._at = (self._at + length) % lane
        window = self.ids[places % len(self.ids)]
        return window[:-1], window[1:]


def gpt_weights(sizes: dict[str, Any]) -> Arrays:
    """By the names of tinytape.models.GPT, which the PyTorch twin has too."""
    random = np.random.default_rng(0)
    C, V, T, L = (sizes[name] for name in ("width", "vocab_size", "context", "layers"))
    out: Arrays = {}

    def normal(name: str, *shape: int, std: float = 0.02) -> None:
        out[name] = (std * random.standard_normal(shape)).astype(np.float32)

    def linear(name: str, n: int, k: int, std: float = 0.02) -> None:
        normal(f"{name}.weight", n, k, std=std)
        out[f"{name}.bias"] = np.zeros(n, np.float32)

    def norm(name: str) -> None:
        out[f"{name}.weight"] = np.ones(C, np.float32)
        out[f"{name}.bias"] = np.zeros(C, np.float32)

    normal("token_embedding.weight", V, C)
    normal("position_embedding.weight", T, C)
    for i in range(L):
        block = f"blocks.{i}"
        norm(f"{block}.norm1")
        linear(f"{block}.attention.qkv", 3 * C, C)
        linear(f"{block}.attention.proj", C, C, 0.02 / math.sqrt(2 * L))
        norm(f"{block}.norm2")
        linear(f"{block}.mlp.fc", 4 * C, C)
        linear(f"{block}.mlp.proj", C, 4 * C, 0.02 / math.sqrt(2 * L))
    norm("norm")
    linear("head", V, C)
    return out


def lstm_weights(vocabulary: int, width: int = 256) -> Arrays:
    """The LSTM model: embedding, LSTM, two feed-forward blocks with GELU, head."""
    random = np.random.default_rng(0)
    out: Arrays = {}

    def uniform(name: str, *shape: int, fan_in: int = width) -> None:
        bound = 1.0 / math.sqrt(fan_in)
        out[name] = random.uniform(-bound, bound, shape).astype(np.float32)

    def linear(name: str, n: int, k: int) -> None:
        uniform(f"{name}.weight", n, k, fan_in=k)
        uniform(f"{name}.bias", n, fan_in=k)

    out["embedding.weight"] = random.standard_normal((vocabulary, width)).astype(np.float32)
    for name in ("weight_ih_l0", "weight_hh_l0"):
        uniform(f"lstm.{name}", 4 * width, width)
    for name in ("bias_ih_l0", "bias_hh_l0"):
        uniform(f"lstm.{name}", 4 * width)
    for block in ("ff1", "ff2"):
        linear(f"{block}.fc", 2 * width, width)
        linear(f"{block}.proj", width, 2 * width)
    linear("head", vocabulary, width)
    return out


def adam_weights(of: str) -> list[np.ndarray]:
    """Parameters for the optimiser alone."""
    if of == "10M":
        return [np.full((1000, 1000), 0.1, np.float32) for _ in range(10)]
    from .cases import SMALL

    return list(gpt_weights(SMALL).values())


def op_inputs(sizes: dict[str, Any]) -> tuple[list[np.ndarray], np.ndarray, np.ndarray | None]:
    """Of a single operation: its float inputs, the gradient of its output, and integers."""
    random = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype(np.float32)

    op = sizes["op"]
    if op == "add":
        return [normal(*sizes["shape"]), normal(*sizes["shape"])], normal(*sizes["shape"]), None
    if op == "matmul":
        m, n, k = sizes["m"], sizes["n"], sizes["k"]
        return [normal(m, k), normal(k, n)], normal(m, n), None
    if op == "embedding":
        ids = random.integers(0, sizes["vocab"], sizes["rows"])
        width = sizes["width"]
        return [normal(sizes["vocab"], width)], normal(sizes["rows"], width), ids
    shape = tuple(sizes["shape"])
    if op == "attention":
        return [normal(*shape) for _ in range(3)], normal(*shape), None
    if op == "cross_entropy":
        return [normal(*shape)], np.float32(1.0).reshape(()), random.integers(0, shape[1], shape[0])
    if op == "layer_norm":
        return [normal(*shape), normal(shape[1]), normal(shape[1])], normal(*shape), None
    return [normal(*shape)], normal(*shape), None
