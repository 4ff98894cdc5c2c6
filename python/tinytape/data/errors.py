"""The one exception of the data package: the text that was given cannot be used.

>>> try:
...     tt.data.CharTokenizer.from_text("ab").encode("abc")
... except tt.data.DataError as error:
...     print(error)
character 'c' (U+0063) at position 2 is not one of the tokenizer's 2 characters: ab
"""

from __future__ import annotations

from ..errors import TinytapeError


class DataError(TinytapeError, ValueError):
    """A corpus, tokenizer or split that cannot be used; the message names the file and the need."""
