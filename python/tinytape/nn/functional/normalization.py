"""Normalisation over the last axes."""

from __future__ import annotations

from collections.abc import Sequence

from tinytape._ffi import OPS
from tinytape.errors import ShapeError
from tinytape.functional._apply import apply, check_tensor
from tinytape.tensor import Tensor

__all__ = ["layer_norm"]


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
    check_tensor("layer_norm", input)
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or input.shape[-len(shape) :] != shape:
        raise ShapeError(
            f"layer_norm: expected an input of shape (..., {', '.join(map(str, shape))}), "
            f"got {input.shape}"
        )
    return apply(OPS["layer_norm"], (input, weight, bias), (len(shape),), (eps,))
