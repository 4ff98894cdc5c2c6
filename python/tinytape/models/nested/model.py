"""A nested language model: an embedding, levels that learn at different speeds, and a head.

The levels are those of :mod:`tinytape.nested`. The model keeps a state: that of the LSTM continues
from batch to batch in each row. Embedding, levels and head of the original system, with 283
characters and the sizes of the presets, have 1,197,339 parameters.

>>> from tinytape.models import NestedConfig, NestedLM
>>> model = NestedLM(NestedConfig(vocab_size=5, context=4, width=8, hidden=16))
>>> model(tt.tensor([[0, 1, 2]])).shape
(1, 3, 5)
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from ...errors import ArgumentError, ShapeError
from ...nested import NestedModelWithState, preset
from ...nested.model import MIXES, WIRINGS, Info
from ...nested.state import CarriedState
from ...nn import Dropout, Embedding, LayerNorm, Linear, Module, init
from ...random import Generator
from ...tensor import Tensor

_SIZES = {"context": 128, "width": 256, "hidden": 512}
_RECIPE = {**_SIZES, **preset("unscaled")["model"]}

# Everything of a config but the vocabulary, which the text decides.
PRESETS: dict[str, dict[str, Any]] = {
    "nested": {**_RECIPE, "persistent": False},
    "nested-state": _RECIPE,
    "nested-surprise": _RECIPE,
    # The wiring of the documents: no residual branches, no norms, as drawn.
    "nested-original": _SIZES,
}


@dataclass(frozen=True)
class NestedConfig:
    """Sizes and wiring of a nested language model.

    Attributes:
        vocab_size: V, number of tokens.
        context: tokens of a training window, and the unit of memories; the model takes any number.
        width: C, of embedding, LSTM and levels.
        hidden: between the two layers of a feed-forward level.
        residual, norm, forget_bias, wiring, mix: see :class:`tinytape.nested.NestedModel`. With
            ``residual`` the feed-forward levels begin by adding nothing.
        medium_memory, slow_memory: time constants of leaky memories, in batches of ``context``
            tokens; None for none.
        persistent: whether the state continues from batch to batch.
        dropout: probability, after the embedding and before the head.

    Raises:
        ValueError: a size below 1, an unknown wiring or mix, a number outside its range.
    """

    vocab_size: int
    context: int
    width: int
    hidden: int
    residual: bool = False
    norm: bool = False
    forget_bias: float | None = None
    wiring: str = "sequential"
    mix: str = "mean"
    medium_memory: float | None = None
    slow_memory: float | None = None
    persistent: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("vocab_size", "context", "width", "hidden"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ArgumentError(
                    f"NestedConfig: expected {name} to be an int >= 1, got {value!r}"
                )
        for name in ("residual", "norm", "persistent"):
            if not isinstance(getattr(self, name), bool):
                raise ArgumentError(
                    f"NestedConfig: expected {name} to be a bool, got {getattr(self, name)!r}"
                )
        for name, known in (("wiring", WIRINGS), ("mix", MIXES)):
            if getattr(self, name) not in known:
                raise ArgumentError(
                    f"NestedConfig: expected {name} to be one of {', '.join(known)}, "
                    f"got {getattr(self, name)!r}"
                )
        for name, above in (
            ("forget_bias", -math.inf),
            ("medium_memory", 0.0),
            ("slow_memory", 0.0),
        ):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and not (number and math.isfinite(value) and value > above):
                raise ArgumentError(
                    f"NestedConfig: expected {name} to be a number above {above} or None, "
                    f"got {value!r}"
                )
        if not (isinstance(self.dropout, int | float) and 0.0 <= self.dropout < 1.0):
            raise ArgumentError(f"NestedConfig: expected dropout in [0, 1), got {self.dropout!r}")

    @property
    def memory(self) -> dict[str, float]:
        """The time constants by level, where there are memories."""
        taus = {"level2_medium": self.medium_memory, "level3_slow": self.slow_memory}
        return {level: tau for level, tau in taus.items() if tau is not None}

    @property
    def activations_per_token(self) -> int:
        """About how many numbers a training step keeps for one position: measured, not derived."""
        return 26 * self.width + 6 * self.hidden + 4 * self.vocab_size

    def count_parameters(self) -> tuple[int, int]:
        """How many parameters a model of these sizes has, and how many values they hold."""
        C, H, V = self.width, self.hidden, self.vocab_size
        parts = [(1, V * C), (4, 8 * C * C + 8 * C), (8, 2 * (2 * C * H + H + C)), (2, V * C + V)]
        parts += [(8, 8 * C)] if self.norm else []  # three levels and the head
        parts += [(len(self.memory), len(self.memory) * C)]
        parts += [(1, 3)] if self.mix == "learned" else []
        return sum(n for n, _ in parts), sum(size for _, size in parts)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, with the architecture's name; ``models.from_config`` takes it back."""
        return {"architecture": "nested", **asdict(self)}


