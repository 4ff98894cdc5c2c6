"""Sums and their like over any axes, and what normalises along one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tinytape._ffi import OPS
from tinytape.functional._apply import apply, axes_of, axis_of, check_tensor
from tinytape.functional.elementwise import div

if TYPE_CHECKING:
    from tinytape.tensor import Tensor

__all__ = [
    "log_softmax",
    "mean",
    "softmax",
    "sum",
]


def sum(input: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """The sum over the given axes, or over all."""
    check_tensor("sum", input)
    axes = axes_of("sum", input, dim)
    if input.ndim == 0:
        axes = []  # a single value has one axis to name, and none to sum over
    return apply(OPS["sum"], (input,), [int(keepdim), *axes])


def mean(input: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """The mean over the given axes, or over all; NaN over nothing."""
    total = sum(input, dim, keepdim)
    count = input.numel() // total.numel() if total.numel() else 1
    return div(total, float(count))


def softmax(input: Tensor, dim: int) -> Tensor:
    """e^x / sum e^x along one axis."""
    check_tensor("softmax", input)
    return apply(OPS["softmax"], (input,), (axis_of("softmax", input.ndim, dim),))


def log_softmax(input: Tensor, dim: int) -> Tensor:
    """x - ln sum e^x along one axis."""
    check_tensor("log_softmax", input)
    return apply(OPS["log_softmax"], (input,), (axis_of("log_softmax", input.ndim, dim),))
