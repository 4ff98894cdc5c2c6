"""Splits and windows: what is trained on, what is held out, and that nothing is lost between."""

from __future__ import annotations

import numpy as np
import pytest

from tinytape.data import (
    CharTokenizer,
    Corpus,
    DataError,
    RandomWindows,
    bigram_entropy,
    held_out_batches,
    split_corpus,
    unigram_entropy,
)
from tinytape.data.batches import EVALUATION_TOKENS


def corpus_of(text: str) -> Corpus:
    return Corpus(name="test", path=None, text=text, sha256="")


def test_split_is_ninety_to_ten_in_order() -> None:
    text = "".join(chr(97 + i % 26) for i in range(1009))
    tokenizer = CharTokenizer.from_text(text)
    splits = split_corpus(corpus_of(text), tokenizer, context=8)
    assert len(splits.held_out) == 100 and len(splits.train) == 909
    assert tokenizer.decode(splits.train) + tokenizer.decode(splits.held_out) == text


@pytest.mark.parametrize("context", [1, 7, 8, 9, 64, 1000])
def test_the_shortest_text_that_is_accepted_is_the_one_the_message_names(context: int) -> None:
    tokenizer = CharTokenizer("ab")

    def attempt(n: int) -> RandomWindows:
        splits = split_corpus(corpus_of("ab" * (n // 2) + "a" * (n % 2)), tokenizer, context)
        assert len(splits.held_out) >= 2
        return RandomWindows(splits.train, batch_size=2, context=context, seed=0)

    with pytest.raises(DataError, match=f"context {context}") as error:
        attempt(context)
    needed = int(str(error.value).split("at least ")[1].split()[0])
    attempt(needed).batch(0)
    with pytest.raises(DataError, match=f"{needed - 1} characters are too few"):
        attempt(needed - 1)


def test_a_batch_is_windows_and_their_successors() -> None:
    ids = np.arange(1000, dtype=np.uint16)
    x, y = RandomWindows(ids, batch_size=5, context=16, seed=3).batch(7)
    assert x.dtype == y.dtype == np.int64 and x.shape == y.shape == (5, 16)
    assert x.flags.c_contiguous and y.flags.c_contiguous
    assert np.array_equal(y, x + 1)
    assert np.array_equal(x, x[:, :1] + np.arange(16))


def test_batches_depend_on_seed_and_step_alone() -> None:
    ids = np.arange(5000, dtype=np.uint16)

    def start(seed: int, step: int) -> list[int]:
        return RandomWindows(ids, batch_size=4, context=8, seed=seed).batch(step)[0][:, 0].tolist()

    windows = RandomWindows(ids, batch_size=4, context=8, seed=1)
    forwards = [windows.batch(step)[0][:, 0].tolist() for step in range(20)]
    assert [start(1, step) for step in reversed(range(20))] == forwards[::-1]
    assert len({tuple(f) for f in forwards}) == 20
    assert start(2, 0) != start(1, 0)


def test_every_window_can_be_drawn_and_none_beyond_the_end() -> None:
    ids = np.arange(20, dtype=np.uint8)
    windows = RandomWindows(ids, batch_size=8, context=16, seed=0)
    starts = {int(s) for step in range(40) for s in windows.batch(step)[0][:, 0]}
    assert starts == {0, 1, 2, 3}  # targets of the last window end at id 19


@pytest.mark.parametrize(("n", "context"), [(16, 16), (5, 16)])
def test_too_few_ids_for_a_window(n: int, context: int) -> None:
    with pytest.raises(ValueError, match="more than context"):
        RandomWindows(np.zeros(n, np.uint8), batch_size=1, context=context, seed=0)


@pytest.mark.parametrize("n", [2, 3, 8, 9, 10, 513, 1500, 2049, 2050])
@pytest.mark.parametrize("context", [1, 8, 1500])
def test_every_held_out_target_counts_exactly_once(n: int, context: int) -> None:
    ids = np.arange(n, dtype=np.uint16)
    targets: list[int] = []
    for x, y in held_out_batches(ids, context):
        assert x.dtype == y.dtype == np.int64 and x.shape == y.shape
        assert x.shape[1] <= context
        assert x.size <= max(EVALUATION_TOKENS, context)
        assert np.array_equal(y, x + 1)
        targets += y.ravel().tolist()
    assert targets == list(range(1, n))


def test_entropies_of_texts_whose_entropy_is_known() -> None:
    even = np.tile(np.arange(4), 1000)
    assert unigram_entropy(even) == pytest.approx(np.log(4), abs=1e-12)
    assert bigram_entropy(even) == pytest.approx(0.0, abs=1e-12)  # each follows from the last
    assert unigram_entropy(np.zeros(10, np.uint8)) == 0.0
    assert bigram_entropy(np.zeros(1, np.uint8)) == 0.0
    coins = np.random.default_rng(0).integers(0, 2, 200_000)
    assert unigram_entropy(coins) == pytest.approx(np.log(2), abs=1e-4)
    assert bigram_entropy(coins) == pytest.approx(np.log(2), abs=1e-4)


def test_bigram_entropy_against_a_direct_sum_and_for_a_large_alphabet() -> None:
    ids = np.random.default_rng(1).zipf(1.5, 70_000).clip(max=60)  # more than two blocks
    joint: dict[tuple[int, int], int] = {}
    first: dict[int, int] = {}
    for a, b in zip(ids[:-1].tolist(), ids[1:].tolist(), strict=True):
        joint[a, b] = joint.get((a, b), 0) + 1
        first[a] = first.get(a, 0) + 1
    n = len(ids) - 1
    direct = -sum(c / n * np.log(c / first[a]) for (a, _), c in joint.items())
    assert bigram_entropy(ids) == pytest.approx(direct, abs=1e-12)
    assert bigram_entropy(ids * 1000) == pytest.approx(direct, abs=1e-12)  # counted by sorting
    # A small dtype must not overflow in the pair index.
    assert bigram_entropy(ids.astype(np.uint8)) == pytest.approx(direct, abs=1e-12)
