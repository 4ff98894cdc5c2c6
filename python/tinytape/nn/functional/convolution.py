"""Convolutions.

>>> from tinytape.nn import functional as F
>>> x = tt.tensor([[[1.0, 2.0, 3.0]]])
>>> F.causal_conv1d(x, tt.tensor([[1.0, 10.0]])).tolist()
[[[10.0, 21.0, 32.0]]]
"""

from __future__ import annotations

from tinytape.functional._apply import check_tensor, run
from tinytape.tensor import Tensor

__all__ = ["causal_conv1d"]


def causal_conv1d(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Each channel filtered along time by its own K taps, over the present and the past.

    y[b, c, t] = bias[c] + sum_k weight[c, k] x[b, c, t - K + 1 + k], with zeros before the first
    step: the last tap meets the present. Named as in the package causal-conv1d, which Mamba uses
    (Gu and Dao 2023). Computed directly, in time proportional to K.

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
    return run["causal_conv1d"]((x, weight, bias), reverse=False)
