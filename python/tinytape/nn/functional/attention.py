"""Attention."""

from __future__ import annotations

from tinytape._ffi import OPS
from tinytape.errors import ArgumentError, DTypeError, ShapeError
from tinytape.functional._apply import apply, check_tensor
from tinytape.functional.shape import flatten, reshape
from tinytape.tensor import Tensor

__all__ = ["scaled_dot_product_attention"]


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """softmax(scale q k^T) v for each head.

    Queries (..., L, D), keys (..., S, D) and values (..., S, E) give (..., L, E).

    Args:
        attn_mask, dropout_p: in PyTorch's place; only None and 0.0 so far.
        is_causal: query i sees the keys 0..i.
        scale: 1 / sqrt(D) when left out.

    Vaswani et al. (2017); in blocks of queries, without the L x S matrix (Dao et al., 2022).
    """
    for x in (query, key, value):
        check_tensor("scaled_dot_product_attention", x)
    if attn_mask is not None or dropout_p != 0.0:
        raise ArgumentError(
            "scaled_dot_product_attention: attn_mask must be None and dropout_p 0.0, "
            f"got {type(attn_mask).__name__} and {dropout_p}"
        )
    if query.ndim < 2 or not query.ndim == key.ndim == value.ndim:
        raise ShapeError(
            "scaled_dot_product_attention: expected (..., L, D), (..., S, D) and (..., S, E), "
            f"got {query.shape}, {key.shape} and {value.shape}"
        )
    if not query.dtype.is_floating_point:
        raise DTypeError(
            f"scaled_dot_product_attention: expected float32 or float64, got {query.dtype}"
        )
    lead = query.shape[:-2]
    if scale is None:
        scale = query.shape[-1] ** -0.5 if query.shape[-1] else 1.0
    heads = (query, key, value)
    if len(lead) == 2:
        return apply(OPS["scaled_dot_product_attention"], heads, (int(is_causal),), (scale,))
    flat = [_as_heads(x) for x in heads]
    out = apply(OPS["scaled_dot_product_attention"], flat, (int(is_causal),), (scale,))
    return reshape(out, [*lead, *out.shape[-2:]])


def _as_heads(x: Tensor) -> Tensor:
    """(..., L, D) as (1, H, L, D)."""
    if x.ndim == 2:
        return reshape(x, [1, 1, *x.shape])
    lead = flatten(x, 0, x.ndim - 3)
    return reshape(lead, [1, *lead.shape])
