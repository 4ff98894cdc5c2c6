"""The GPT of ``tinytape.models.gpt`` again, in plain numpy with a hand-written backward, and AdamW.

It shares no code with the library: it is the second opinion. Weights come and go as a dict of
arrays under the library's parameter names. Nothing is fused and nothing is fast; each line is one
equation. ``tests/nn/test_reference.py`` checks the backward against central differences first, and
only then lets it judge the engine.

Shapes: B batch, T positions, C width, H heads, D = C / H, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

Arrays = dict[str, np.ndarray]

LAYER_NORM_EPS = 1e-5
_erf = np.vectorize(math.erf, otypes=[np.float64])


@dataclass(frozen=True)
class Size:
    """The five numbers that fix the shape of every weight."""

    vocab: int
    context: int
    width: int
    heads: int
    layers: int

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every weight, in the library's order."""
        C = self.width
        shapes: dict[str, tuple[int, ...]] = {
            "token_embedding.weight": (self.vocab, C),
            "position_embedding.weight": (self.context, C),
        }
        for i in range(self.layers):
            block = f"blocks.{i}"
            shapes |= {
                f"{block}.norm1.weight": (C,),
                f"{block}.norm1.bias": (C,),
                f"{block}.attention.qkv.weight": (3 * C, C),
                f"{block}.attention.qkv.bias": (3 * C,),
                f"{block}.attention.proj.weight": (C, C),
                f"{block}.attention.proj.bias": (C,),
                f"{block}.norm2.weight": (C,),
                f"{block}.norm2.bias": (C,),
                f"{block}.mlp.fc.weight": (4 * C, C),
                f"{block}.mlp.fc.bias": (4 * C,),
                f"{block}.mlp.proj.weight": (C, 4 * C),
                f"{block}.mlp.proj.bias": (C,),
            }
        return shapes | {
            "norm.weight": (C,),
            "norm.bias": (C,),
            "head.weight": (self.vocab, C),
            "head.bias": (self.vocab,),
        }


def random_weights(size: Size, seed: int, scale: float = 0.3) -> Arrays:
    """Weights with every entry away from its usual initial value, biases too, so nothing hides."""
    rng = np.random.default_rng(seed)
    weights = {name: scale * rng.standard_normal(shape) for name, shape in size.shapes().items()}
    for name in weights:
        if "norm" in name and name.endswith("weight"):
            weights[name] += 1.0
    return weights


# --- layers: each forward returns its output and what its backward needs ------------------------


def linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """(..., I) with weight (O, I) -> (..., O)."""
    return x @ weight.T + bias


def linear_backward(dout: np.ndarray, x: np.ndarray, weight: np.ndarray, d: Arrays, name: str):
    """Adds dweight and dbias under ``name`` to ``d``; returns dx."""
    flat_dout, flat_x = dout.reshape(-1, dout.shape[-1]), x.reshape(-1, x.shape[-1])
    d[f"{name}.weight"] += flat_dout.T @ flat_x
    d[f"{name}.bias"] += flat_dout.sum(axis=0)
    return dout @ weight


def layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray):
    """Ba et al. 2016, over the last axis with the biased variance."""
    mean = x.mean(axis=-1, keepdims=True)
    rstd = 1.0 / np.sqrt(((x - mean) ** 2).mean(axis=-1, keepdims=True) + LAYER_NORM_EPS)
    xhat = (x - mean) * rstd
    return xhat * weight + bias, (xhat, rstd)


def layer_norm_backward(dout: np.ndarray, saved, weight: np.ndarray, d: Arrays, name: str):
    xhat, rstd = saved
    d[f"{name}.weight"] += (dout * xhat).reshape(-1, xhat.shape[-1]).sum(axis=0)
    d[f"{name}.bias"] += dout.reshape(-1, xhat.shape[-1]).sum(axis=0)
    dxhat = dout * weight
    mean_dxhat = dxhat.mean(axis=-1, keepdims=True)
    mean_dxhat_xhat = (dxhat * xhat).mean(axis=-1, keepdims=True)
    return rstd * (dxhat - mean_dxhat - xhat * mean_dxhat_xhat)


def gelu(x: np.ndarray) -> np.ndarray:
    """x * Phi(x), the exact form (Hendrycks and Gimpel 2016)."""
    return (0.5 * x * (1.0 + _erf(x / math.sqrt(2.0)))).astype(x.dtype)


