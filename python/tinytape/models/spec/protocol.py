"""The protocol of a language model: the methods that training, sampling and checkpoints call.

>>> from tinytape import models
>>> from tinytape.models import LanguageModel
>>> isinstance(models.create("tiny", 65), LanguageModel)
True
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from ...random import Generator
from ...tensor import Tensor


class Cache(Protocol):
    """The tokens that a model has read: a :class:`RecurrentState`, ``nn.KVCache`` or its own."""

    #: The most tokens that it holds; None for no bound.
    context: int | None

    def reset(self) -> None:
        """Forget all tokens."""


@runtime_checkable
class LanguageModel(Protocol):
    """A module that gives logits for the token after each position.

    It is made by ``module(config, generator=None, dtype=None)``, draws its weights and its dropout
    masks from that generator (``tt.default_generator`` for None) and keeps its config.

    A model may also have

    - ``new_cache(batch_size=1)``, a :class:`Cache`, and ``forward(idx, cache)``, which reads only
      the tokens after those of the cache and adds them to it. Without these, text is written by
      reading the last ``context`` tokens again for each new one. :class:`StreamTask` needs them.
    - ``head``, the layer that makes the logits. Without it, that is the last ``nn.Linear`` with
      ``vocab_size`` outputs; Muon leaves its weights to AdamW.
    """

    config: Any

    def __init__(
        self, config: Any, *, generator: Generator | None = None, dtype: Any = None
    ) -> None: ...

    def forward(self, idx: Tensor) -> Tensor:
        """Token ids (B, T), int64 -> logits (B, T, V)."""
