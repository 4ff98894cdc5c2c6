"""Linear algebra under the names of ``torch.linalg``.

>>> tt.linalg.vector_norm(tt.tensor([[3.0, 4.0], [6.0, 8.0]]), dim=1).tolist()
[5.0, 10.0]
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

from tinytape.dtypes import check_dtype, float64
from tinytape.dtypes import dtype as DType
from tinytape.errors import DTypeError
from tinytape.functional import norm
from tinytape.functional._apply import check_tensor
from tinytape.tensor import Tensor

__all__ = ["vector_norm"]


def vector_norm(
    x: Tensor,
    ord: float = 2,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
) -> Tensor:
    """(sum |x|^ord)^(1/ord) over the given axes, or over all, as of one vector.

    As ``torch.linalg.vector_norm``. Any shape -> that shape without the axes.

    Args:
        ord: any number; infinity for the largest |x|, -infinity for the smallest, 0 for how many
            are not zero. Gradients are those of :func:`tinytape.norm`.
        dtype: x is converted to it first; not a narrower one.
        dim: an axis, several or None for all of them.
        keepdim: leave an axis of size 1 in the place of each.

    Raises:
        TypeError: for an ord that is no number.
        DTypeError: for integers and bools, or a narrower dtype.
        OutOfRangeError: for a negative or infinite ord over nothing.
    """
    check_tensor("vector_norm", x)
    if not isinstance(ord, Real):
        raise TypeError(f"vector_norm: ord must be a number, got {ord!r}")
    if not x.dtype.is_floating_point:
        raise DTypeError(f"vector_norm: expected float32 or float64, got {x.dtype}")
    if dtype is not None:
        check_dtype(dtype, "vector_norm")
        if not dtype.is_floating_point or (x.dtype is float64 and dtype is not float64):
            raise DTypeError(f"vector_norm: {x.dtype} cannot be narrowed to {dtype}")
    return norm(x, float(ord), dim, keepdim, dtype)
