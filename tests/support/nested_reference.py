"""A nested model in numpy and float64, with a backward pass derived by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
EPS = 1e-5
_erf = np.vectorize(math.erf, otypes=[np.float64])


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


class Grads(dict[str, Array]):
    """Gradients by name that add up."""

    def add(self, name: str, value: Array) -> None:
        self[name] = self.get(name, 0) + value


class Norm:
    def __init__(self, weights: dict[str, Array], prefix: str) -> None:
        self.on = f"{prefix}.norm.weight" in weights
        self.weights, self.prefix = weights, f"{prefix}.norm"

    def forward(self, x: Array) -> Array:
        if not self.on:
            return x
        centred = x - x.mean(-1, keepdims=True)
        self.inverse = 1 / np.sqrt((centred**2).mean(-1, keepdims=True) + EPS)
        self.unit = centred * self.inverse
        return (
            self.unit * self.weights[f"{self.prefix}.weight"] + self.weights[f"{self.prefix}.bias"]
        )

    def backward(self, dy: Array, grads: Grads) -> Array:
        if not self.on:
            return dy
        grads.add(f"{self.prefix}.weight", (dy * self.unit).sum((0, 1)))
        grads.add(f"{self.prefix}.bias", dy.sum((0, 1)))
        d = dy * self.weights[f"{self.prefix}.weight"]
        mean, along = d.mean(-1, keepdims=True), (d * self.unit).mean(-1, keepdims=True)
        return self.inverse * (d - mean - self.unit * along)


class Fast:
    """The LSTM, token by token; ``marks`` (B, T) make the state zero before a token."""

    def __init__(self, weights: dict[str, Array], residual: bool) -> None:
        self.w = {k.split(".")[1]: v for k, v in weights.items() if k.startswith("level1_fast.")}
        self.norm, self.residual = Norm(weights, "level1_fast"), residual

    def forward(self, x: Array, h: Array, c: Array, marks: Array | None = None):
        self.x = self.norm.forward(x)
        self.marks = np.zeros(x.shape[:2], bool) if marks is None else marks
        self.steps, outputs, w = [], [], self.w
        for t in range(x.shape[1]):
            keep = ~self.marks[:, t, None]
            h, c = h * keep, c * keep
            gates = self.x[:, t] @ w["weight_ih_l0"].T + w["bias_ih_l0"]
            gates = gates + h @ w["weight_hh_l0"].T + w["bias_hh_l0"]
            i, f, g, o = np.split(gates, 4, axis=1)
            i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
            new = f * c + i * g
            self.steps.append((h, c, i, f, g, o, new, keep))
            h, c = o * np.tanh(new), new
            outputs.append(h)
        y = np.stack(outputs, 1)
        return (x + y if self.residual else y), h, c

    def backward(self, dy: Array, grads: Grads) -> Array:
        dx = np.zeros_like(self.x)
        dh, dc = np.zeros_like(dy[:, 0]), np.zeros_like(dy[:, 0])
        for t in reversed(range(dy.shape[1])):
            h, c, i, f, g, o, new, keep = self.steps[t]
            dh = dh + dy[:, t]
            tanh = np.tanh(new)
            dc = dc + dh * o * (1 - tanh**2)
            dgates = np.concatenate(
                [
                    dc * g * i * (1 - i),
                    dc * c * f * (1 - f),
                    dc * i * (1 - g**2),
                    dh * tanh * o * (1 - o),
                ],
                axis=1,
            )
            grads.add("level1_fast.weight_ih_l0", dgates.T @ self.x[:, t])
            grads.add("level1_fast.weight_hh_l0", dgates.T @ h)
            grads.add("level1_fast.bias_ih_l0", dgates.sum(0))
            grads.add("level1_fast.bias_hh_l0", dgates.sum(0))
            dx[:, t] = dgates @ self.w["weight_ih_l0"]
            dh, dc = dgates @ self.w["weight_hh_l0"] * keep, dc * f * keep
        dx = self.norm.backward(dx, grads)
        return dx + dy if self.residual else dx


class Feed:
    def __init__(self, weights: dict[str, Array], name: str, residual: bool) -> None:
        self.w, self.name, self.residual = weights, name, residual
        self.norm = Norm(weights, name)

    def forward(self, x: Array, memory: Array | None = None) -> Array:
        w, n = self.w, self.name
        self.memory = memory
        inner = x if memory is None else x + w[f"{n}.memory_gain"] * memory[:, None]
        self.x = self.norm.forward(inner)
        self.z = self.x @ w[f"{n}.fc.weight"].T + w[f"{n}.fc.bias"]
        self.distribution = 0.5 * (1 + _erf(self.z / np.sqrt(2)))
        self.a = self.z * self.distribution
        y = self.a @ w[f"{n}.proj.weight"].T + w[f"{n}.proj.bias"]
        return x + y if self.residual else y

    def backward(self, dy: Array, grads: Grads) -> Array:
        w, n = self.w, self.name
        grads.add(f"{n}.proj.weight", np.einsum("bto,bti->oi", dy, self.a))
        grads.add(f"{n}.proj.bias", dy.sum((0, 1)))
        bell = np.exp(-0.5 * self.z**2) / np.sqrt(2 * np.pi)
        dz = (dy @ w[f"{n}.proj.weight"]) * (self.distribution + self.z * bell)
        grads.add(f"{n}.fc.weight", np.einsum("bto,bti->oi", dz, self.x))
        grads.add(f"{n}.fc.bias", dz.sum((0, 1)))
        dx = self.norm.backward(dz @ w[f"{n}.fc.weight"], grads)
        if self.memory is not None:
            grads.add(f"{n}.memory_gain", (dx.sum(1) * self.memory).sum(0))
        return dx + dy if self.residual else dx


class Reference:
    """Levels in sequence with the state that they carry; ``decay`` by level for memories."""

    def __init__(self, weights: dict[str, Array], residual: bool, decay: dict[str, float]) -> None:
        self.fast = Fast(weights, residual)
        self.slow = [Feed(weights, n, residual) for n in ("level2_medium", "level3_slow")]
        self.decay = decay
        self.h = self.c = None
        self.memory: dict[str, Array] = {}

    def forward(self, x: Array, marks: Array | None = None) -> list[Array]:
        """The outputs of the levels."""
        zeros = np.zeros((x.shape[0], x.shape[2]))
        if self.h is None:
            self.h = self.c = zeros
            self.memory = dict.fromkeys(self.decay, zeros)
        y, self.h, self.c = self.fast.forward(x, self.h, self.c, marks)
        outputs = [y]
        for level in self.slow:
            m = self.memory.get(level.name)
            y = level.forward(y, m)
            if m is not None:
                d = self.decay[level.name]
                self.memory[level.name] = d * m + (1 - d) * y.mean(1)
            outputs.append(y)
        return outputs

    def backward(self, dy: Array, extra: dict[int, Array] | None = None):
        """(gradients of the weights, of x); ``extra`` is added to the gradient at an output."""
        grads, extra = Grads(), extra or {}
        for i in (2, 1):
            dy = self.slow[i - 1].backward(dy + extra.get(i, 0), grads)
        return grads, self.fast.backward(dy + extra.get(0, 0), grads)
