"""Activation functions."""

from __future__ import annotations

from tinytape._ffi import OPS
from tinytape._pytorch import refuse_others
from tinytape.errors import ArgumentError
from tinytape.functional._apply import apply, check_tensor, unary
from tinytape.tensor import Tensor

__all__ = ["gelu", "silu", "softplus"]


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x F(x), F the normal distribution function (Hendrycks and Gimpel, 2016).

    Args:
        approximate: "none" for the exact function, "tanh" for their approximation.
    """
    check_tensor("gelu", input)
    if approximate not in ("none", "tanh"):
        raise ArgumentError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    return apply(OPS["gelu"], (input,), (int(approximate == "tanh"),))


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x sigmoid(x), also called swish (Elfwing et al., 2017; Ramachandran et al., 2017).

    Args:
        inplace: not supported; True raises.
    """
    if inplace:
        refuse_others("silu", {"inplace": inplace}, "inplace")
    return unary("silu", input)


def softplus(input: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """log(1 + exp(beta x)) / beta, and x itself where beta x > threshold (Dugas et al., 2001)."""
    check_tensor("softplus", input)
    return apply(OPS["softplus"], (input,), (), (float(beta), float(threshold)))
