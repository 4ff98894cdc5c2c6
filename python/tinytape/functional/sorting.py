"""Elements in order along an axis. Equals keep their order; NaN counts as the largest.

>>> values, indices = tt.sort(tt.tensor([3, 1, 2]), descending=True)
>>> values.tolist(), indices.tolist()
([3, 2, 1], [0, 2, 1])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinytape.functional._apply import (
    ValuesAndIndices,
    axis_of,
    check_tensor,
    integers_of,
    run,
    run_many,
)

if TYPE_CHECKING:
    from tinytape.tensor import Tensor

__all__ = ["argsort", "sort", "topk"]


def sort(
    input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False
) -> ValuesAndIndices:
    """The elements along an axis in order, as ``(values, indices)``.

    As ``torch.sort``, always stable. Any shape and dtype.

    Args:
        descending: from the largest down; NaN comes first then, otherwise last.
        stable: it always is.

    Returns:
        Both of the input's shape; the indices are int64. The values have a gradient.

    Raises:
        OutOfRangeError: for an axis that does not exist.
    """
    check_tensor("sort", input)
    axis = axis_of("sort", input.ndim, dim)
    return ValuesAndIndices(*run_many["sort"]((input,), axis=axis, descending=bool(descending)))


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The indices of :func:`sort`, with its arguments, as int64. There is no gradient.

    As ``torch.argsort``, always stable. Any shape and dtype -> int64 of the same shape.

    Raises:
        OutOfRangeError: for an axis that does not exist.
    """
    check_tensor("argsort", input)
    axis = axis_of("argsort", input.ndim, dim)
    return run["argsort"]((input,), axis=axis, descending=bool(descending))


def topk(
    input: Tensor, k: int, dim: int | None = None, largest: bool = True, sorted: bool = True
) -> ValuesAndIndices:
    """The k largest elements along an axis, the last by default, as ``(values, indices)``.

    As ``torch.topk``, always sorted. Any shape and dtype.

    Args:
        largest: False for the k smallest.
        sorted: they always are.

    Returns:
        Both with k elements along the axis; the indices are int64. The values have a gradient.

    Raises:
        OutOfRangeError: for an axis that does not exist or has less than k elements.
    """
    check_tensor("topk", input)
    axis = axis_of("topk", input.ndim, -1 if dim is None else dim)
    (count,) = integers_of("topk", (k,), "k")
    found = run_many["topk"]((input,), axis=axis, descending=bool(largest), k=count)
    return ValuesAndIndices(*found)
