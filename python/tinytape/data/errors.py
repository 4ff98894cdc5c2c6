"""The one exception of the data package: something is wrong with the text that was given."""

from __future__ import annotations

from ..errors import TinytapeError


class DataError(TinytapeError, ValueError):
    """A corpus, tokenizer or split that cannot be used; the message names the file and the need."""
