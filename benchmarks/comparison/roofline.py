"""The roofline of a training step ("floor" in the tables): the least time that its arithmetic and
its memory traffic can take.

Two parts, measured in the same run with the same threads. The products, each at its own shape and
transposes, back to back and without the barriers that a step has between them; and the bytes that
all other kernels must move, over the bandwidth of a plain stream of about that size. The arithmetic
of the other kernels (exp, erf, ...) is not in it: it can hide behind memory.

This module stands where an engine does: a worker asks it to prepare a case, then to measure.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import products
from .cases import ALPHABET, LSTM_PARAMETERS
from .inputs import gpt_weights
from .machine import cache_bytes
from .products import Product

SAMPLE_SECONDS = 0.005  # threads that start a little apart must run together for most of it
HOPELESS = 2.0  # times the best; below a second it may be noise
STREAM_BYTES = 512 << 20  # at most
ATTENTION_BLOCK = 32  # queries a tile: keys behind its last query are never looked at

_threads = 1
_products: list[Product] = []
_bytes = 0
_prepared: dict[str, list[Callable[[], None]]] = {}


def start(threads: int, compiled: bool) -> dict[str, Any]:
    global _threads
    _threads = threads
    products.open_blas()
    return {"floor_products": sorted(products.PROVIDERS)}


def stats() -> dict[str, int]:
    return {}


def gpt(sizes: dict[str, Any], ids: np.ndarray) -> Callable[[], None]:
    parameters = sum(a.size for a in gpt_weights(sizes).values())
    return _take(gpt_products(sizes), gpt_bytes(sizes, parameters))


def lstm(sizes: dict[str, Any], ids: np.ndarray) -> Callable[[], None]:
    return _take(lstm_products(sizes), lstm_bytes(sizes))


def _take(found: list[Product], moved: int) -> Callable[[], None]:
    global _products, _bytes
    _products, _bytes = found, moved
    _prepared.clear()
    _prepared.update({n: prepare(found, _threads) for n, prepare in products.PROVIDERS.items()})
    return lambda: None


def _linear(m: int, n: int, k: int) -> list[Product]:
    """y = x W^T, dx = dy W, dW = dy^T x for x (m, k) and W (n, k)."""
    return [
        Product(m, n, k, transposed_b=True),
        Product(m, k, n),
        Product(n, k, m, transposed_a=True),
    ]


def _causal_attention(heads: int, T: int, D: int) -> list[Product]:
    """The lower half, by tiles of queries; backward makes the weights again, keeping none.

    For queries q (b, D) that see s keys: q k^T and p v; then q k^T, p^T dy, dy v^T, ds k, ds^T q.
    """
    out = []
    for first in range(0, T, ATTENTION_BLOCK):
        b, s = min(ATTENTION_BLOCK, T - first), min(first + ATTENTION_BLOCK, T)
        scores = Product(b, s, D, transposed_b=True, batch=heads)
        mixed = Product(b, D, s, batch=heads)
        to_keys = Product(s, D, b, transposed_a=True, batch=heads)
        out += [scores] * 3 + [mixed] * 2 + [to_keys] * 2
    return out


def gpt_products(sizes: dict[str, Any]) -> list[Product]:
    B, T, C, H, L, V = (
        sizes[name] for name in ("batch", "context", "width", "heads", "layers", "vocab_size")
    )
    M = B * T
    block = [*_linear(M, 3 * C, C), *_causal_attention(B * H, T, C // H), *_linear(M, C, C)]
    block += [*_linear(M, 4 * C, C), *_linear(M, C, 4 * C)]
    return block * L + _linear(M, V, C)


def gpt_bytes(sizes: dict[str, Any], parameters: int) -> int:
    """Each activation once for every kernel that cannot do without it.

    What a product reads and writes is in the product's own time, and what can be done to its tiles
    while they are in cache (bias, GELU, sums for bias gradients, softmax) costs only what it reads
    or writes besides.
    """
    B, T, C, L, V = (sizes[name] for name in ("batch", "context", "width", "layers", "vocab_size"))
    M = B * T
    floats = 3 * M * C  # embeddings: a token's row and a position's are read, x is written
    floats += 2 * M * C  # the first norm: x read, normed written
    # Each of the other norms with the residual before it: x and the branch read, both results
    # written; backward: dy, x and the residual's gradient read, dx written.
    floats += 2 * L * 4 * M * C
    floats += (2 * L + 1) * 4 * M * C
    floats += L * 2 * 4 * M * C  # GELU's slope written forward, read backward
    floats += L * M * C  # attention's backward: y read again for the sum of dy y
    floats += 2 * M * V  # cross-entropy: logits read, their gradient written
    floats += M * C  # the gradient of the embeddings' rows read
    return 4 * (floats + _optimizer_floats(parameters))


def _optimizer_floats(parameters: int) -> int:
    """Clipping reads the gradients; Adam reads p, g, m, v and writes p, m, v."""
    return parameters + 7 * parameters


def lstm_products(sizes: dict[str, Any]) -> list[Product]:
    N, T, H = sizes["batch"], sizes["length"], 256
    M = N * T
    out = _linear(M, 4 * H, H)  # the inputs' part of the gates
    # h W_hh^T at each time step, then dgates W_hh, then dW_hh over all of them.
    out += [Product(N, 4 * H, H, transposed_b=True, batch=T, sequential=True)]
    out += [Product(N, H, 4 * H, batch=T, sequential=True)]
    out += [Product(4 * H, H, M, transposed_a=True)]
    for _ in range(2):
        out += [*_linear(M, 2 * H, H), *_linear(M, H, 2 * H)]
    return out + _linear(M, ALPHABET, H)


def lstm_bytes(sizes: dict[str, Any]) -> int:
    """As :func:`gpt_bytes`."""
    M, H = sizes["batch"] * sizes["length"], 256
    floats = 3 * M * H  # embedding: rows read and written; their gradient read
    floats += 10 * M * H  # gates: the inputs' part (4) read; gates (4), c and h written
    floats += 10 * M * H  # backward: gates (4), c and dh read, their gradient (4) written
    floats += 2 * 2 * 2 * M * H  # two GELUs: slopes written, read
    floats += 2 * M * ALPHABET  # cross-entropy
    return 4 * (floats + _optimizer_floats(LSTM_PARAMETERS))


def _together(parts: Sequence[Callable[[], None]], times: int) -> float:
    """Seconds for every part to be run that often, each in a thread of its own, side by side."""
    gate = threading.Barrier(len(parts))
    taken = [0.0] * len(parts)

    def run(i: int, part: Callable[[], None]) -> None:
        gate.wait()
        began = time.perf_counter()  # here: waking up is no part of the work
        for _ in range(times):
            part()
        taken[i] = time.perf_counter() - began

    others = [threading.Thread(target=run, args=pair) for pair in enumerate(parts[1:], 1)]
    for thread in others:
        thread.start()
    run(0, parts[0])
    for thread in others:
        thread.join()
    return max(taken)


def _best(parts: Sequence[Callable[[], None]], seconds: float) -> float:
    """Seconds for all parts once, at best."""
    once = _together(parts, 1)
    times = 1 if len(parts) == 1 else max(1, round(SAMPLE_SECONDS / once))
    best, end = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < end:
        best = min(best, _together(parts, times) / times)
    return best


def bandwidth(working_set: int, threads: int, seconds: float) -> float:
    """Bytes per second of the faster of a copy and an addition of two arrays into a third."""
    size = min(max(working_set, 4 * threads * cache_bytes(2), 8 << 20), STREAM_BYTES)
    n = size // 12 // threads
    made = [[np.full(n, 0.5, np.float32) for _ in range(3)] for _ in range(threads)]

    def adding(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> Callable[[], None]:
        return lambda: np.add(b, c, out=a)

    def copying(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> Callable[[], None]:
        return lambda: np.copyto(a, b)

    return max(
        threads * n * 4 * arrays / _best([stream(*part) for part in made], seconds / 2)
        for stream, arrays in ((adding, 3), (copying, 2))
    )


def measure(seconds: float = 0.5) -> dict[str, Any]:
    """One turn: the time of all products by each provider, and the bandwidth.

    A provider that is slow and far from the best takes part in the first turn only.
    """
    times = {name: _best(parts, seconds) for name, parts in _prepared.items()}
    for name, taken in times.items():
        if taken > max(1.0, HOPELESS * min(times.values())):
            del _prepared[name]
    return {
        "products": times,
        "flop": sum(p.flop for p in _products),
        "bytes": _bytes,
        "bandwidth": bandwidth(_bytes, _threads, seconds / 2),
    }
