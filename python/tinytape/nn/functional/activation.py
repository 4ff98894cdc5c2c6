"""Activation functions.

>>> from tinytape.nn import functional as F
>>> F.silu(tt.tensor([0.0])).tolist()
[0.0]
"""

from __future__ import annotations

from tinytape._pytorch import refuse_others
from tinytape.errors import ArgumentError
from tinytape.functional._apply import check_tensor, run, unary
from tinytape.tensor import Tensor

__all__ = ["gelu", "silu", "softplus"]


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x F(x), F the normal distribution function (Hendrycks and Gimpel, 2016).

    As ``torch.nn.functional.gelu``. Any shape -> the same shape.

    Args:
        input: float32 or float64.
        approximate: "none" for the exact function, "tanh" for their approximation.

    Raises:
        DTypeError: for integers and bools.
        ArgumentError: for another approximation.
    """
    check_tensor("gelu", input)
    if approximate not in ("none", "tanh"):
        raise ArgumentError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    return run["gelu"]((input,), by_tanh=approximate == "tanh")


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x sigmoid(x), also called swish (Elfwing et al., 2017; Ramachandran et al., 2017).

    As ``torch.nn.functional.silu``. Any shape -> the same shape.

    Args:
        input: float32 or float64.
        inplace: not supported; True raises.

    Raises:
        DTypeError: for integers and bools.
        ArgumentError: for inplace=True.
    """
    if inplace:
        refuse_others("silu", {"inplace": inplace}, "inplace")
    return unary("silu", input)


def softplus(input: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """log(1 + exp(beta x)) / beta, and x itself where beta x > threshold (Dugas et al., 2001).

    As ``torch.nn.functional.softplus``. Any shape -> the same shape.

    Args:
        input: float32 or float64.

    Raises:
        DTypeError: for integers and bools.
    """
    check_tensor("softplus", input)
    return run["softplus"]((input,), beta=float(beta), threshold=float(threshold))
