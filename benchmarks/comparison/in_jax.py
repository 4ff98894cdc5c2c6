"""The cases in JAX: the whole step in one jit, the buffers of parameters and moments donated."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
from jax import lax

from .cases import ALPHABET, LSTM_PARAMETERS
from .inputs import Arrays, Tokens, adam_weights, gpt_weights, lstm_weights, op_inputs

Step = Callable[[], Any]
Tree = dict[str, jax.Array]


def start(threads: int, compiled: bool) -> dict[str, Any]:
    return {"jax": jax.__version__, "jaxlib": jaxlib.__version__}


def stats() -> dict[str, int]:
    return {}


def _norm(x: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) * lax.rsqrt(variance + 1e-5) * w + b


def _linear(p: Tree, name: str, x: jax.Array) -> jax.Array:
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def _gelu(x: jax.Array) -> jax.Array:
    return jax.nn.gelu(x, approximate=False)


def _cross_entropy(logits: jax.Array, y: jax.Array) -> jax.Array:
    picked = jnp.take_along_axis(logits, y[..., None], -1)[..., 0]
    return (jax.nn.logsumexp(logits, -1) - picked).mean()


def _attention(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """(B, T, H, D); by einsum, which is quicker here than jax.nn.dot_product_attention."""
    T = q.shape[1]
    scores = jnp.einsum("bthd,bshd->bhts", q, k) * q.shape[-1] ** -0.5
    weights = jax.nn.softmax(jnp.where(jnp.tri(T, dtype=bool), scores, -jnp.inf), -1)
    return jnp.einsum("bhts,bshd->bthd", weights, v)


def _gpt_logits(p: Tree, ids: jax.Array, heads: int, layers: int) -> jax.Array:
    B, T = ids.shape
    x = p["token_embedding.weight"][ids] + p["position_embedding.weight"][:T]
    C = x.shape[-1]
    for i in range(layers):
        at = f"blocks.{i}"
        normed = _norm(x, p[f"{at}.norm1.weight"], p[f"{at}.norm1.bias"])
        qkv = _linear(p, f"{at}.attention.qkv", normed).reshape(B, T, 3, heads, C // heads)
        y = _attention(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]).reshape(B, T, C)
        x = x + _linear(p, f"{at}.attention.proj", y)
        normed = _norm(x, p[f"{at}.norm2.weight"], p[f"{at}.norm2.bias"])
        x = x + _linear(p, f"{at}.mlp.proj", _gelu(_linear(p, f"{at}.mlp.fc", normed)))
    return _linear(p, "head", _norm(x, p["norm.weight"], p["norm.bias"]))


def _adam_update(
    p: Any, g: Any, m: Any, v: Any, count: jax.Array, decay: float
) -> tuple[Any, Any, Any]:
    """AdamW with PyTorch's defaults; Adam where decay is 0."""
    lr, b1, b2, eps = 1e-3, 0.9, 0.999, 1e-8
    first, second = 1 - b1**count, jnp.sqrt(1 - b2**count)
    m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, m, g)
    v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, v, g)
    p = jax.tree.map(
        lambda p, m, v: p * (1 - lr * decay) - lr / first * m / (jnp.sqrt(v) / second + eps),
        p,
        m,
        v,
    )
    return p, m, v


def _clipped(g: Any) -> Any:
    norm = jnp.sqrt(sum(jnp.vdot(x, x) for x in jax.tree.leaves(g)))
    scale = jnp.minimum(1.0, 1.0 / (norm + 1e-6))
    return jax.tree.map(lambda x: x * scale, g)


def _start_state(weights: Arrays) -> tuple[Tree, Tree, Tree, jax.Array]:
    p = {name: jnp.array(a) for name, a in weights.items()}
    m, v = ({name: jnp.zeros_like(a) for name, a in p.items()} for _ in range(2))
    return p, m, v, jnp.zeros((), jnp.float32)


def gpt(sizes: dict[str, Any], ids: np.ndarray) -> Step:
    tokens = Tokens(ids, sizes["vocab_size"])

    def loss_of(p: Tree, x: jax.Array, y: jax.Array) -> jax.Array:
        return _cross_entropy(_gpt_logits(p, x, sizes["heads"], sizes["layers"]), y)

    @functools.partial(jax.jit, donate_argnums=0)
    def update(state: Any, x: jax.Array, y: jax.Array) -> Any:
        p, m, v, count = state
        loss, g = jax.value_and_grad(loss_of)(p, x, y)
        count = count + 1
        return (*_adam_update(p, _clipped(g), m, v, count, 0.01), count), loss

    state: Any = _start_state(gpt_weights(sizes))

    def step() -> float:
        nonlocal state
        x, y = tokens.windows(sizes["batch"], sizes["context"])
        state, loss = update(state, x.astype(np.int32), y.astype(np.int32))
        return float(jax.block_until_ready((state, loss))[1])

    return step


