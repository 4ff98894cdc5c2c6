"""Attention (Vaswani et al., 2017).

>>> from tinytape.nn import functional as F
>>> q = k = v = tt.ones(1, 2, 5, 4)
>>> F.scaled_dot_product_attention(q, k, v, is_causal=True).shape
(1, 2, 5, 4)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinytape.autograd.anomaly_mode import unchecked
from tinytape.dtypes import bool_, float32
from tinytape.errors import ArgumentError, DTypeError, ShapeError
from tinytape.functional._apply import check_tensor, integers_of, run
from tinytape.functional.elementwise import log
from tinytape.functional.shape import expand, flatten, reshape, unsqueeze
from tinytape.random import Generator, default_generator
from tinytape.tensor import Tensor

__all__ = [
    "scaled_dot_product_attention",
    "scaled_dot_product_attention_qkvpacked",
    "scaled_dot_product_attention_with_kvcache",
]

_NAME = "scaled_dot_product_attention"
_PACKED = "scaled_dot_product_attention_qkvpacked"
_CACHED = "scaled_dot_product_attention_with_kvcache"


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """dropout(softmax(scale q k^T + mask)) v for each head.

    Queries (..., L, D), keys (..., S, D) and values (..., S, E) give (..., L, E); the axes before
    the last two are broadcast. All are float32 or float64.

    As ``torch.nn.functional.scaled_dot_product_attention``; but a query that may see no key gives
    zeros, and ``generator`` is ours.

    Args:
        attn_mask: broadcasts to (..., L, S). Bool: True where a query may see a key; or float32 or
            of the queries' type: added to the scores, and differentiable. A query that may see no
            key gives zeros, and zero gradients.
        dropout_p: probability with which a weight is dropped. There is no training mode here: a
            layer in evaluation passes 0.0.
        is_causal: query i sees the keys 0..i. Not together with attn_mask.
        scale: 1 / sqrt(D) when left out.
        enable_gqa: keys and values (..., H, S, ·) have fewer heads than the queries: each serves
            several neighbouring heads of the queries (grouped queries, Ainslie et al., 2023).
        generator: draws the mask; ``tt.default_generator`` by default.

    Raises:
        ShapeError: shapes that do not fit, as above.
        DTypeError: a mask that is neither bool, float32 nor of the queries' type; queries that are
            not floating.
        ArgumentError: attn_mask with is_causal; dropout_p outside [0, 1].

    Vaswani et al. (2017); in blocks of queries, without the L x S matrix (Dao et al., 2022).
    """
    for x in (query, key, value):
        check_tensor(_NAME, x)
    if min(query.ndim, key.ndim, value.ndim) < 2:
        raise _misfit(query, key, value)
    if not query.dtype.is_floating_point:
        raise DTypeError(f"{_NAME}: expected float32 or float64, got {query.dtype}")
    if not 0.0 <= dropout_p <= 1.0:
        raise ArgumentError(f"{_NAME}: dropout_p must be between 0 and 1, got {dropout_p}")
    if attn_mask is not None and is_causal:
        raise ArgumentError(f"{_NAME}: expected attn_mask or is_causal=True, got both")
    if enable_gqa:
        key, value = (_for_heads_of(query, x) for x in (key, value))
    query, key, value = _broadcast(query, key, value)
    shape = query.shape
    lead = shape[:-2]
    if scale is None:
        scale = shape[-1] ** -0.5 if shape[-1] else 1.0
    mask = None
    if attn_mask is not None:
        mask = _mask(attn_mask, query, (*lead, shape[-2], key.shape[-2]))
    heads = (query, key, value)
    if len(lead) != 2:
        heads = (_as_heads(query), _as_heads(key), _as_heads(value))
    seed = stream = offset = 0
    if dropout_p > 0.0:
        source = generator if generator is not None else default_generator
        seed, stream, offset = source._draw(math.prod(shape[:-1]) * key.shape[-2])
    out = run[_NAME](
        (*heads, mask),
        causal=bool(is_causal),
        seed=seed,
        stream=stream,
        offset=offset,
        scale=scale,
        dropout_p=dropout_p,
    )
    return out if len(lead) == 2 else reshape(out, [*lead, *out.shape[-2:]])


def scaled_dot_product_attention_qkvpacked(
    qkv: Tensor,
    heads: int,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Attention of a sequence to itself, from a packed projection: (B, T, 3C) -> (B, T, C).

    The same numbers, within rounding, as splitting the last axis of ``qkv`` into queries, keys and
    values of C = heads * D channels, taking their heads apart, calling
    :func:`scaled_dot_product_attention` and joining the heads again; but nothing is copied, and
    backward writes the three gradients into one. PyTorch has no name for it; FlashAttention's is
    ``flash_attn_qkvpacked_func``.

    Args:
        heads: H, a divisor of C.
        dropout_p: probability with which a weight is dropped.
        is_causal: each position sees those up to itself.
        scale: 1 / sqrt(D) when left out.
        generator: draws the mask; ``tt.default_generator`` by default.
        qkv: float32 or float64.

    Raises:
        ShapeError: qkv of another shape, or heads that do not divide C.
        ArgumentError: dropout_p outside [0, 1].
        DTypeError: for integers and bools.
    """
    if not 0.0 <= dropout_p <= 1.0:
        raise ArgumentError(f"{_PACKED}: dropout_p must be between 0 and 1, got {dropout_p}")
    heads, scale = _heads_and_scale(_PACKED, qkv, heads, scale)
    seed = stream = offset = 0
    if dropout_p > 0.0:
        source = generator if generator is not None else default_generator
        B, T, _ = qkv.shape
        seed, stream, offset = source._draw(B * heads * T * T)
    return run[_PACKED](
        (qkv,),
        heads=heads,
        causal=bool(is_causal),
        seed=seed,
        stream=stream,
        offset=offset,
        scale=scale,
        dropout_p=dropout_p,
    )


