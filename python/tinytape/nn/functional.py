"""The functions that layers are made of, with PyTorch's names and defaults."""

from __future__ import annotations

from collections.abc import Sequence

from tinytape._ffi import OPS
from tinytape.errors import ArgumentError, DTypeError, ShapeError
from tinytape.functional import _check_tensor, apply, flatten, log_softmax, reshape, softmax, tanh
from tinytape.random import Generator, default_generator
from tinytape.tensor import Tensor

__all__ = [
    "cross_entropy",
    "dropout",
    "embedding",
    "gelu",
    "layer_norm",
    "linear",
    "log_softmax",
    "scaled_dot_product_attention",
    "softmax",
    "tanh",
]

_REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b: input (..., in), weight (out, in), bias (out,) -> (..., out)."""
    _check_tensor("linear", input)
    _check_tensor("linear", weight)
    return apply(OPS["linear"], (input, weight, bias))


def embedding(input: Tensor, weight: Tensor) -> Tensor:
    """Rows of weight (V, D) at the indices input (...), int64 -> (..., D).

    Raises:
        IndexError: for an index outside 0..V-1.
    """
    _check_tensor("embedding", input)
    _check_tensor("embedding", weight)
    return apply(OPS["embedding"], (weight, input))


def layer_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axes, of shape normalized_shape.

    Ba, Kiros and Hinton, "Layer Normalization" (2016), with the biased variance.
    """
    _check_tensor("layer_norm", input)
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or input.shape[-len(shape) :] != shape:
        raise ShapeError(
            f"layer_norm: expected an input of shape (..., {', '.join(map(str, shape))}), "
            f"got {input.shape}"
        )
    return apply(OPS["layer_norm"], (input, weight, bias), (len(shape),), (eps,))


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x F(x), F the normal distribution function (Hendrycks and Gimpel, 2016).

    Args:
        approximate: "none" for the exact function, "tanh" for their approximation.
    """
    _check_tensor("gelu", input)
    if approximate not in ("none", "tanh"):
        raise ArgumentError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    return apply(OPS["gelu"], (input,), (int(approximate == "tanh"),))


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-ln softmax(input)[target], in nats.

    Args:
        input: logits, (N, C) or (C,).
        target: class indices, int64, (N,) or ().
        weight, size_average, reduce, label_smoothing: in PyTorch's place; only the defaults so far.
        ignore_index: rows with this target count for nothing.
        reduction: "mean" over the rows that count, "sum", or "none" for one loss a row.

    Raises:
        IndexError: for a target outside 0..C-1.
    """
    _check_tensor("cross_entropy", input)
    _check_tensor("cross_entropy", target)
    if not (weight is None and size_average is None and reduce is None and label_smoothing == 0.0):
        raise ArgumentError(
            "cross_entropy: weight, size_average, reduce and label_smoothing are not supported: "
            "expected None, None, None and 0.0"
        )
    if not -(1 << 63) <= ignore_index < 1 << 63:
        raise ArgumentError(f"cross_entropy: ignore_index must fit 64 bits, got {ignore_index}")
    if reduction not in _REDUCTIONS:
        raise ArgumentError(
            f"cross_entropy: reduction must be 'none', 'mean' or 'sum', got {reduction!r}"
        )
    single = input.ndim == 1 and target.ndim == 0
    if single:
        input, target = reshape(input, [1, -1]), reshape(target, [1])
    loss = apply(OPS["cross_entropy"], (input, target), (_REDUCTIONS[reduction], ignore_index))
    return reshape(loss, []) if single and reduction == "none" else loss


def dropout(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Each element zero with probability p, the others scaled by 1 / (1 - p).

    Srivastava et al. (2014). The input itself when not training. The mask is a function of the
    generator's seed and offset, which advances.
    """
    _check_tensor("dropout", input)
    if inplace:
        raise ArgumentError("dropout: inplace must be False")
    if not 0.0 <= p <= 1.0:
        raise ArgumentError(f"dropout: the probability must be between 0 and 1, got {p}")
    if not training or p == 0.0:
        return input
    source = generator if generator is not None else default_generator
    offset = source.take(input.numel())
    ints = [v - (1 << 64) if v >= 1 << 63 else v for v in (source.seed, source.stream, offset)]
    return apply(OPS["dropout"], (input,), ints, (p,))


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
        _check_tensor("scaled_dot_product_attention", x)
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
