"""Losses."""

from __future__ import annotations

from tinytape._ffi import OPS
from tinytape.errors import ArgumentError
from tinytape.functional._apply import apply, check_tensor
from tinytape.functional.shape import reshape
from tinytape.tensor import Tensor

__all__ = ["cross_entropy"]

_REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-ln softmax(input)[target], in nats.

    Args:
        input: logits, (N, C) or (C,).
        target: class indices, int64, (N,) or ().
        weight, size_average, reduce, label_smoothing: in PyTorch's place; only the defaults so far.
        ignore_index: rows with this target count for nothing.
        reduction: "mean" over the rows that count, "sum", or "none" for one loss a row.

    Raises:
        IndexError: for a target outside 0..C-1.
    """
    check_tensor("cross_entropy", input)
    check_tensor("cross_entropy", target)
    if not (weight is None and size_average is None and reduce is None and label_smoothing == 0.0):
        raise ArgumentError(
            "cross_entropy: weight, size_average, reduce and label_smoothing are not supported: "
            "expected None, None, None and 0.0"
        )
    if not -(1 << 63) <= ignore_index < 1 << 63:
        raise ArgumentError(f"cross_entropy: ignore_index must fit 64 bits, got {ignore_index}")
    if reduction not in _REDUCTIONS:
        raise ArgumentError(
            f"cross_entropy: reduction must be 'none', 'mean' or 'sum', got {reduction!r}"
        )
    single = input.ndim == 1 and target.ndim == 0
    if single:
        input, target = reshape(input, [1, -1]), reshape(target, [1])
    loss = apply(OPS["cross_entropy"], (input, target), (_REDUCTIONS[reduction], ignore_index))
    return reshape(loss, []) if single and reduction == "none" else loss
