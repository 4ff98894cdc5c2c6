"""A GPT-style character transformer: learned positions, pre-LayerNorm blocks, untied head.

Radford et al. 2019 (GPT-2): x = tokens + positions; each block adds attention(norm(x)) and then
mlp(norm(x)); a last norm; a linear head with bias.

>>> from tinytape.models import GPT, GPTConfig
>>> model = GPT(GPTConfig(vocab_size=5, context=8, width=16, heads=2, layers=1))
>>> model(tt.tensor([[0, 1, 2]])).shape
(1, 3, 5)
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from ..autograd import is_grad_enabled
from ..errors import ArgumentError, ShapeError, TapeStateError
from ..nn import (
    CausalSelfAttention,
    Dropout,
    Embedding,
    KVCache,
    LayerNorm,
    Linear,
    Module,
    ModuleList,
    init,
)
from ..nn import functional as F
from ..nn.linear import add_projection
from ..random import Generator
from ..tensor import Tensor
from .spec import ModelSpec

INIT_STD = 0.02

# Everything of a config but the vocabulary, which the text decides.
PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {"context": 32, "width": 64, "heads": 4, "layers": 2},
    "small": {"context": 64, "width": 128, "heads": 4, "layers": 2},
    "medium": {"context": 256, "width": 256, "heads": 8, "layers": 4},
}


@dataclass(frozen=True)
class GPTConfig:
    """Sizes of a GPT.

    Attributes:
        vocab_size: V, number of tokens.
        context: most positions the model can see.
        width: C, channels of the residual stream.
        heads: H, which divides C.
        layers: blocks.
        dropout: probability, after the embeddings and on what each block adds.

    Raises:
        ValueError: a size below 1, heads that do not divide width, dropout outside [0, 1).
    """

    vocab_size: int
    context: int
    width: int
    heads: int
    layers: int
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("vocab_size", "context", "width", "heads", "layers"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ArgumentError(f"GPTConfig: expected {name} to be an int >= 1, got {value!r}")
        if self.width % self.heads:
            raise ArgumentError(
                f"GPTConfig: expected heads to divide width, "
                f"got width {self.width} and heads {self.heads}"
            )
        if not 0.0 <= self.dropout < 1.0:
            raise ArgumentError(f"GPTConfig: expected dropout in [0, 1), got {self.dropout}")

    @property
    def activations_per_token(self) -> int:
        """About how many numbers a training step keeps for one position.

        Measured, not derived: 28 widths a layer, for the norms and sums, q, k, v and the
        attention's result, the feed-forward before and after GELU, and the cotangents.
        """
        return 28 * self.layers * self.width + 4 * self.vocab_size

    def count_parameters(self) -> tuple[int, int]:
        """How many parameters a model of these sizes has, and how many values they hold."""
        C = self.width
        block = 12 * C * C + 13 * C  # norms 4C, attention 4C^2 + 4C, MLP 8C^2 + 5C
        ends = (2 * self.vocab_size + self.context) * C + 2 * C + self.vocab_size
        return 12 * self.layers + 6, block * self.layers + ends

    def to_dict(self) -> dict[str, Any]:
        """Plain values, with the architecture's name; ``models.from_config`` takes it back."""
        return {"architecture": "gpt", **asdict(self)}


class MLP(Module):
    """C -> 4C -> GELU -> C."""

    def __init__(self, config: GPTConfig, *, dtype: Any, generator: Generator | None) -> None:
        super().__init__()
        C = config.width
        self.fc = Linear(C, 4 * C, dtype=dtype, generator=generator)
        self.proj = Linear(4 * C, C, dtype=dtype, generator=generator)
        self.dropout = Dropout(config.dropout, generator=generator)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """(B, T, C) -> (B, T, C), added to ``residual`` (B, T, C) if there is one."""
        hidden = F.linear_activation(x, self.fc.weight, self.fc.bias, activation="gelu")
        return add_projection(residual, self.proj, self.dropout, hidden)


