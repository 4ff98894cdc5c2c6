"""Entropies of a text: the losses of two models that learn nothing but frequencies.

A model whose held-out loss is above the unigram entropy knows less than a table of letter counts;
above the bigram entropy, less than a table of letter pairs (Shannon, "Prediction and Entropy of
Printed English", 1951: F_1 and F_2, there in bits).
"""

from __future__ import annotations

import numpy as np

_TABLE_LIMIT = 1 << 20  # above this many possible pairs, sort them instead of counting in a table


def unigram_entropy(ids: np.ndarray) -> float:
    """Entropy of one symbol, H(X), in nats. ``ids``: non-negative integers of shape (N,)."""
    return _entropy(np.bincount(ids))


def bigram_entropy(ids: np.ndarray) -> float:
    """Entropy of a symbol given the one before it, H(X_t | X_{t-1}), in nats."""
    if len(ids) < 2:
        return 0.0
    base = int(ids.max()) + 1
    pairs = ids[:-1].astype(np.int64) * base
    pairs += ids[1:]
    if base * base <= _TABLE_LIMIT:
        counts = np.bincount(pairs)
    else:
        counts = np.unique(pairs, return_counts=True)[1]
    # H(X_t | X_{t-1}) = H(X_{t-1}, X_t) - H(X_{t-1})
    return _entropy(counts) - unigram_entropy(ids[:-1])


def _entropy(counts: np.ndarray) -> float:
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum()) + 0.0  # + 0.0: a single symbol gives 0, not -0
