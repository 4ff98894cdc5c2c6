"""Causal multi-head self-attention (Vaswani et al. 2017) and its key/value cache.

>>> attention = tt.nn.CausalSelfAttention(16, 4)
>>> attention(tt.zeros(2, 5, 16)).shape
(2, 5, 16)
>>> cache = tt.nn.KVCache(layers=1, batch_size=2, heads=4, context=8, head_dim=4)
>>> with tt.no_grad():
...     y = attention(tt.zeros(2, 3, 16), cache)
>>> cache.advance(3)
>>> y.shape, cache.length
((2, 3, 16), 3)
"""

from __future__ import annotations

from typing import Any

from .._ffi import lib
from ..creation import zeros
from ..errors import ArgumentError
from ..random import Generator
from ..tensor import Tensor
from . import functional as F
from .dropout import Dropout
from .linear import Linear, add_projection
from .module import Module


class KVCache:
    """Keys and values of the tokens seen so far, for every layer, in memory taken once.

    Decoding with such a cache is described by Pope et al., "Efficiently Scaling Transformer
    Inference" (2022).

    Args:
        layers: how many attention layers share the cache.
        batch_size: B.
        heads: H.
        context: tokens that fit.
        head_dim: D.
        dtype: of the buffers; float32 by default.

    Attributes:
        kv: of each layer (B, context, 2 H D), the keys and values of a token side by side.
        length: tokens held. It moves on only when all layers have written (``advance``), so a
            forward pass that fails half way leaves the cache as it was.
    """

    def __init__(
        self,
        layers: int,
        batch_size: int,
        heads: int,
        context: int,
        head_dim: int,
        dtype: Any = None,
    ) -> None:
        shape = (batch_size, context, 2 * heads * head_dim)
        self.kv = [zeros(*shape, dtype=dtype, _pool=lib.TT_POOL_STATE) for _ in range(layers)]
        self.batch_size = batch_size
        self.context = context
        self.length = 0

    def reserve(self, batch_size: int, n: int) -> None:
        """Check that ``n`` more tokens of ``batch_size`` sequences fit.

        Raises:
            ArgumentError: (a ValueError) when they do not.
        """
        if batch_size != self.batch_size:
            raise ArgumentError(
                f"KVCache: made for batch size {self.batch_size}, got a batch of {batch_size}"
            )
        if self.length + n > self.context:
            raise ArgumentError(
                f"KVCache: {n} more tokens do not fit: {self.length} of {self.context} are taken; "
                f"reset() it and start from a shorter text"
            )

    def advance(self, n: int) -> None:
        """Count ``n`` more tokens as held."""
        self.length += n

    def reset(self) -> None:
        """Forget all tokens."""
        self.length = 0


class CausalSelfAttention(Module):
    """Each position attends to itself and to those before it.

    The attention of Vaswani et al. (2017), masked; PyTorch has no layer for it.

    Raises:
        ArgumentError: when heads does not divide width, or a probability is outside [0, 1].

    Args:
        width: C, a multiple of ``heads``.
        heads: H; each has C / H channels.
        dropout: probability, on the output.
        attention_dropout: probability, on the attention weights.
        dtype: of the parameters; float32 by default.
        generator: draws the initial values and, in training, the dropout masks.

    Parameters: ``qkv`` (C -> 3C: queries, keys, values) and ``proj`` (C -> C), with biases.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        dropout: float = 0.0,
        *,
        attention_dropout: float = 0.0,
        dtype: Any = None,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        if not 0.0 <= attention_dropout <= 1.0:
            raise ArgumentError(
                f"CausalSelfAttention: expected attention_dropout in [0, 1], "
                f"got {attention_dropout}"
            )
        if heads < 1 or width % heads:
            raise ArgumentError(
                f"CausalSelfAttention: expected heads to divide width, "
                f"got width {width} and heads {heads}"
            )
        self.heads = heads
        self.attention_dropout = attention_dropout
        self.qkv = Linear(width, 3 * width, dtype=dtype, generator=generator)
        self.proj = Linear(width, width, dtype=dtype, generator=generator)
        self.dropout = Dropout(dropout, generator=generator)

    def forward(
        self,
        x: Tensor,
        cache: KVCache | None = None,
        layer: int = 0,
        residual: Tensor | None = None,
    ) -> Tensor:
        """(B, T, C) -> (B, T, C).

        Args:
            x: the positions after those that the cache holds.
            cache: keys and values of earlier positions; the new ones are written into it. With
                one no attention weight is dropped, and no gradient comes.
            layer: which of the cache's layers this is.
            residual: (B, T, C), to which the result is added.
        """
        qkv = self.qkv(x)
        if cache is not None:
            y = F.scaled_dot_product_attention_with_kvcache(
                qkv, cache.kv[layer], self.heads, cache.length
            )
        else:
            y = F.scaled_dot_product_attention_qkvpacked(
                qkv,
                self.heads,
                self.attention_dropout if self.training else 0.0,
                is_causal=True,
                generator=self.dropout.generator,
            )
        return add_projection(residual, self.proj, self.dropout, y)
