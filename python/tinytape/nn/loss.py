"""Losses as layers."""

from __future__ import annotations

from ..errors import ArgumentError
from ..tensor import Tensor
from . import functional as F
from .module import Module


class CrossEntropyLoss(Module):
    """Negative log likelihood in nats of class numbers under softmax(input).

    The argument order is PyTorch's; ``weight``, ``size_average``, ``reduce`` and
    ``label_smoothing`` must keep their defaults.

    Args:
        ignore_index: targets of this value count for nothing.
        reduction: "mean" over the targets that count, "sum" or "none".
    """

    def __init__(
        self,
        weight: None = None,
        size_average: None = None,
        ignore_index: int = -100,
        reduce: None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        unsupported = {
            "weight": weight,
            "size_average": size_average,
            "reduce": reduce,
            "label_smoothing": label_smoothing or None,
        }
        for name, value in unsupported.items():
            if value is not None:
                raise ArgumentError(f"CrossEntropyLoss: {name} is not supported; leave it out")
        self.ignore_index = ignore_index
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Scores (N, C) and int64 classes (N,) -> a scalar, or (N,) with reduction "none"."""
        return F.cross_entropy(
            input, target, ignore_index=self.ignore_index, reduction=self.reduction
        )
