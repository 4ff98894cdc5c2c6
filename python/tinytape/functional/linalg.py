"""Products of matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinytape._ffi import OPS
from tinytape.errors import ShapeError
from tinytape.functional._apply import apply, check_tensor
from tinytape.functional.shape import reshape, unsqueeze

if TYPE_CHECKING:
    from tinytape.tensor import Tensor

__all__ = [
    "matmul",
]


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product of (..., m, k) and (..., k, n); leading axes broadcast.

    A vector is a row on the left and a column on the right, and that axis is gone from the result.

    Raises:
        ShapeError: when the inner sizes differ or a factor has no dimension.
    """
    for x in (input, other):
        check_tensor("matmul", x)
        if x.ndim == 0:
            raise ShapeError(
                f"matmul: both factors need a dimension, got {input.shape} and {other.shape}"
            )
    a = unsqueeze(input, 0) if input.ndim == 1 else input
    b = unsqueeze(other, 1) if other.ndim == 1 else other
    product = apply(OPS["matmul"], (a, b))
    shape = list(product.shape)
    if input.ndim == 1:
        del shape[-2]
    if other.ndim == 1:
        del shape[-1]
    return product if len(shape) == product.ndim else reshape(product, shape)