def gelu_backward(dout: np.ndarray, x: np.ndarray) -> np.ndarray:
    Phi = 0.5 * (1.0 + _erf(x / math.sqrt(2.0)))
    phi = np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
    return (dout * (Phi + x * phi)).astype(x.dtype)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def attention(qkv: np.ndarray, heads: int):
    """Causal multi-head attention from (B, T, 3C) to (B, T, C); Vaswani et al. 2017, eq. 1."""
    B, T, C3 = qkv.shape
    D = C3 // 3 // heads
    q, k, v = qkv.reshape(B, T, 3, heads, D).transpose(2, 0, 3, 1, 4)  # each (B, H, T, D)
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(D)
    scores = np.where(np.tri(T, dtype=bool), scores, -np.inf).astype(qkv.dtype)
    P = softmax(scores)  # (B, H, T, T)
    return (P @ v).transpose(0, 2, 1, 3).reshape(B, T, C3 // 3), (q, k, v, P)


def attention_backward(dout: np.ndarray, saved) -> np.ndarray:
    q, k, v, P = saved
    B, H, T, D = q.shape
    dout = dout.reshape(B, T, H, D).transpose(0, 2, 1, 3)
    dv = P.swapaxes(-1, -2) @ dout
    dP = dout @ v.swapaxes(-1, -2)
    dscores = P * (dP - (dP * P).sum(axis=-1, keepdims=True)) / math.sqrt(D)
    dq = dscores @ k
    dk = dscores.swapaxes(-1, -2) @ q
    dqkv = np.stack([dq, dk, dv])  # (3, B, H, T, D)
    return dqkv.transpose(1, 3, 0, 2, 4).reshape(B, T, 3 * H * D)


# --- the model ----------------------------------------------------------------------------------


def _block(x: np.ndarray, w: Arrays, name: str, heads: int):
    n1, saved_n1 = layer_norm(x, w[f"{name}.norm1.weight"], w[f"{name}.norm1.bias"])
    qkv = linear(n1, w[f"{name}.attention.qkv.weight"], w[f"{name}.attention.qkv.bias"])
    a, saved_a = attention(qkv, heads)
    x = x + linear(a, w[f"{name}.attention.proj.weight"], w[f"{name}.attention.proj.bias"])
    n2, saved_n2 = layer_norm(x, w[f"{name}.norm2.weight"], w[f"{name}.norm2.bias"])
    h = linear(n2, w[f"{name}.mlp.fc.weight"], w[f"{name}.mlp.fc.bias"])
    g = gelu(h)
    x = x + linear(g, w[f"{name}.mlp.proj.weight"], w[f"{name}.mlp.proj.bias"])
    return x, (n1, saved_n1, a, saved_a, n2, saved_n2, h, g)


def _block_backward(dx: np.ndarray, saved, w: Arrays, d: Arrays, name: str) -> np.ndarray:
    n1, saved_n1, a, saved_a, n2, saved_n2, h, g = saved
    dg = linear_backward(dx, g, w[f"{name}.mlp.proj.weight"], d, f"{name}.mlp.proj")
    dh = gelu_backward(dg, h)
    dn2 = linear_backward(dh, n2, w[f"{name}.mlp.fc.weight"], d, f"{name}.mlp.fc")
    dx = dx + layer_norm_backward(dn2, saved_n2, w[f"{name}.norm2.weight"], d, f"{name}.norm2")
    da = linear_backward(dx, a, w[f"{name}.attention.proj.weight"], d, f"{name}.attention.proj")
    dqkv = attention_backward(da, saved_a)
    dn1 = linear_backward(dqkv, n1, w[f"{name}.attention.qkv.weight"], d, f"{name}.attention.qkv")
    return dx + layer_norm_backward(dn1, saved_n1, w[f"{name}.norm1.weight"], d, f"{name}.norm1")


def _forward(w: Arrays, size: Size, idx: np.ndarray):
    x = w["token_embedding.weight"][idx] + w["position_embedding.weight"][: idx.shape[1]]
    saved_blocks = []
    for i in range(size.layers):
        x, saved = _block(x, w, f"blocks.{i}", size.heads)
        saved_blocks.append(saved)
    n, saved_n = layer_norm(x, w["norm.weight"], w["norm.bias"])
    return linear(n, w["head.weight"], w["head.bias"]), (saved_blocks, n, saved_n)


def forward(weights: Arrays, size: Size, idx: np.ndarray) -> np.ndarray:
    """Token ids (B, T) -> logits (B, T, V)."""
    return _forward(weights, size, idx)[0]


def loss_and_grads(
    weights: Arrays, size: Size, idx: np.ndarray, targets: np.ndarray
) -> tuple[float, Arrays]:
    """Mean cross entropy in nats over the B*T positions, and its gradient for every weight."""
    w = weights
    logits, (saved_blocks, n, saved_n) = _forward(w, size, idx)
    probs = softmax(logits).reshape(-1, size.vocab)
    rows, columns = np.arange(targets.size), targets.reshape(-1)
    loss = float(-np.log(probs[rows, columns]).mean())

    d = {name: np.zeros_like(weight) for name, weight in w.items()}
    dlogits = probs
    dlogits[rows, columns] -= 1.0
    dlogits = (dlogits / targets.size).reshape(logits.shape)
    dn = linear_backward(dlogits, n, w["head.weight"], d, "head")
    dx = layer_norm_backward(dn, saved_n, w["norm.weight"], d, "norm")
    for i in reversed(range(size.layers)):
        dx = _block_backward(dx, saved_blocks[i], w, d, f"blocks.{i}")
    np.add.at(d["token_embedding.weight"], idx, dx)
    d["position_embedding.weight"][: idx.shape[1]] += dx.sum(axis=0)
    return loss, d


# --- the optimiser ------------------------------------------------------------------------------


def clip_grad_norm(grads: Arrays, max_norm: float) -> float:
    """Scale all gradients in place by min(1, max_norm / (norm + 1e-6)); returns the norm."""
    norm = math.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in grads.values()))
    coefficient = min(1.0, max_norm / (norm + 1e-6))
    for g in grads.values():
        g *= coefficient
    return norm


@dataclass
class AdamW:
    """Decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2, with lr folded into eta)."""

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 1e-2
    t: int = 0
    m: Arrays = field(default_factory=dict)
    v: Arrays = field(default_factory=dict)

    def step(self, weights: Arrays, grads: Arrays) -> None:
        """Update ``weights`` in place."""
        self.t += 1
        beta1, beta2 = self.betas
        for name, w in weights.items():
            g = grads[name]
            m = self.m.get(name, np.zeros_like(w))
            v = self.v.get(name, np.zeros_like(w))
            self.m[name] = m = beta1 * m + (1.0 - beta1) * g
            self.v[name] = v = beta2 * v + (1.0 - beta2) * g * g
            m_hat = m / (1.0 - beta1**self.t)
            v_hat = v / (1.0 - beta2**self.t)
            w -= self.lr * self.weight_decay * w
            w -= self.lr * m_hat / (np.sqrt(v_hat) + self.eps)
