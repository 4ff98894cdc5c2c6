"""Contiguous streams: rows that read on, documents that begin in them."""

from __future__ import annotations

import numpy as np
import pytest

from tinytape.data import ContiguousStreams, document_starts


def test_every_row_reads_on_and_around() -> None:
    ids = np.arange(101, dtype=np.uint8)
    streams = ContiguousStreams(ids, batch_size=4, context=7)
    xs, ys = zip(*(streams.batch(k) for k in range(30)), strict=True)
    x, y = np.concatenate(xs, axis=1), np.concatenate(ys, axis=1)
    assert x.dtype == y.dtype == np.int64 and x.shape == (4, 210)
    for row in range(4):
        # 100 places have a target; the rows are a quarter of the text apart.
        assert x[row].tolist() == [(25 * row + i) % 100 for i in range(210)]
    assert np.array_equal(y, x + 1)
    again = streams.batch(17)
    assert np.array_equal(again[0], xs[17]) and np.array_equal(again[1], ys[17])


def test_documents_begin_where_the_separator_ends() -> None:
    text = "one.##two.##three"
    starts = document_starts(text, "##")
    assert [text[at:][:3] for at in starts] == ["two", "thr"]
    assert document_starts(text, "?").tolist() == []
    assert document_starts("aaaa", "aa").tolist() == [2, 4]  # the last has nothing behind it
    ids = np.arange(len(text))
    streams = ContiguousStreams(ids, batch_size=1, context=16, starts=starts)
    marked = streams.boundaries(0)
    assert np.flatnonzero(marked[0]).tolist() == [0, *starts]
    # A document that begins behind the last place with a target is seen on the next round only.
    ends = ContiguousStreams(ids, batch_size=1, context=16, starts=np.array([16]))
    assert np.flatnonzero(ends.boundaries(0)[0]).tolist() == [0]


@pytest.mark.parametrize(
    ("size", "batch_size", "context"), [(5, 1, 5), (3, 4, 1), (9, 0, 1), (9, 1, 0)]
)
def test_sizes_that_do_not_fit_are_named(size: int, batch_size: int, context: int) -> None:
    with pytest.raises(ValueError, match="ContiguousStreams: expected"):
        ContiguousStreams(np.zeros(size), batch_size=batch_size, context=context)


def test_an_empty_separator_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        document_starts("text", "")
