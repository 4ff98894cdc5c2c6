"""Splits and windows: which characters are trained on, which are held out, and in what order.

A corpus may say where it is cut; otherwise the first 90 % of the text is for training and the last
10 % is held out. A training batch is a function of (seed, step) alone, so a resumed run needs two
integers to see the same data.

>>> import numpy as np
>>> windows = tt.data.RandomWindows(np.arange(100), batch_size=2, context=3, seed=0)
>>> x, y = windows.batch(5)
>>> (y - x).tolist()
[[1, 1, 1], [1, 1, 1]]
>>> [x.shape for x, _ in tt.data.held_out_batches(np.arange(8), context=3)]
[(2, 3), (1, 1)]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..random import philox_u64, seed_of
from .corpora import Corpus, require_length
from .errors import DataError
from .tokenizer import CharTokenizer

HELD_OUT_PERCENT = 10
# Tokens per forward pass of an evaluation. Fixed, so that a held-out loss has the same bits
# at any batch size of the training; few, so that evaluations need less memory than steps.
EVALUATION_TOKENS = 512
# Purposes separate the uses of one seed: each has its own stream of the counter-based generator.
_BATCH_STREAM = int.from_bytes(b"batches", "big")


@dataclass(frozen=True)
class Splits:
    """A corpus as ids, in the smallest unsigned dtype that holds them, and where it is cut."""

    ids: np.ndarray
    cut: int

    @property
    def train(self) -> np.ndarray:
        """The ids before the cut, shape (cut,)."""
        return self.ids[: self.cut]

    @property
    def held_out(self) -> np.ndarray:
        """The ids from the cut on, shape (N - cut,)."""
        return self.ids[self.cut :]


def split_corpus(corpus: Corpus, tokenizer: CharTokenizer, context: int) -> Splits:
    """Encode a corpus and cut it in order, at its ``cut`` or into 90 % training, 10 % held out.

    Raises:
        DataError: too short for one window of ``context`` characters and its targets in the
            training part and one target in the held-out part.
    """
    n = len(corpus.text)
    cut = n - n * HELD_OUT_PERCENT // 100 if corpus.cut is None else corpus.cut
    if cut < context + 1 or n - cut < 2:
        if corpus.cut is not None:
            raise DataError(
                f"{corpus.path or corpus.name}: {cut} characters to train on and {n - cut} held "
                f"out are too few; at least {context + 1} and 2 are needed (context {context})"
            )
        # A little less than the answer, which may be far away.
        least = context * 100 // (100 - HELD_OUT_PERCENT)
        needed = max(least, context + 1, 2 * 100 // HELD_OUT_PERCENT)
        while needed - needed * HELD_OUT_PERCENT // 100 < context + 1:
            needed += 1
        require_length(
            corpus, needed, f"context {context}, with {HELD_OUT_PERCENT} % of the text held out"
        )
    smallest = np.min_scalar_type(tokenizer.vocab_size - 1)
    return Splits(tokenizer.encode(corpus.text, smallest), cut)


class RandomWindows:
    """Batches of windows at random places of ``ids``.

    Args:
        ids: the split, shape (N,) with N > context.
        batch_size: windows per batch (B).
        context: characters per window (T).
        seed: the run's seed; batches depend on it and on the step, on nothing else.

    Raises:
        ValueError: a size below 1, too few ids, or a seed outside its range.
    """

    def __init__(self, ids: np.ndarray, *, batch_size: int, context: int, seed: int) -> None:
        if batch_size < 1 or context < 1:
            raise ValueError(
                f"RandomWindows: expected batch_size and context of at least 1, "
                f"got {batch_size} and {context}"
            )
        if len(ids) < context + 1:
            raise ValueError(
                f"RandomWindows: expected more than context = {context} ids, got {len(ids)}"
            )
        self.ids = ids
        self.batch_size = batch_size
        self.context = context
        self.seed = seed_of(seed)

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return inputs x and targets y of a step, both int64 of shape (B, T); y is x moved by 1"""
        first = step * self.batch_size % (1 << 64)  # a sequence has no more numbers
        draws = philox_u64(self.seed, _BATCH_STREAM, first, self.batch_size)
        starts = (draws % np.uint64(len(self.ids) - self.context)).astype(np.int64)
        window = self.ids[starts[:, None] + np.arange(self.context + 1)].astype(np.int64)
        return np.ascontiguousarray(window[:, :-1]), np.ascontiguousarray(window[:, 1:])


def held_out_batches(ids: np.ndarray, context: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (x, y), int64 of shape (b, t), over non-overlapping windows of ``ids`` in order.

    Every id but the first is a target exactly once: whole windows come in chunks of a fixed size,
    then the last, shorter window alone.
    """
    targets = len(ids) - 1
    whole = targets // context
    chunk = max(1, EVALUATION_TOKENS // context)
    for first in range(0, whole, chunk):
        rows = min(chunk, whole - first)
        at = first * context
        x = ids[at : at + rows * context].reshape(rows, context)
        y = ids[at + 1 : at + 1 + rows * context].reshape(rows, context)
        yield x.astype(np.int64), y.astype(np.int64)
    at = whole * context
    if at < targets:
        yield ids[None, at:targets].astype(np.int64), ids[None, at + 1 :].astype(np.int64)
