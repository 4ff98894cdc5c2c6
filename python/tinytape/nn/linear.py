"""Affine layers.

>>> layer = tt.nn.Linear(3, 2)
>>> layer.weight.shape, layer.bias.shape, layer(tt.zeros(5, 3)).shape
((2, 3), (2,), (5, 2))
"""

from __future__ import annotations

import math
from typing import Any

from .._pytorch import refuse_others
from ..creation import zeros
from ..random import Generator
from ..tensor import Tensor
from . import functional as F
from . import init
from .dropout import Dropout
from .module import Module
from .parameter import Parameter


class Identity(Module):
    """Returns its input; takes and ignores any arguments. As ``torch.nn.Identity``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """``input`` itself, of any shape."""
        return input


class Linear(Module):
    """y = x W^T + b.

    As ``torch.nn.Linear``, with its initialisation.

    Args:
        in_features: size of the last axis of x.
        out_features: size of the last axis of y.
        bias: whether there is a b.
        device: None or the CPU.
        dtype: of the parameters; float32 by default.
        generator: draws the initial values; ``tt.default_generator`` by default.

    Raises:
        ArgumentError: for a device other than the CPU.

    Parameters: ``weight`` (out_features, in_features) and ``bias`` (out_features,), both from
    U(-k, k) with k = 1 / sqrt(in_features).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        device: Any = None,
        dtype: Any = None,
        generator: Generator | None = None,
    ) -> None:
        refuse_others("Linear", {"device": device}, "device")
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(zeros(out_features, in_features, dtype=dtype))
        if bias:
            self.bias = Parameter(zeros(out_features, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw the initial values again."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5), generator=generator)
        if self.bias is not None:
            bound = 1.0 / math.sqrt(self.in_features) if self.in_features > 0 else 0.0
            init.uniform_(self.bias, -bound, bound, generator=generator)

    def forward(self, input: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


def add_projection(
    residual: Tensor | None, linear: Linear, dropout: Dropout, input: Tensor
) -> Tensor:
    """residual + dropout(linear(input)): in one operation where nothing is dropped."""
    if residual is not None and not (dropout.training and dropout.p > 0.0):
        return F.linear_add(residual, input, linear.weight, linear.bias)
    out: Tensor = dropout(linear(input))
    return out if residual is None else residual + out