def _lstm(p: Tree, x: jax.Array, h: jax.Array, c: jax.Array) -> tuple[Any, jax.Array]:
    """(T, N, I) -> (h, c), (T, N, H); the inputs' part of the gates is one product outside."""
    bias = p["lstm.bias_ih_l0"] + p["lstm.bias_hh_l0"]
    gates_in = x @ p["lstm.weight_ih_l0"].T + bias
    recurrent = p["lstm.weight_hh_l0"].T

    def cell(carry: Any, gates_x: jax.Array) -> Any:
        h, c = carry
        i, f, g, o = jnp.split(gates_x + h @ recurrent, 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    # Several steps an iteration are quicker where a step is small, slower where it is not.
    return lax.scan(cell, (h, c), gates_in, unroll=4 if x.shape[1] == 1 else 1)


def lstm(sizes: dict[str, Any], ids: np.ndarray) -> Step:
    tokens = Tokens(ids, ALPHABET)
    weights = lstm_weights(ALPHABET)
    assert sum(a.size for a in weights.values()) == LSTM_PARAMETERS

    def loss_of(p: Tree, x: jax.Array, y: jax.Array, carried: Any) -> Any:
        carried, out = _lstm(p, p["embedding.weight"][x], *carried)
        for block in ("ff1", "ff2"):
            out = _linear(p, f"{block}.proj", _gelu(_linear(p, f"{block}.fc", out)))
        return _cross_entropy(_linear(p, "head", out), y), carried

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def update(state: Any, carried: Any, x: jax.Array, y: jax.Array) -> Any:
        p, m, v, count = state
        (loss, carried), g = jax.value_and_grad(loss_of, has_aux=True)(p, x, y, carried)
        count = count + 1
        return (*_adam_update(p, _clipped(g), m, v, count, 0.0), count), carried, loss

    state: Any = _start_state(weights)
    carried: Any = tuple(jnp.zeros((sizes["batch"], 256)) for _ in range(2))

    def step() -> float:
        nonlocal state, carried
        x, y = tokens.lanes(sizes["batch"], sizes["length"])
        state, carried, loss = update(state, carried, x.astype(np.int32), y.astype(np.int32))
        return float(jax.block_until_ready((state, carried, loss))[2])

    return step


def generate(sizes: dict[str, Any], ids: np.ndarray) -> Step:
    T, H, C, layers = (sizes[name] for name in ("context", "heads", "width", "layers"))
    p = _start_state(gpt_weights(sizes))[0]

    @functools.partial(jax.jit, donate_argnums=3)
    def decode(p: Tree, token: jax.Array, at: jax.Array, caches: Any) -> Any:
        x = p["token_embedding.weight"][token] + p["position_embedding.weight"][at]
        seen = jnp.arange(T) <= at
        out = []
        for i, (keys, values) in enumerate(caches):
            name = f"blocks.{i}"
            normed = _norm(x, p[f"{name}.norm1.weight"], p[f"{name}.norm1.bias"])
            q, k, v = _linear(p, f"{name}.attention.qkv", normed).reshape(3, H, 1, C // H)
            keys = lax.dynamic_update_slice(keys, k, (0, at, 0))
            values = lax.dynamic_update_slice(values, v, (0, at, 0))
            out.append((keys, values))
            scores = jnp.einsum("hqd,htd->hqt", q, keys) * (C // H) ** -0.5
            weights = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), -1)
            y = jnp.einsum("hqt,htd->hqd", weights, values).reshape(C)
            x = x + _linear(p, f"{name}.attention.proj", y)
            normed = _norm(x, p[f"{name}.norm2.weight"], p[f"{name}.norm2.bias"])
            x = x + _linear(p, f"{name}.mlp.proj", _gelu(_linear(p, f"{name}.mlp.fc", normed)))
        logits = _linear(p, "head", _norm(x, p["norm.weight"], p["norm.bias"]))
        return jnp.argmax(logits).astype(jnp.int32), at + 1, out

    caches: Any = [tuple(jnp.zeros((H, T, C // H)) for _ in range(2)) for _ in range(layers)]
    zero = jnp.zeros((), jnp.int32)

    def step() -> float:
        nonlocal caches
        token = at = zero
        made = []
        for _ in range(T):
            token, at, caches = decode(p, token, at, caches)
            made.append(int(token))  # the text is to be seen as it grows
        return float(made[-1])

    return step


def _adam(of: str) -> Step:
    p: Any = [jnp.array(a) for a in adam_weights(of)]
    g = [jnp.full_like(a, 0.01) for a in p]
    m, v = ([jnp.zeros_like(a) for a in p] for _ in range(2))
    count = jnp.ones((), jnp.float32)
    update = jax.jit(functools.partial(_adam_update, decay=0.01), donate_argnums=(0, 2, 3))

    def step() -> None:
        nonlocal p, m, v
        p, m, v = jax.block_until_ready(update(p, g, m, v, count))

    return step


def op(sizes: dict[str, Any], ids: np.ndarray) -> Step:
    name = sizes["op"]
    if name == "adam":
        return _adam(sizes["of"])
    arrays, dy_array, indices = op_inputs(sizes)
    inputs = [jnp.array(a) for a in arrays]
    dy = jnp.array(dy_array)
    at = None if indices is None else jnp.array(indices.astype(np.int32))
    forward: dict[str, Callable[..., jax.Array]] = {
        "add": lambda a, b: a + b,
        "matmul": jnp.matmul,
        "layer_norm": _norm,
        "gelu": _gelu,
        "softmax": lambda x: jax.nn.softmax(x, -1),
        "cross_entropy": lambda x: _cross_entropy(x, at),
        "attention": lambda *qkv: _attention(*(x.swapaxes(1, 2) for x in qkv)).swapaxes(1, 2),
        "embedding": lambda w: w[at],
    }
    function = forward[name]
    if name == "add":
        added = jax.jit(function)
        return lambda: jax.block_until_ready(added(*inputs))

    @jax.jit
    def both(inputs: Any, dy: jax.Array) -> Any:
        y, pull = jax.vjp(function, *inputs)
        return y, pull(dy)

    return lambda: jax.block_until_ready(both(inputs, dy))
