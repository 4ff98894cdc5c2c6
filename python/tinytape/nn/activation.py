"""Activations as layers."""

from __future__ import annotations

from ..errors import ArgumentError
from ..tensor import Tensor
from . import functional as F
from .module import Module


class GELU(Module):
    """x * Phi(x) (Hendrycks and Gimpel 2016).

    Args:
        approximate: "none" for the error function, "tanh" for the paper's approximation.
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return F.gelu(input, approximate=self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Tanh(Module):
    """tanh(x)."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return F.tanh(input)


class _AlongDim(Module):
    """What Softmax and LogSoftmax share. Here the axis must be named; PyTorch only warns."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        if dim is None:
            raise ArgumentError(f"{type(self).__name__}: expected dim, the axis that sums to one")
        self.dim = dim

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax(_AlongDim):
    """exp(x) / sum(exp(x)) along ``dim``."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return F.softmax(input, self.dim)


class LogSoftmax(_AlongDim):
    """x - log(sum(exp(x))) along ``dim``."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return F.log_softmax(input, self.dim)