def scaled_dot_product_attention_with_kvcache(
    qkv: Tensor, cache: Tensor, heads: int, length: int, scale: float | None = None
) -> Tensor:
    """A step of decoding: n new positions attend to those in a cache and, causally, to each other.

    (B, n, 3C) -> (B, n, C). The new keys and values are written into the cache in place, behind the
    ``length`` positions that it holds. There is no gradient.

    Args:
        qkv: queries, keys and values of the new positions, packed as in
            :func:`scaled_dot_product_attention_qkvpacked`.
        cache: (B, S, 2C), contiguous: the keys and values of a position side by side.
        heads: H, a divisor of C.
        length: positions in the cache; ``length + n`` is at most S.
        scale: 1 / sqrt(D) when left out.
        qkv, cache: of one dtype, float32 or float64.

    Raises:
        ShapeError: shapes that do not fit.
        ArgumentError: n more positions do not fit.
        TapeStateError: a cache that is not contiguous, or the result of a recorded operation.
        DTypeError: for integers and bools, or types that differ.

    PyTorch has no name for it; FlashAttention's is ``flash_attn_with_kvcache``.
    """
    check_tensor(_CACHED, cache)
    heads, scale = _heads_and_scale(_CACHED, qkv, heads, scale)
    return run[_CACHED]((qkv, cache), heads=heads, held=length, scale=scale)


def _heads_and_scale(name: str, qkv: Tensor, heads: int, scale: float | None) -> tuple[int, float]:
    """Both as they are meant, where qkv (B, n, 3C) has that many heads."""
    check_tensor(name, qkv)
    shape = qkv.shape
    (heads,) = integers_of(name, (heads,), "heads")
    if len(shape) != 3 or heads < 1 or shape[2] % (3 * heads):
        raise ShapeError(
            f"{name}: expected qkv (B, T, 3C) with heads that divide C, "
            f"got {shape} and heads {heads}"
        )
    if scale is None:
        scale = (shape[2] // (3 * heads) or 1) ** -0.5
    return heads, scale


def _misfit(query: Tensor, key: Tensor, value: Tensor) -> ShapeError:
    return ShapeError(
        f"{_NAME}: expected (..., L, D), (..., S, D) and (..., S, E), "
        f"got {query.shape}, {key.shape} and {value.shape}"
    )


def _broadcast(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All three with the same axes before the last two."""
    lead = query.shape[:-2]
    if lead == key.shape[:-2] == value.shape[:-2]:
        return query, key, value
    try:
        lead = np.broadcast_shapes(lead, key.shape[:-2], value.shape[:-2])
    except ValueError:
        raise _misfit(query, key, value) from None
    q, k, v = (expand(x, [*lead, *x.shape[-2:]]) for x in (query, key, value))
    return q, k, v


def _as_heads(x: Tensor) -> Tensor:
    """(..., L, D) as (1, H, L, D)."""
    if x.ndim == 2:
        return reshape(x, [1, 1, *x.shape])
    lead = flatten(x, 0, x.ndim - 3)
    return reshape(lead, [1, *lead.shape])


def _mask(given: Any, query: Tensor, scores: Sequence[int]) -> Tensor:
    """The mask that is added to the scores (..., L, S), in the shape it was given if possible."""
    mask = _additive(given, query)
    shape = mask.shape
    fits = len(shape) <= len(scores) and all(
        n in (1, m) for n, m in zip(reversed(shape), reversed(scores), strict=False)
    )
    if not fits:
        raise ShapeError(
            f"{_NAME}: attn_mask {shape} cannot be broadcast to the scores {tuple(scores)}"
        )
    lead = scores[:-2]
    if len(lead) == 2 or len(shape) <= 2:
        return mask
    if all(n == 1 for n in shape[:-2]):
        return reshape(mask, shape[-2:])
    # The heads become one axis, so that the mask has to have all of them.
    return _as_heads(expand(mask, [*lead, *shape[-2:]]))


def _additive(given: Any, query: Tensor) -> Tensor:
    """A mask of either kind as one that is added."""
    check_tensor(_NAME, given)
    mask: Tensor = given
    if mask.dtype is bool_:
        with unchecked(mask._context):
            return log(mask.to(query.dtype))  # ln 1 = 0, ln 0 = -inf
    if mask.dtype is float32:
        return mask.to(query.dtype)
    if mask.dtype is not query.dtype:
        floats = " or ".join(dict.fromkeys((str(float32), str(query.dtype))))
        raise DTypeError(f"{_NAME}: attn_mask must be bool or {floats}, got {mask.dtype}")
    return mask


def _for_heads_of(query: Tensor, x: Tensor) -> Tensor:
    """The heads of x repeated, each in its place, until there are as many as in query."""
    if x.ndim < 3 or x.shape[-3] == 0 or query.shape[-3] % x.shape[-3]:
        raise ShapeError(
            f"{_NAME}: with enable_gqa the heads of keys and values must divide those of the "
            f"queries, got {query.shape} and {x.shape}"
        )
    times = query.shape[-3] // x.shape[-3]
    *lead, length, width = x.shape
    repeated = expand(unsqueeze(x, -3), [*lead, times, length, width])
    return flatten(repeated, -4, -3)
