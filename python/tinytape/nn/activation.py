"""Activations as layers.

>>> tt.nn.ReLU()(tt.tensor([-1.0, 2.0])).tolist()
[0.0, 2.0]
"""

from __future__ import annotations

from .._pytorch import refuse_others
from ..errors import ArgumentError
from ..tensor import Tensor
from . import functional as F
from .module import Module


class GELU(Module):
    """x * Phi(x) (Hendrycks and Gimpel 2016); as ``torch.nn.GELU``.

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
    """tanh(x); as ``torch.nn.Tanh``."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return F.tanh(input)


class Sigmoid(Module):
    """1 / (1 + exp(-x)); as ``torch.nn.Sigmoid``."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return F.sigmoid(input)


class _InPlace(Module):
    """The base of ReLU and SiLU: PyTorch's ``inplace=True`` raises ArgumentError."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        refuse_others(type(self).__name__, {"inplace": inplace}, "inplace")


class ReLU(_InPlace):
    """The larger of x and 0; as ``torch.nn.ReLU``, without ``inplace``."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return F.relu(input)


class SiLU(_InPlace):
    """x * sigmoid(x), also called swish (Elfwing et al. 2017; Ramachandran et al. 2017).

    As ``torch.nn.SiLU``, without ``inplace``.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return F.silu(input)


class Softplus(Module):
    """log(1 + exp(beta x)) / beta, and x itself where beta x > threshold (Dugas et al. 2001)."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class _AlongDim(Module):
    """The base of Softmax and LogSoftmax. Here the axis must be named; PyTorch only warns."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        if dim is None:
            raise ArgumentError(f"{type(self).__name__}: expected dim, the axis that sums to one")
        self.dim = dim

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax(_AlongDim):
    """exp(x) / sum(exp(x)) along ``dim``.

    As ``torch.nn.Softmax``, but ``dim`` must be given: without it an ArgumentError is raised.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return F.softmax(input, self.dim)


class LogSoftmax(_AlongDim):
    """x - log(sum(exp(x))) along ``dim``.

    As ``torch.nn.LogSoftmax``, but ``dim`` must be given: without it an ArgumentError is raised.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return F.log_softmax(input, self.dim)