class Block(Module):
    """x + attention(norm1(x)), then x + mlp(norm2(x))."""

    def __init__(self, config: GPTConfig, *, dtype: Any, generator: Generator | None) -> None:
        super().__init__()
        self.norm1 = LayerNorm(config.width, dtype=dtype)
        self.attention = CausalSelfAttention(
            config.width, config.heads, config.dropout, dtype=dtype, generator=generator
        )
        self.norm2 = LayerNorm(config.width, dtype=dtype)
        self.mlp = MLP(config, dtype=dtype, generator=generator)

    def forward(self, x: Tensor, cache: KVCache | None = None, layer: int = 0) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        x = self.attention(self.norm1(x), cache, layer, residual=x)
        x = self.mlp(self.norm2(x), residual=x)
        return x


class GPT(Module):
    """The transformer.

    Args:
        config: its sizes.
        generator: draws the weights (the same seed gives the same weights) and, in training with
            dropout, the masks; ``tt.default_generator`` by default. To resume exactly, a run saves
            its ``get_state()``.
        dtype: of the parameters; float32 by default.

    Weights are drawn as in GPT-2: N(0, 0.02^2), the two projections of each block that end in
    the residual stream with 0.02 / sqrt(2 * layers); biases are zero.
    """

    def __init__(
        self, config: GPTConfig, *, generator: Generator | None = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.config = config
        options = {"dtype": dtype, "generator": generator}
        self.token_embedding = Embedding(config.vocab_size, config.width, **options)
        self.position_embedding = Embedding(config.context, config.width, **options)
        self.dropout = Dropout(config.dropout, generator=generator)
        self.blocks = ModuleList(Block(config, **options) for _ in range(config.layers))
        self.norm = LayerNorm(config.width, dtype=dtype)
        self.head = Linear(config.width, config.vocab_size, **options)
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw all weights again."""
        residual_std = INIT_STD / math.sqrt(2 * self.config.layers)
        for name, module in self.named_modules():
            if isinstance(module, (Linear, Embedding)):
                std = residual_std if name.endswith(".proj") else INIT_STD
                init.normal_(module.weight, 0.0, std, generator=generator)
            if isinstance(module, Linear):
                init.zeros_(module.bias)
            if isinstance(module, LayerNorm):
                module.reset_parameters()

    def forward(self, idx: Tensor, cache: KVCache | None = None) -> Tensor:
        """Token ids (B, T), int64 -> logits (B, T, V), for the token after each position.

        Args:
            idx: with a cache, only the tokens after those that it holds.
            cache: from :meth:`new_cache`; filled as a side effect. Needs ``tt.no_grad()``.

        Raises:
            ValueError: not two dimensions, longer than the context, or a full cache.
            IndexError: a token outside the vocabulary.
            TapeStateError: a cache while gradients are enabled.
        """
        if idx.ndim != 2:
            raise ShapeError(f"GPT: expected token ids of shape (B, T), got {tuple(idx.shape)}")
        batch_size, length = idx.shape
        if length > self.config.context:
            raise ShapeError(
                f"GPT: expected at most context = {self.config.context} tokens, got {length}"
            )
        past = 0
        if cache is not None:
            if is_grad_enabled():
                raise TapeStateError(
                    "GPT: a cache needs tt.no_grad(): no gradient flows through what it holds"
                )
            cache.reserve(batch_size, length)
            past = cache.length
        positions: Tensor = self.position_embedding.weight
        if length < self.config.context:
            positions = positions.narrow(0, past, length)
        x = self.token_embedding(idx) + positions
        x = self.dropout(x)
        for layer, block in enumerate(self.blocks):
            x = block(x, cache, layer)
        if cache is not None:
            cache.advance(length)
        logits: Tensor = self.head(self.norm(x))
        return logits

    def new_cache(self, batch_size: int = 1) -> KVCache:
        """An empty cache for decoding ``batch_size`` texts side by side."""
        config = self.config
        return KVCache(
            config.layers,
            batch_size,
            config.heads,
            config.context,
            config.width // config.heads,
            dtype=self.head.weight.dtype,
        )


SPEC = ModelSpec("gpt", GPTConfig, GPT, PRESETS)
