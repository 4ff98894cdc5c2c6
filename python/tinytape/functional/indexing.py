"""Elements and parts of a tensor by their indices along an axis.

>>> x = tt.tensor([[1.0, 2.0], [3.0, 4.0]])
>>> tt.gather(x, 1, tt.tensor([[1], [0]])).tolist()
[[2.0], [3.0]]
>>> tt.masked_fill(x, x > 2, 0.0).tolist()
[[1.0, 2.0], [0.0, 0.0]]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinytape._pytorch import refuse_others
from tinytape.dtypes import bool_, check_number
from tinytape.errors import DTypeError, OutOfRangeError, ShapeError
from tinytape.functional._apply import axis_of, check_tensor, is_tensor, operand, run
from tinytape.functional.comparison import where
from tinytape.functional.shape import narrow, reshape

if TYPE_CHECKING:
    from tinytape.tensor import Tensor

__all__ = ["gather", "index_select", "masked_fill", "scatter_add"]

Array = np.ndarray[Any, Any]


def check_indices(name: str, indices: Array, least: int, axis: int, size: int) -> None:
    """Check that all indices are at least ``least`` and less than size.

    Raises:
        OutOfRangeError: otherwise, which names the first.
    """
    if indices.size == 0 or (indices.min() >= least and indices.max() < size):
        return
    bad = np.flatnonzero((indices < least) | (indices >= size))[0]
    raise OutOfRangeError(
        f"{name}: index {indices.flat[bad]} at position {bad} is out of range for axis {axis} of "
        f"size {size}"
    )


def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """Elements along one axis: ``out[i, j] = input[index[i, j], j]`` for dim 0, and so on.

    As ``torch.gather``. The result has the shape of index.

    Args:
        index: integers, with as many axes as input and no larger sizes but along dim. Without
            elements it may have any shape and type, as in PyTorch; for a vector no axes too.
        sparse_grad: not supported; True raises.

    Raises:
        ShapeError: for an index that does not fit.
        OutOfRangeError: for an element of it outside the axis.
        ArgumentError: for sparse_grad=True.
        DTypeError: for an index that is not of integers.
    """
    check_tensor("gather", input)
    check_tensor("gather", index)
    if sparse_grad:
        refuse_others("gather", {"sparse_grad": sparse_grad}, "sparse_grad")
    axis = axis_of("gather", input.ndim, dim)
    if 0 in index.shape:
        return reshape(narrow(reshape(input, -1), 0, 0, 0), index.shape)
    if input.ndim == 0 or (input.ndim == 1 and index.ndim == 0):
        return reshape(gather(reshape(input, -1), 0, reshape(index, -1)), index.shape)
    return run["gather"]((input, index), axis=axis)


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """input with elements added along one axis: ``out[index[i, j], j] += src[i, j]`` for dim 0.

    As ``torch.scatter_add``. The result has the shape of input.

    Args:
        index: integers, with as many axes as input and src, and no larger sizes than src has; nor
            than input has but along dim. What of src lies beyond it is not used.

    Raises:
        ShapeError: for an index that does not fit.
        OutOfRangeError: for an element of it outside the axis.
        DTypeError: for an index that is not of integers, or a src of another dtype.
    """
    for x in (input, index, src):
        check_tensor("scatter_add", x)
    axis = axis_of("scatter_add", input.ndim, dim)
    if input.ndim == 0:
        flat = [reshape(x, -1) for x in (input, index, src)]
        return reshape(scatter_add(flat[0], 0, flat[1], flat[2]), [])
    if src.ndim != index.ndim or any(m > n for m, n in zip(index.shape, src.shape, strict=True)):
        raise ShapeError(
            f"scatter_add: an index of shape {index.shape} does not fit a source of shape "
            f"{src.shape}: expected as many dimensions, and no larger sizes"
        )
    for i, n in enumerate(index.shape):
        src = src if src.shape[i] == n else narrow(src, i, 0, n)
    return run["scatter_add"]((input, index, src), axis=axis)


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices of one axis that a vector of integers names, in its order, as a copy.

    As ``torch.index_select``. The result has the input's shape, but along dim the size of index.

    Raises:
        ShapeError: when index has more than one dimension.
        OutOfRangeError: for an index outside the axis.
        DTypeError: for an index that is not of integers.
    """
    check_tensor("index_select", input)
    check_tensor("index_select", index)
    axis = axis_of("index_select", input.ndim, dim)
    if index.ndim > 1:
        raise ShapeError(f"index_select: expected an index of one dimension, got {index.shape}")
    if index.dtype.is_floating_point or index.dtype.name == "bool":
        raise DTypeError(f"index_select: expected an index of integers, got {index.dtype}")
    if input.ndim == 0:
        return reshape(gather(input, 0, index), [])
    check_indices("index_select", index.numpy(), 0, axis, input.shape[axis])
    index = reshape(index, [-1])
    return run["embedding"]((input, index), axis=axis, count=1)


def masked_fill(input: Tensor, mask: Tensor, value: Tensor | float) -> Tensor:
    """input where mask is false, value where it is true, in the type of input.

    As ``torch.Tensor.masked_fill``. The result has the broadcast shape of input and mask.

    Args:
        mask: bool, broadcast against input.
        value: a number, or a tensor without dimensions, which gets the gradient of what it filled.

    Raises:
        ShapeError: when mask does not fit, or value has dimensions.
        DTypeError: for a mask that is not bool, or a float among integers.
        NumberError: for a value that input's type cannot hold.
    """
    check_tensor("masked_fill", input)
    check_tensor("masked_fill", mask)
    if mask.dtype is not bool_:
        raise DTypeError(f"masked_fill: expected a mask of bool, got {mask.dtype}")
    given: Any = value
    fill: Any = given if is_tensor(given) else operand(given, input, "masked_fill")
    if fill.ndim > 0:
        raise ShapeError(f"masked_fill: expected one value, got a tensor of shape {fill.shape}")
    if fill.dtype.is_floating_point and not input.dtype.is_floating_point:
        raise DTypeError(f"masked_fill: {input.dtype} cannot hold a value of {fill.dtype}")
    if fill is not given or fill.dtype is not input.dtype:
        plain = given.item() if hasattr(given, "item") else given
        check_number(plain, input.dtype, "masked_fill")
    try:
        return where(mask, fill.to(input.dtype), input)
    except ShapeError:
        raise ShapeError(
            f"masked_fill: a mask of shape {mask.shape} does not fit an input of shape "
            f"{input.shape}"
        ) from None
