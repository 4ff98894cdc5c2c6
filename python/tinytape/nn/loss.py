"""Losses as layers. The functions of the same name in ``nn.functional`` explain the arguments.

>>> loss = tt.nn.MSELoss()(tt.tensor([1.0, 2.0]), tt.tensor([1.0, 4.0]))
>>> loss.item()
2.0
"""

from __future__ import annotations

from ..errors import ArgumentError
from ..tensor import Tensor
from . import functional as F
from .module import Module


class _Loss(Module):
    """The base of all losses: the reduction, and the two arguments that PyTorch deprecated."""

    def __init__(
        self, size_average: None = None, reduce: None = None, reduction: str = "mean"
    ) -> None:
        super().__init__()
        if size_average is not None or reduce is not None:
            raise ArgumentError(
                f"{type(self).__name__}: size_average and reduce must be None, got "
                f"{size_average!r} and {reduce!r}: say it with reduction"
            )
        self.reduction = reduction

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"


class CrossEntropyLoss(_Loss):
    """Negative log likelihood in nats of classes under softmax(input).

    As ``torch.nn.CrossEntropyLoss``.

    Args:
        weight: of each class, (C,); a buffer.
        size_average, reduce: deprecated in PyTorch; leave them out.
        ignore_index: targets of this value count for nothing.
        reduction: "mean" over the targets that count, "sum" or "none".
        label_smoothing: the share of each target that all classes get.
    """

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: None = None,
        ignore_index: int = -100,
        reduce: None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Scores (N, C, ...) and classes (N, ...) or probabilities (N, C, ...) -> the loss."""
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(_Loss):
    """Negative log likelihood of classes, for an input of logarithms of probabilities.

    As ``torch.nn.NLLLoss``.

    Args:
        weight: of each class, (C,); a buffer.
        size_average, reduce: deprecated in PyTorch; leave them out.
        ignore_index: targets of this value count for nothing.
        reduction: "mean" over the targets that count, "sum" or "none".
    """

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: None = None,
        ignore_index: int = -100,
        reduce: None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Log-probabilities (N, C, ...) and classes (N, ...) -> the loss."""
        return F.nll_loss(
            input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction
        )


class MSELoss(_Loss):
    """(input - target)^2.

    As ``torch.nn.MSELoss``.

    Args:
        size_average, reduce: deprecated in PyTorch; leave them out.
        reduction: "mean", "sum" or "none".
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Two tensors of one shape -> the loss."""
        return F.mse_loss(input, target, reduction=self.reduction)


class BCEWithLogitsLoss(_Loss):
    """Negative log likelihood in nats of two classes, for logits of the second one.

    As ``torch.nn.BCEWithLogitsLoss``.

    Args:
        weight: of the elements, broadcast; a buffer.
        size_average, reduce: deprecated in PyTorch; leave them out.
        reduction: "mean" over the elements, "sum" or "none".
        pos_weight: broadcast weight of the second class; a buffer.
    """

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Logits and targets between 0 and 1, of one shape -> the loss."""
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )
