"""Questions about each element, answered in bool, and the choice that follows from an answer.

None of the answers has a gradient; ``where`` passes it to the side that it took.
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
    """input == other, broadcast -> bool. NaN equals nothing."""
    return binary("eq", input, other)


def ne(input: Any, other: Any) -> Tensor:
    """input != other, broadcast -> bool."""
    return binary("ne", input, other)


def lt(input: Any, other: Any) -> Tensor:
    """input < other, broadcast -> bool."""
    return binary("lt", input, other)


def le(input: Any, other: Any) -> Tensor:
    """input <= other, broadcast -> bool."""
    return binary("le", input, other)


def gt(input: Any, other: Any) -> Tensor:
    """input > other, broadcast -> bool."""
    return binary("gt", input, other)


def ge(input: Any, other: Any) -> Tensor:
    """input >= other, broadcast -> bool."""
    return binary("ge", input, other)


def isnan(input: Tensor) -> Tensor:
    """Whether each element is NaN -> bool."""
    return unary("isnan", input)


def isinf(input: Tensor) -> Tensor:
    """Whether each element is an infinity, of either sign -> bool."""
    return unary("isinf", input)


def isfinite(input: Tensor) -> Tensor:
    """Whether each element is neither NaN nor an infinity -> bool."""
    return unary("isfinite", input)


def logical_and(input: Any, other: Any) -> Tensor:
    """Whether both are not zero, broadcast -> bool."""
    return binary("logical_and", input, other)


def logical_or(input: Any, other: Any) -> Tensor:
    """Whether one of the two is not zero, broadcast -> bool."""
    return binary("logical_or", input, other)


def logical_xor(input: Any, other: Any) -> Tensor:
    """Whether exactly one of the two is not zero, broadcast -> bool."""
    return binary("logical_xor", input, other)


def logical_not(input: Tensor) -> Tensor:
    """Whether each element is zero -> bool."""
    return unary("logical_not", input)


def bitwise_and(input: Any, other: Any) -> Tensor:
    """The bits that both have, broadcast; of integers or bool.

    Raises:
        DTypeError: for floats.
    """
    return binary("bitwise_and", input, other)


def bitwise_or(input: Any, other: Any) -> Tensor:
    """The bits that one of the two has, broadcast; of integers or bool.

    Raises:
        DTypeError: for floats.
    """
    return binary("bitwise_or", input, other)


def bitwise_xor(input: Any, other: Any) -> Tensor:
    """The bits that exactly one of the two has, broadcast; of integers or bool.

    Raises:
        DTypeError: for floats.
    """
    return binary("bitwise_xor", input, other)


def bitwise_not(input: Tensor) -> Tensor:
    """Every bit turned over: -1 - input for signed integers, the other one for bool.

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

    Args:
        condition: bool.
        input, other: tensors or numbers, which meet in their common type.

    Raises:
        DTypeError: when condition is not bool.
        NumberError: for a number that the type of the result does not hold.
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
