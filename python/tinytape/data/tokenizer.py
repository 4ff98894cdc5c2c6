"""The character tokenizer: one id per distinct character, in code-point order.

>>> tokenizer = tt.data.CharTokenizer.from_text("banana")
>>> ids = tokenizer.encode("nab")
>>> ids.tolist(), tokenizer.decode(ids)
([2, 0, 1], 'nab')
"""

from __future__ import annotations

import json
import os
import reprlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import DTypeLike

from .._files import read_file, replace_file
from .._json import parse
from .errors import DataError

_KIND = "character"
_FILE_LIMIT = 1 << 24  # one of all the characters that there are has 13 MB
_BLOCK = 1 << 15  # characters encoded at a time, so that a large text needs little memory


class CharTokenizer:
    """Maps characters to ids 0 .. vocab_size - 1 and back.

    Args:
        characters: the distinct characters; a character's place is its id.

    Raises:
        DataError: no characters, a repeated one, or an entry that is not a single character.
    """

    def __init__(self, characters: Sequence[str]) -> None:
        self.characters = tuple(characters)
        if not self.characters:
            raise DataError("CharTokenizer: expected at least one character, got none")
        for entry in self.characters:
            if not isinstance(entry, str) or len(entry) != 1:
                raise DataError(f"CharTokenizer: expected single characters, got {entry!r}")
        if len(set(self.characters)) != len(self.characters):
            raise DataError("CharTokenizer: expected distinct characters, got a repeated one")
        points = np.array([ord(c) for c in self.characters])
        self._id_of_point = np.full(int(points.max()) + 1, -1, dtype=np.int64)
        self._id_of_point[points] = np.arange(len(points))

    @classmethod
    def from_text(cls, text: str) -> CharTokenizer:
        """The tokenizer of all characters in ``text``."""
        return cls(sorted(set(text)))

    @property
    def vocab_size(self) -> int:
        """The number of characters."""
        return len(self.characters)

    def encode(self, text: str, dtype: DTypeLike = np.int64) -> np.ndarray:
        """Return the ids of ``text`` as an integer array of shape (len(text),).

        Raises:
            DataError: a character that the tokenizer does not know; names it and its position.
        """
        ids = np.empty(len(text), dtype)
        for start in range(0, len(text), _BLOCK):
            block = text[start : start + _BLOCK]
            # surrogatepass: a prompt typed in a broken locale must reach the message below.
            points = np.frombuffer(block.encode("utf-32-le", "surrogatepass"), dtype="<u4")
            within = points < len(self._id_of_point)
            found = self._id_of_point[np.where(within, points, 0)]
            unknown = (found < 0) | ~within
            if unknown.any():
                at = start + int(unknown.argmax())
                raise DataError(
                    f"character {text[at]!r} (U+{ord(text[at]):04X}) at position {at} is not one "
                    f"of the tokenizer's {self.vocab_size} characters: {self._preview()}"
                )
            ids[start : start + _BLOCK] = found
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of a sequence of ids.

        Raises:
            DataError: an id outside 0 .. vocab_size - 1.
        """
        out = []
        for i in ids:
            if not 0 <= i < self.vocab_size:
                raise DataError(f"decode: id {i} is outside 0 .. {self.vocab_size - 1}")
            out.append(self.characters[i])
        return "".join(out)

    def to_json(self) -> str:
        """The tokenizer as a text that :meth:`from_json` reads."""
        record = {"kind": _KIND, "version": 1, "characters": "".join(self.characters)}
        return json.dumps(record, indent=2) + "\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the tokenizer as JSON.

        Raises:
            OSError: the file cannot be written.
        """
        replace_file(path, self.to_json().encode("utf-8"))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CharTokenizer:
        """Read what ``save`` wrote.

        Raises:
            DataError: the file is absent, or is not a character tokenizer.
        """
        try:
            data = read_file(path, _FILE_LIMIT)
        except OSError as error:
            raise DataError(f"cannot read tokenizer {path}: {error.strerror or error}") from error
        return cls.from_json(data, path)

    @classmethod
    def from_json(cls, data: bytes, path: str | os.PathLike[str]) -> CharTokenizer:
        """The tokenizer in what ``to_json`` gave, encoded; ``path`` is for the message.

        Raises:
            DataError: it is not a character tokenizer.
        """
        try:
            record = parse(data, _FILE_LIMIT)
        except ValueError as error:  # bad UTF-8 or bad JSON
            raise DataError(f"{path}: not a tokenizer (not JSON: {error})") from error
        if not isinstance(record, dict) or record.get("kind") != _KIND:
            raise DataError(f'{path}: not a tokenizer (expected "kind": "{_KIND}")')
        version = record.get("version")
        if type(version) is not int or version != 1:
            raise DataError(f"{path}: tokenizer version {reprlib.repr(version)}, expected 1")
        characters = record.get("characters")
        if not isinstance(characters, str):
            raise DataError(f'{path}: not a tokenizer (expected "characters" to be a string)')
        try:
            return cls(characters)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error

    def _preview(self) -> str:
        shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in self.characters)
        return shown if len(shown) <= 100 else shown[:97] + "..."
