"""Convolutions."""

from __future__ import annotations

from tinytape._ffi import OPS
from tinytape.functional._apply import apply, check_tensor
from tinytape.tensor import Tensor

__all__ = ["causal_conv1d"]


def causal_conv1d(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Every channel filtered along time by K taps of its own, from what came so far.

    y[b, c, t] = bias[c] + sum_k weight[c, k] x[b, c, t - K + 1 + k], with zeros before the first
    step: the last tap meets the present. Named as in the package causal-conv1d, which Mamba uses
    (Gu and Dao 2023). Done directly, in time proportional to K.

    Args:
        x: (B, C, T), float32 or float64.
        weight: (C, K).
        bias: (C,).

    Returns:
        (B, C, T).

    Raises:
        ShapeError: where the shapes do not fit.
        DTypeError: where the dtypes differ.
    """
    check_tensor("causal_conv1d", x)
    check_tensor("causal_conv1d", weight)
    return apply(OPS["causal_conv1d"], (x, weight, bias), (0,))
