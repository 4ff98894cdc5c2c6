"""Entropies of a text: the losses of two models that learn nothing but frequencies.

A model whose held-out loss is above the unigram entropy knows less than a table of letter counts;
above the bigram entropy, less than a table of letter pairs (Shannon, "Prediction and Entropy of
Printed English", 1951: F_1 and F_2, there in bits).

>>> import math
>>> import numpy as np
>>> ids = np.array([0, 1, 0, 1, 0, 1])
>>> math.isclose(tt.data.unigram_entropy(ids), math.log(2))
True
>>> abs(tt.data.bigram_entropy(ids)) < 1e-12
True
"""

from __future__ import annotations

import numpy as np

_BLOCK = 1 << 15  # symbols counted at a time, so that a large text needs little memory
_TABLE_LIMIT = 1 << 20  # above this many possible pairs, sort them instead of counting in a table


def unigram_entropy(ids: np.ndarray) -> float:
    """Entropy of one symbol, H(X), in nats. ``ids``: non-negative integers of shape (N,), N > 0."""
    counts = np.zeros(int(ids.max()) + 1, np.int64)
    for start in range(0, len(ids), _BLOCK):
        counts += np.bincount(ids[start : start + _BLOCK], minlength=len(counts))
    return _entropy(counts)


def bigram_entropy(ids: np.ndarray) -> float:
    """Entropy of a symbol given the one before it, H(X_t | X_{t-1}), in nats.

    ``ids``: non-negative integers of shape (N,).
    """
    if len(ids) < 2:
        return 0.0
    base = int(ids.max()) + 1
    if base * base <= _TABLE_LIMIT:
        counts = np.zeros(base * base, np.int64)
        for start in range(0, len(ids) - 1, _BLOCK):
            pairs = _pairs(ids[start : start + _BLOCK + 1], base)
            counts += np.bincount(pairs, minlength=len(counts))
    else:
        counts = np.unique(_pairs(ids, base), return_counts=True)[1]
    # H(X_t | X_{t-1}) = H(X_{t-1}, X_t) - H(X_{t-1})
    return _entropy(counts) - unigram_entropy(ids[:-1])


def _pairs(ids: np.ndarray, base: int) -> np.ndarray:
    """One number for each two neighbours."""
    pairs: np.ndarray = ids[:-1].astype(np.int64) * base
    pairs += ids[1:]
    return pairs


def _entropy(counts: np.ndarray) -> float:
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum()) + 0.0  # + 0.0: a single symbol gives 0, not -0
