"""Activation functions."""

from __future__ import annotations

from tinytape._ffi import OPS
from tinytape.errors import ArgumentError
from tinytape.functional._apply import apply, check_tensor
from tinytape.tensor import Tensor

__all__ = ["gelu"]


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x F(x), F the normal distribution function (Hendrycks and Gimpel, 2016).

    Args:
        approximate: "none" for the exact function, "tanh" for their approximation.
    """
    check_tensor("gelu", input)
    if approximate not in ("none", "tanh"):
        raise ArgumentError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    return apply(OPS["gelu"], (input,), (int(approximate == "tanh"),))
