"""Normalisation layers.

>>> tt.nn.LayerNorm(2)(tt.tensor([[1.0, 3.0]])).round(decimals=2).tolist()
[[-1.0, 1.0]]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._pytorch import refuse_others
from ..creation import ones, zeros
from ..tensor import Tensor
from . import functional as F
from .module import Module
from .parameter import Parameter


class _Normalization(Module):
    """The base of both layers: the sizes of the last axes, and a weight of that shape, or none."""

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: Any,
        elementwise_affine: bool,
        dtype: Any,
    ) -> None:
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else normalized_shape
        self.normalized_shape = tuple(shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self.register_parameter(
            "weight", Parameter(ones(*shape, dtype=dtype)) if elementwise_affine else None
        )

    def reset_parameters(self) -> None:
        """Set the initial values again: ones, and zeros for a bias."""
        if self.weight is not None:
            self.weight.fill_(1.0)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class LayerNorm(_Normalization):
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axes (Ba et al. 2016).

    As ``torch.nn.LayerNorm``.

    Raises:
        ArgumentError: for a device other than the CPU.

    Args:
        normalized_shape: sizes of the last axes, or the size of the last one.
        eps: added to the (biased) variance.
        elementwise_affine: whether there are parameters at all.
        bias: whether there is a bias among them.
        device: None or the CPU.
        dtype: of the parameters; float32 by default.

    Parameters: ``weight`` (ones) and ``bias`` (zeros), both of ``normalized_shape``.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        refuse_others("LayerNorm", {"device": device}, "device")
        super().__init__(normalized_shape, eps, elementwise_affine, dtype)
        shape = self.normalized_shape
        self.register_parameter(
            "bias", Parameter(zeros(*shape, dtype=dtype)) if elementwise_affine and bias else None
        )

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if self.bias is not None:
            self.bias.zero_()

    def forward(self, input: Tensor) -> Tensor:
        """(..., *normalized_shape) -> the same shape."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)


class RMSNorm(_Normalization):
    """x / sqrt(mean(x^2) + eps) * weight over the last axes (Zhang and Sennrich 2019).

    As ``torch.nn.RMSNorm``.

    Raises:
        ArgumentError: for a device other than the CPU.

    Args:
        normalized_shape: sizes of the last axes, or the size of the last one.
        eps: added to the mean square; the machine epsilon of x's type when None.
        elementwise_affine: whether there is a weight.
        device: None or the CPU.
        dtype: of the weight; float32 by default.

    Parameters: ``weight`` (ones), of ``normalized_shape``.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        refuse_others("RMSNorm", {"device": device}, "device")
        super().__init__(normalized_shape, eps, elementwise_affine, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """(..., *normalized_shape) -> the same shape."""
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)
