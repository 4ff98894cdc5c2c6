"""Affine maps."""

from __future__ import annotations

from tinytape._ffi import OPS
from tinytape.functional._apply import apply, check_tensor
from tinytape.tensor import Tensor

__all__ = ["linear"]


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b: input (..., in), weight (out, in), bias (out,) -> (..., out)."""
    check_tensor("linear", input)
    check_tensor("linear", weight)
    return apply(OPS["linear"], (input, weight, bias))
