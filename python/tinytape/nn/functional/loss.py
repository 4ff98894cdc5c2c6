"""Losses.

>>> from tinytape.nn import functional as F
>>> F.mse_loss(tt.tensor([1.0, 2.0]), tt.tensor([1.0, 4.0])).item()
2.0
>>> round(F.cross_entropy(tt.zeros(1, 4), tt.tensor([2])).item(), 4)
1.3863
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytape._ffi import OPS
from tinytape.creation import ones_like, zeros_like
from tinytape.errors import ArgumentError, ShapeError
from tinytape.functional import (
    isinf,
    log_softmax,
    logical_and,
    mean,
    mul,
    permute,
    reshape,
    sub,
    sum,
    where,
)
from tinytape.functional._apply import apply, check_tensor, run
from tinytape.tensor import Tensor

__all__ = ["binary_cross_entropy_with_logits", "cross_entropy", "mse_loss", "nll_loss"]

_REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-ln softmax(input)[target], in nats.

    As ``torch.nn.functional.cross_entropy``.

    Args:
        input: logits, (C,), (N, C) or (N, C, d1, ...), with the classes on axis 1.
        target: class indices, int64, of the input's shape without its axis of classes; or, of the
            input's shape and type, the probability of each class.
        weight: of each class, (C,). Beside indices it is a constant, as in PyTorch.
        size_average, reduce: deprecated in PyTorch; leave them out.
        ignore_index: an index that counts for nothing. Not for probabilities.
        reduction: "mean", "sum", or "none" for a loss for each target. The mean over indices is
            weighted with the weights of the targets, that over probabilities is not; over nothing
            it is NaN.
        label_smoothing: s in [0, 1]: a target becomes (1 - s) target + s / C (Szegedy et al.,
            "Rethinking the Inception Architecture", 2016).

    Raises:
        ShapeError, DTypeError: for shapes or types that do not fit.
        IndexError: for an index outside 0..C-1.
        ArgumentError: for a weight that requires grad beside indices, and for other values that
            make no sense.
    """
    name = "cross_entropy"
    _check(name, input, target, weight, size_average, reduce, reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ArgumentError(
            f"{name}: label_smoothing must be between 0.0 and 1.0, got {label_smoothing}"
        )
    if target.dtype.is_floating_point and target.shape == input.shape and input.ndim > 0:
        return _with_probabilities(
            input, target, weight, ignore_index, reduction, float(label_smoothing)
        )
    return _with_indices(
        name, input, target, weight, ignore_index, reduction, float(label_smoothing)
    )


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
) -> Tensor:
    """-input[target], for an input of logarithms of probabilities; else like cross_entropy.

    As ``torch.nn.functional.nll_loss``.

    Args:
        input: (C,), (N, C) or (N, C, d1, ...).
        target: class indices, int64, of the input's shape without its axis of classes.
        weight, ignore_index, reduction: as of :func:`cross_entropy`.

    Raises:
        ShapeError, DTypeError, IndexError, ArgumentError: as for :func:`cross_entropy`.
    """
    _check("nll_loss", input, target, weight, size_average, reduce, reduction)
    return _with_indices("nll_loss", input, target, weight, ignore_index, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """-t ln p - (1 - t) ln(1 - p) with p = 1 / (1 + e^-input), in nats, for each element.

    An infinite logit costs nothing where it is right and is infinitely wrong elsewhere; a weight of
    0 takes that away too.

    As ``torch.nn.functional.binary_cross_entropy_with_logits``.

    Args:
        input: logits, of any shape.
        target: t, of the same shape, between 0 and 1.
        weight: of the elements, broadcast.
        size_average, reduce: deprecated in PyTorch; leave them out.
        reduction: "mean" over the elements, "sum" or "none".
        pos_weight: broadcast factor of the first term, that of the positive examples.

    Raises:
        ShapeError, DTypeError: for shapes or types that do not fit.
        ArgumentError: for another reduction.
    """
    name = "binary_cross_entropy_with_logits"
    _check(name, input, target, weight, size_average, reduce, reduction)
    if input.shape != target.shape:
        raise ShapeError(
            f"{name}: expected targets of the input's shape {input.shape}, got {target.shape}"
        )
    for what, factor in (("weight", weight), ("pos_weight", pos_weight)):
        if factor is not None:
            check_tensor(name, factor)
            _check_broadcast(name, what, factor, input)
    op = OPS[name]
    if pos_weight is None:
        losses = apply(op, (input, target))
    else:
        if_positive, if_negative = ones_like(input), zeros_like(input)
        losses = _weighted(apply(op, (input, if_positive)), target * pos_weight)
        losses = losses + _weighted(apply(op, (input, if_negative)), 1.0 - target)
    return _reduced(losses if weight is None else _weighted(losses, weight), reduction)


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(input - target)^2, broadcast.

    As ``torch.nn.functional.mse_loss``, but shapes that differ are broadcast without a warning.

    Args:
        reduction: "mean", "sum" or "none".
        weight: of each element, of the input's shape; the mean is then over the weights.
        input, target: float32 or float64.

    Raises:
        ShapeError: for shapes that do not fit.
        DTypeError: for integers with the reduction "mean".
        ArgumentError: for another reduction.
    """
    _check("mse_loss", input, target, weight, size_average, reduce, reduction)
    try:
        error = sub(input, target)
    except ShapeError:
        raise ShapeError(
            f"mse_loss: shapes {input.shape} and {target.shape} cannot be broadcast together"
        ) from None
    losses = mul(error, error)
    if weight is None:
        return _reduced(losses, reduction)
    if weight.shape != input.shape:
        raise ShapeError(
            f"mse_loss: expected a weight of the input's shape {input.shape}, got {weight.shape}"
        )
    if reduction == "mean":  # divided first: a weight times a square may be no float32
        return sum(mul(losses, weight / sum(weight)))
    return _reduced(mul(losses, weight), reduction)


# ---- shared parts --------------------------------------------------------------------------------


def _check(
    name: str,
    input: Any,
    target: Any,
    weight: Any,
    size_average: Any,
    reduce: Any,
    reduction: Any,
) -> None:
    check_tensor(name, input)
    check_tensor(name, target)
    if weight is not None:
        check_tensor(name, weight)
    if size_average is not None or reduce is not None:
        raise ArgumentError(
            f"{name}: size_average and reduce must be None, got {size_average!r} and {reduce!r}: "
            "say it with reduction"
        )
    if not isinstance(reduction, str) or reduction not in _REDUCTIONS:
        raise ArgumentError(f"{name}: reduction must be 'none', 'mean' or 'sum', got {reduction!r}")


def _check_broadcast(name: str, what: str, factor: Tensor, input: Tensor) -> None:
    try:
        np.broadcast_shapes(factor.shape, input.shape)
    except ValueError:
        raise ShapeError(
            f"{name}: {what} of shape {factor.shape} cannot be broadcast to {input.shape}"
        ) from None


def _reduced(losses: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return losses
    return mean(losses) if reduction == "mean" else sum(losses)


def _weighted(losses: Tensor, factor: Tensor) -> Tensor:
    """The losses times a factor: nothing where that is zero, of an infinite loss too."""
    nothing = logical_and(isinf(losses), factor == 0.0)
    return mul(where(nothing, 0.0, losses), factor)


def _with_indices(
    name: str,
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float = 0.0,
) -> Tensor:
    """The operation, on rows of classes."""
    if not -(1 << 63) <= ignore_index < 1 << 63:
        raise ArgumentError(f"{name}: ignore_index must fit 64 bits, got {ignore_index}")
    shape = target.shape
    expected = (*input.shape[:1], *input.shape[2:]) if input.ndim > 1 else ()
    if input.ndim == 0 or shape != expected:
        raise ShapeError(
            f"{name}: expected an input (C,), (N, C) or (N, C, d1, ...) and targets of its shape "
            f"without C, got {input.shape} and {shape}"
        )
    if input.ndim > 2:
        input = permute(input, (0, *range(2, input.ndim), 1))
    if input.ndim != 2:
        count = math.prod(shape)
        input, target = reshape(input, [count, input.shape[-1]]), reshape(target, [count])
    loss = run[name](
        (input, target, weight),
        reduction=_REDUCTIONS[reduction],
        ignored=ignore_index,
        smoothing=label_smoothing,
    )
    return reshape(loss, shape) if reduction == "none" and len(shape) != 1 else loss


def _with_probabilities(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
) -> Tensor:
    name, axis = "cross_entropy", min(input.ndim - 1, 1)
    classes = input.shape[axis]
    if classes == 0:
        raise ShapeError(f"{name}: expected at least one class, got {input.shape}")
    if ignore_index >= 0:
        raise ArgumentError(
            f"{name}: ignore_index {ignore_index} has no meaning for targets that are probabilities"
        )
    if label_smoothing > 0.0:
        target = target * (1.0 - label_smoothing) + label_smoothing / classes
    losses = _weighted(-log_softmax(input, axis), target)
    if weight is not None:
        if weight.shape != (classes,):
            raise ShapeError(
                f"{name}: expected a weight for each of the {classes} classes, "
                f"got shape {weight.shape}"
            )
        losses = _weighted(losses, reshape(weight, [classes] + [1] * (input.ndim - 1 - axis)))
    return _reduced(sum(losses, axis), reduction)
