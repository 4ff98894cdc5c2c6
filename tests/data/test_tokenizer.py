"""The character tokenizer: round trips, and messages for what it does not know."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tinytape.data import CharTokenizer, DataError
from tinytape.data.tokenizer import _FILE_LIMIT

TEXT = "hello, wörld\n\U0001f3ad\x00"


def test_ids_are_in_code_point_order_and_come_back() -> None:
    tokenizer = CharTokenizer.from_text(TEXT)
    ids = tokenizer.encode(TEXT)
    assert tokenizer.characters == tuple(sorted(set(TEXT)))
    assert tokenizer.vocab_size == len(set(TEXT))
    assert ids.dtype == np.int64 and ids.shape == (len(TEXT),)
    assert [tokenizer.characters[i] for i in ids] == list(TEXT)
    assert tokenizer.decode(ids) == TEXT
    assert tokenizer.encode("").shape == (0,) and tokenizer.decode([]) == ""


def test_a_long_text_is_encoded_as_a_short_one() -> None:
    """Encoding goes in blocks; they must meet, also around the position of a stranger."""
    rng = np.random.default_rng(0)
    text = "".join(chr(97 + int(i)) for i in rng.integers(0, 26, 100_000))
    tokenizer = CharTokenizer.from_text(text)
    ids = tokenizer.encode(text, np.uint8)
    assert ids.dtype == np.uint8
    assert np.array_equal(ids, np.frombuffer(text.encode(), np.uint8) - 97)
    with pytest.raises(DataError, match=r"'!' .* at position 70000 "):
        tokenizer.encode(text[:70_000] + "!" + text[70_000:])


@pytest.mark.parametrize("stranger", ["x", "\t", "é", "\U0001f3ae", "\udc80"])
def test_an_unknown_character_is_named_with_its_position(stranger: str) -> None:
    tokenizer = CharTokenizer.from_text(TEXT)
    with pytest.raises(DataError) as error:
        tokenizer.encode("hello" + stranger)
    message = str(error.value)
    assert f"U+{ord(stranger):04X}" in message and "position 5" in message


@pytest.mark.parametrize("bad", [-1, 14, 10**6])
def test_an_id_outside_is_refused(bad: int) -> None:
    tokenizer = CharTokenizer.from_text(TEXT)
    assert tokenizer.vocab_size <= 14
    with pytest.raises(DataError, match=f"id {bad} is outside"):
        tokenizer.decode([0, bad])


def test_save_and_load(tmp_path: Path) -> None:
    tokenizer = CharTokenizer.from_text(TEXT)
    path = tmp_path / "tokenizer.json"
    tokenizer.save(path)
    again = CharTokenizer.load(path)
    assert again.characters == tokenizer.characters
    assert np.array_equal(again.encode(TEXT), tokenizer.encode(TEXT))
    assert [p.name for p in tmp_path.iterdir()] == ["tokenizer.json"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "expected .kind."),
        (b'{"kind": "bpe"}', "expected .kind."),
        (b'{"kind": "character", "version": 2}', "version 2, expected 1"),
        (b'{"kind": "character", "version": 1}', "characters"),
        (b'{"kind": "character", "version": 1, "characters": ["a"]}', "characters"),
        (b'{"kind": "character", "version": 1, "characters": ""}', "at least one"),
        (b'{"kind": "character", "version": 1, "characters": "aba"}', "repeated"),
    ],
)
def test_a_broken_file_is_refused_by_name(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as error:
        CharTokenizer.load(path)
    assert str(path) in str(error.value)


def test_an_absent_file() -> None:
    with pytest.raises(DataError, match="cannot read tokenizer"):
        CharTokenizer.load("nowhere/tokenizer.json")


def test_what_is_saved_is_plain_json(tmp_path: Path) -> None:
    record = json.loads(CharTokenizer("ba").to_json())
    assert record == {"kind": "character", "version": 1, "characters": "ba"}
    assert CharTokenizer("ba").encode("ab").tolist() == [1, 0]


def test_a_file_that_is_no_file_or_far_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.mkdir()
    with pytest.raises(DataError, match=r"cannot read tokenizer .*: not a regular file"):
        CharTokenizer.load(path)
    path.rmdir()
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DataError, match="1099511627776 bytes, expected at most"):
        CharTokenizer.load(path)


def test_a_tokenizer_of_all_the_characters_there_are_can_be_read() -> None:
    every = "".join(chr(i) for i in range(0x110000) if not 0xD800 <= i < 0xE000)
    assert len(json.dumps(every)) + 1000 < _FILE_LIMIT
