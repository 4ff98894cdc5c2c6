"""Contiguous streams: each row of a batch continues where it stopped, for states that are carried.

The rows begin at equal distances in the text and each runs through all of it; after the end of
the text comes its beginning. A batch is a function of its number, so a resumed run needs one
integer.

>>> import numpy as np
>>> streams = tt.data.ContiguousStreams(np.arange(9), batch_size=2, context=2)
>>> streams.batch(0)[0].tolist(), streams.batch(1)[0].tolist()
([[0, 1], [4, 5]], [[2, 3], [6, 7]])
"""

from __future__ import annotations

import numpy as np


class ContiguousStreams:
    """Batches of windows that follow one another in each row.

    Args:
        ids: the split, integers of shape (N,) with N > context and N > batch_size.
        batch_size: rows (B).
        context: characters per window (T).
        starts: positions in ``ids`` where a document begins, int64, such as
            :func:`document_starts` finds them; the beginning of the text is one in any case.

    Raises:
        ValueError: a size below 1, or too few ids.
    """

    def __init__(
        self, ids: np.ndarray, *, batch_size: int, context: int, starts: np.ndarray | None = None
    ) -> None:
        if batch_size < 1 or context < 1:
            raise ValueError(
                f"ContiguousStreams: expected batch_size and context of at least 1, "
                f"got {batch_size} and {context}"
            )
        if len(ids) < context + 1 or len(ids) - 1 < batch_size:
            raise ValueError(
                f"ContiguousStreams: expected more than context = {context} and batch_size = "
                f"{batch_size} ids, got {len(ids)}"
            )
        self.ids = ids
        self.batch_size = batch_size
        self.context = context
        self._places = len(ids) - 1  # each has a target
        self._first = np.arange(batch_size, dtype=np.int64) * (self._places // batch_size)
        self._begins = np.zeros(self._places, dtype=bool)
        self._begins[0] = True
        if starts is not None:
            self._begins[starts[starts < self._places]] = True

    def batch(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs x and targets y of batch ``number``, both int64 of shape (B, T)."""
        at = self._at(number)
        return self.ids[at].astype(np.int64), self.ids[at + 1].astype(np.int64)

    def boundaries(self, number: int) -> np.ndarray:
        """The places in batch ``number`` where a document begins: bool of shape (B, T)."""
        marks: np.ndarray = self._begins[self._at(number)]
        return marks

    def _at(self, number: int) -> np.ndarray:
        """The places in the text of a batch, shape (B, T)."""
        step = np.arange(number * self.context, (number + 1) * self.context, dtype=np.int64)
        places: np.ndarray = (self._first[:, None] + step) % self._places
        return places


def document_starts(text: str, separator: str) -> np.ndarray:
    """The positions right after each ``separator`` in ``text``, in order, as int64.

    Raises:
        ValueError: an empty separator.
    """
    if not separator:
        raise ValueError("document_starts: expected a separator, got an empty text")
    found, at = [], text.find(separator)
    while at >= 0:
        at += len(separator)
        found.append(at)
        at = text.find(separator, at)
    return np.array(found, dtype=np.int64)