class StateCache:
    """The state of the model for a text that is being written: it takes any number of tokens."""

    context = None  # no bound

    def __init__(self, config: NestedConfig) -> None:
        self.states = CarriedState(config.width, tuple(config.memory))

    def reset(self) -> None:
        """Forget all tokens."""
        self.states = CarriedState(self.states.input_size, self.states.memory_levels)


class NestedLM(Module):
    """The language model.

    Args:
        config: its sizes and wiring.
        generator: draws the weights (the same seed gives the same weights) and, in training with
            dropout, the masks; ``tt.default_generator`` by default.
        dtype: of the parameters; float32 by default.
    """

    def __init__(
        self, config: NestedConfig, *, generator: Generator | None = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.config = config
        options = {"dtype": dtype, "generator": generator}
        self.embedding = Embedding(config.vocab_size, config.width, **options)
        self.nested = NestedModelWithState(
            config.width,
            config.hidden,
            memory=config.memory,
            memory_length=config.context,
            residual=config.residual,
            norm=config.norm,
            forget_bias=config.forget_bias,
            wiring=config.wiring,
            mix=config.mix,
            **options,
        )
        self.norm = LayerNorm(config.width, dtype=dtype) if config.norm else None
        self.head = Linear(config.width, config.vocab_size, **options)
        self.dropout = Dropout(config.dropout, generator=generator)
        if config.residual:
            for level in (self.nested.level2_medium, self.nested.level3_slow):
                init.zeros_(level.proj.weight)
                init.zeros_(level.proj.bias)

    def forward(self, idx: Tensor, cache: StateCache | None = None) -> Tensor:
        """Token ids (B, T), int64 -> logits (B, T, V), for the token after each position.

        Args:
            cache: from :meth:`new_cache`: the text continues from it, and the model's own state
                stays.

        Raises:
            ValueError: not two dimensions.
            IndexError: a token outside the vocabulary.
        """
        if cache is None:
            return self.read(idx)[0]
        with self.nested.carrying(cache.states):
            logits, _ = self.read(idx, reset_states=False)
            self.nested.detach_states()
        return logits

    def read(
        self,
        idx: Tensor,
        *,
        compute_surprise: bool | str = False,
        reset_states: bool | None = None,
        boundaries: Any = None,
    ) -> tuple[Tensor, Info | None]:
        """The logits, and the inputs and outputs of the levels if ``compute_surprise``.

        Args:
            reset_states: begin with zeros; by default where the model is not persistent.
            boundaries: (B, T), bool: tokens with which a document begins; see
                :class:`tinytape.nested.NestedModelWithState`.

        Raises:
            ValueError: not two dimensions.
        """
        if idx.ndim != 2:
            raise ShapeError(
                f"NestedLM: expected token ids of shape (B, T), got {tuple(idx.shape)}"
            )
        reset = not self.config.persistent if reset_states is None else reset_states
        x = self.dropout(self.embedding(idx))
        y, info = self.nested(x, compute_surprise, reset, boundaries)
        y = self.dropout(y)
        logits: Tensor = self.head(y if self.norm is None else self.norm(y))
        return logits, info

    def new_cache(self, batch_size: int = 1) -> StateCache:
        """An empty state for writing ``batch_size`` texts side by side."""
        return StateCache(self.config)
