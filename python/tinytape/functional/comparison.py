"""Questions about each element, answered in bool, and the choice that follows from an answer.

None of the answers has a gradient; ``where`` passes it to the side that it took.

>>> x = tt.tensor([1.0, 2.0, 3.0])
>>> tt.ge(x, 2).tolist()
[False, True, True]
>>> tt.where(x > 1, x, 0.0).tolist()
[0.0, 2.0, 3.0]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinytape import dtypes
from tinytape._ffi import OPS
from tinytape.functional._apply import (
    apply,
    binary,
    check_tensor,
    from_array,
    is_tensor,
    operand,
    unary,
)

if TYPE_CHECKING:
    from tinytape.tensor import Tensor

__all__ = [
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "eq",
    "ge",
    "gt",
    "isfinite",
    "isinf",
    "isnan",
    "le",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "lt",
    "ne",
    "where",
]


def eq(input: Any, other: Any) -> Tensor:
    """input == other, broadcast -> bool. NaN equals nothing.

    As ``torch.eq``. Operands of different dtypes meet in the common one.

    Raises:
        ShapeError: for shapes that cannot be broadcast together.
        NumberError: for a number that the common dtype cannot hold.
    """
    return binary("eq", input, other)


def ne(input: Any, other: Any) -> Tensor:
    """input != other, broadcast -> bool.

    As ``torch.ne``. Operands of different dtypes meet in the common one.

    Raises:
        ShapeError: for shapes that cannot be broadcast together.
        NumberError: for a number that the common dtype cannot hold.
    """
    return binary("ne", input, other)


def lt(input: Any, other: Any) -> Tensor:
    """input < other, broadcast -> bool.

    As ``torch.lt``. Operands of different dtypes meet in the common one.

    Raises:
        ShapeError: for shapes that cannot be broadcast together.
        NumberError: for a number that the common dtype cannot hold.
    """
    return binary("lt", input, other)


def le(input: Any, other: Any) -> Tensor:
    """input <= other, broadcast -> bool.

    As ``torch.le``. Operands of different dtypes meet in the common one.

    Raises:
        ShapeError: for shapes that cannot be broadcast together.
        NumberError: for a number that the common dtype cannot hold.
    """
    return binary("le", input, other)


def gt(input: Any, other: Any) -> Tensor:
    """input > other, broadcast -> bool.

    As ``torch.gt``. Operands of different dtypes meet in the common one.

    Raises:
        ShapeError: for shapes that cannot be broadcast together.
        NumberError: for a number that the common dtype cannot hold.
    """
    return binary("gt", input, other)


def ge(input: Any, other: Any) -> Tensor:
    """input >= other, broadcast -> bool.

    As ``torch.ge``. Operands of different dtypes meet in the common one.

    Raises:
        ShapeError: for shapes that cannot be broadcast together.
        NumberError: for a number that the common dtype cannot hold.
    """
    return binary("ge", input, other)


def isnan(input: Tensor) -> Tensor:
    """Whether each element is NaN -> bool.

    As ``torch.isnan``. Any shape and dtype -> bool of the same shape.
    """
    return unary("isnan", input)


def isinf(input: Tensor) -> Tensor:
    """Whether each element is an infinity, of either sign -> bool.

    As ``torch.isinf``. Any shape and dtype -> bool of the same shape.
    """
    return unary("isinf", input)


def isfinite(input: Tensor) -> Tensor:
    """Whether each element is neither NaN nor an infinity -> bool.

    As ``torch.isfinite``. Any shape and dtype -> bool of the same shape.
    """
    return unary("isfinite", input)


def logical_and(input: Any, other: Any) -> Tensor:
    """Whether both are not zero, broadcast -> bool.

    As ``torch.logical_and``, for any dtypes.

    Raises:
        ShapeError: for shapes that cannot be broadcast together.
        NumberError: for a number that the common dtype cannot hold.
    """
    return binary("logical_and", input, other)


def logical_or(input: Any, other: Any) -> Tensor:
    """Whether one of the two is not zero, broadcast -> bool.

    As ``torch.logical_or``, for any dtypes.

    Raises:
        ShapeError: for shapes that cannot be broadcast together.
        NumberError: for a number that the common dtype cannot hold.
    """
    return binary("logical_or", input, other)


def logical_xor(input: Any, other: Any) -> Tensor:
    """Whether exactly one of the two is not zero, broadcast -> bool.

    As ``torch.logical_xor``, for any dtypes.

    Raises:
        ShapeError: for shapes that cannot be broadcast together.
        NumberError: for a number that the common dtype cannot hold.
    """
    return binary("logical_xor", input, other)


def logical_not(input: Tensor) -> Tensor:
    """Whether each element is zero -> bool.

    As ``torch.logical_not``. Any shape and dtype -> bool of the same shape.
    """
    return unary("logical_not", input)


def bitwise_and(input: Any, other: Any) -> Tensor:
    """The bits that both have, broadcast; of integers or bool.

    As ``torch.bitwise_and``. The result has the common dtype.

    Raises:
        DTypeError: for floats.
        ShapeError: for shapes that cannot be broadcast together.
        NumberError: for a number that the common dtype cannot hold.
    """
    return binary("bitwise_and", input, other)


def bitwise_or(input: Any, other: Any) -> Tensor:
    """The bits that one of the two has, broadcast; of integers or bool.

    As ``torch.bitwise_or``. The result has the common dtype.

    Raises:
        DTypeError: for floats.
        ShapeError: for shapes that cannot be broadcast together.
        NumberError: for a number that the common dtype cannot hold.
    """
    return binary("bitwise_or", input, other)


def bitwise_xor(input: Any, other: Any) -> Tensor:
    """The bits that exactly one of the two has, broadcast; of integers or bool.

    As ``torch.bitwise_xor``. The result has the common dtype.

    Raises:
        DTypeError: for floats.
        ShapeError: for shapes that cannot be broadcast together.
        NumberError: for a number that the common dtype cannot hold.
    """
    return binary("bitwise_xor", input, other)


def bitwise_not(input: Tensor) -> Tensor:
    """Every bit turned over: -1 - input for signed integers, the other one for bool.

    As ``torch.bitwise_not``. Any shape -> the same shape and dtype.

    Raises:
        DTypeError: for floats.
    """
    return unary("bitwise_not", input)


def _number(value: Any) -> Any:
    """A value that meets no tensor: float32, int64 or bool for a plain number."""
    plain = value.item() if isinstance(value, np.generic) else value
    if not isinstance(plain, (int, float)):
        return value
    kind = dtypes.in_common(dtypes.bool_, plain)
    dtypes.check_number(plain, kind, "where")
    return from_array(np.asarray(plain), kind)


def _choice(value: Any, like: Tensor) -> Tensor:
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, (int, float)):
        dtypes.check_number(plain, dtypes.in_common(like.dtype, plain), "where")
    return operand(value, like, "where")


def where(condition: Tensor, input: Any, other: Any) -> Tensor:
    """input where condition is true, other where it is false, all broadcast together.

    As ``torch.where`` with three arguments. The result has the common dtype of input and other.

    Args:
        condition: bool.
        input, other: tensors or numbers, which meet in their common type.

    Raises:
        DTypeError: when condition is not bool.
        NumberError: for a number that the type of the result does not hold.
        ShapeError: for shapes that cannot be broadcast together.
    """
    check_tensor("where", condition)
    if not is_tensor(input) and not is_tensor(other):
        input = _number(input)
    if not is_tensor(input):
        like = other if is_tensor(other) else condition
        input = _choice(input, like)
    if not is_tensor(other):
        other = _choice(other, input)
    return apply(OPS["where"], (condition, input, other))
