"""Rows of tables."""

from __future__ import annotations

from tinytape._ffi import OPS
from tinytape.functional._apply import apply, check_tensor
from tinytape.tensor import Tensor

__all__ = ["embedding"]


def embedding(input: Tensor, weight: Tensor) -> Tensor:
    """Rows of weight (V, D) at the indices input (...), int64 -> (..., D).

    Raises:
        IndexError: for an index outside 0..V-1.
    """
    check_tensor("embedding", input)
    check_tensor("embedding", weight)
    return apply(OPS["embedding"], (weight, input))
