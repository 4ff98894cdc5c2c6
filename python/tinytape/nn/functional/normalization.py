"""Normalisation over the last axes.

>>> from tinytape.nn import functional as F
>>> F.layer_norm(tt.tensor([[1.0, 3.0]]), 2, eps=0.0).tolist()
[[-1.0, 1.0]]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinytape.errors import ShapeError
from tinytape.functional._apply import check_tensor, run
from tinytape.tensor import Tensor

__all__ = ["layer_norm", "rms_norm"]


def layer_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axes, of shape normalized_shape.

    Ba, Kiros and Hinton, "Layer Normalization" (2016), with the biased variance.

    As ``torch.nn.functional.layer_norm``. The result has the input's shape.

    Args:
        input, weight, bias: of one dtype, float32 or float64; the last two of shape
            normalized_shape.

    Raises:
        ShapeError: when the last axes of the input are not of normalized_shape.
        DTypeError: for integers and bools, or types that differ.
    """
    axes = _axes("layer_norm", input, normalized_shape)
    return run["layer_norm"]((input, weight, bias), axes=axes, eps=eps)


def rms_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """input / sqrt(mean(input^2) + eps) * weight over the last axes, of shape normalized_shape.

    As ``torch.nn.functional.rms_norm``. The result has the input's shape.

    Args:
        weight: of shape normalized_shape; ones when left out.
        eps: the machine epsilon of the input's type when left out.

    Raises:
        ShapeError: when the last axes of the input are not of normalized_shape.
        DTypeError: for integers and bools, or types that differ.

    Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019).
    """
    axes = _axes("rms_norm", input, normalized_shape)
    if eps is None:
        floating = input.dtype.is_floating_point
        eps = float(np.finfo(input.dtype.numpy).eps) if floating else 0.0
    return run["rms_norm"]((input, weight), axes=axes, eps=eps)


def _axes(name: str, input: Tensor, normalized_shape: int | Sequence[int]) -> int:
    """The number of last axes that have this shape."""
    check_tensor(name, input)
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or input.shape[-len(shape) :] != shape:
        raise ShapeError(
            f"{name}: expected an input of shape (..., {', '.join(map(str, shape))}), "
            f"got {input.shape}"
        )
    return len(shape)
