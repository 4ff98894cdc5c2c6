"""Functions of each element.

>>> x = tt.tensor([-1.5, 0.0, 2.0])
>>> tt.relu(x).tolist()
[0.0, 0.0, 2.0]
>>> tt.maximum(x, 1).tolist()
[1.0, 1.0, 2.0]
>>> tt.div(tt.tensor([7, -7]), 2, rounding_mode="floor").tolist()
[3, -4]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinytape import dtypes
from tinytape._ffi import OPS
from tinytape._pytorch import refuse_others
from tinytape.errors import ArgumentError, DTypeError
from tinytape.functional._apply import (
    apply,
    binary,
    check_limits,
    check_tensor,
    integers_of,
    is_tensor,
    operand,
    run,
    unary,
)

if TYPE_CHECKING:
    from tinytape.tensor import Tensor

__all__ = [
    "abs",
    "add",
    "ceil",
    "clamp",
    "cos",
    "div",
    "erf",
    "exp",
    "expm1",
    "floor",
    "floor_divide",
    "log",
    "log1p",
    "maximum",
    "minimum",
    "mul",
    "neg",
    "pow",
    "reciprocal",
    "relu",
    "remainder",
    "round",
    "rsqrt",
    "sigmoid",
    "sign",
    "sin",
    "sqrt",
    "square",
    "sub",
    "tanh",
    "trunc",
]

# ---- of two ----


def add(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """input + alpha other, broadcast.

    As ``torch.add``. The operands are tensors, numbers or arrays, at least one of them a tensor;
    their shapes are broadcast and their dtypes promoted.

    Raises:
        ShapeError: for shapes that cannot be broadcast together.
        NumberError: for a number that the common dtype cannot hold.
    """
    return binary("add", input, other if alpha == 1 else other * alpha)


def sub(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """input - alpha other, broadcast.

    As ``torch.sub``. The operands are tensors, numbers or arrays, at least one of them a tensor;
    their shapes are broadcast and their dtypes promoted.

    Raises:
        ShapeError: for shapes that cannot be broadcast together.
        NumberError: for a number that the common dtype cannot hold.
        DTypeError: for two bools.
    """
    return binary("sub", input, other if alpha == 1 else other * alpha)


def mul(input: Any, other: Any) -> Tensor:
    """input * other, broadcast.

    As ``torch.mul``. The operands are tensors, numbers or arrays, at least one of them a tensor;
    their shapes are broadcast and their dtypes promoted.

    Raises:
        ShapeError: for shapes that cannot be broadcast together.
        NumberError: for a number that the common dtype cannot hold.
    """
    return binary("mul", input, other)


_ROUNDED = {None: "div", "floor": "div_floor", "trunc": "div_trunc"}


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """input / other, broadcast.

    As ``torch.div``. Shapes are broadcast and dtypes promoted; without a rounding mode integers and
    bools give float32.

    Args:
        rounding_mode: "floor" rounds the quotient down, as :func:`floor_divide`, "trunc" towards
            zero; then integers stay integers, and the gradient is zero.

    Raises:
        ArgumentError: for another mode, or when an integer is divided by zero in one of them.
        ShapeError: for shapes that cannot be broadcast together.
        DTypeError: for two bools with a rounding mode.
        NumberError: for a number that the common dtype cannot hold.
    """
    if rounding_mode not in _ROUNDED:
        raise ArgumentError(
            f"div: rounding_mode must be None, 'floor' or 'trunc', got {rounding_mode!r}"
        )
    return binary(_ROUNDED[rounding_mode], input, other)


def remainder(input: Any, other: Any) -> Tensor:
    """input - other * floor(input / other), broadcast: Python's ``%``, of the sign of other.

    The gradient of other is that of the formula where floor is constant.

    As ``torch.remainder``. Dtypes are promoted.

    Raises:
        ArgumentError: when an integer is divided by zero.
        ShapeError: for shapes that cannot be broadcast together.
        DTypeError: for two bools.
        NumberError: for a number that the common dtype cannot hold.
    """
    return binary("remainder", input, other)


def floor_divide(input: Any, other: Any) -> Tensor:
    """The largest whole number up to input / other, broadcast: Python's ``//``. Not differentiable.

    As ``torch.floor_divide``. Dtypes are promoted. Beside integers a number keeps its value, also
    where their dtype could not hold it.

    Raises:
        ArgumentError: when an integer is divided by zero.
        ShapeError: for shapes that cannot be broadcast together.
        DTypeError: for two bools.
        NumberError: for a number that the common dtype cannot hold.
    """
    return binary("floor_divide", input, other)


def maximum(input: Any, other: Any) -> Tensor:
    """The larger of each pair, broadcast; NaN where one of them is.

    The gradient goes to the larger one, half of it to each of two equals.

    As ``torch.maximum``. Dtypes are promoted; one of the two may be a number.

    Raises:
        ShapeError: for shapes that cannot be broadcast together.
        NumberError: for a number that the common dtype cannot hold.
    """
    return _extreme("maximum", input, other)


def minimum(input: Any, other: Any) -> Tensor:
    """The smaller of each pair, broadcast; NaN where one of them is.

    The gradient goes to the smaller one, half of it to each of two equals.

    As ``torch.minimum``. Dtypes are promoted; one of the two may be a number.

    Raises:
        ShapeError: for shapes that cannot be broadcast together.
        NumberError: for a number that the common dtype cannot hold.
    """
    return _extreme("minimum", input, other)


def _extreme(name: str, a: Any, b: Any) -> Tensor:
    if is_tensor(a) and not is_tensor(b):
        check_limits(name, a, b)
    elif is_tensor(b) and not is_tensor(a):
        check_limits(name, b, a)
    return binary(name, a, b)


def pow(input: Any, exponent: Any) -> Tensor:
    """input to the power of exponent, broadcast; one of them may be a number.

    Integers to integer powers stay integers. The power 0 has no slope, and neither has the exponent
    where the base is 0 and the exponent is not negative.

    As ``torch.pow``. Dtypes are promoted.

    Raises:
        ArgumentError: when integers are raised to a negative number. (In a tensor of exponents
            that is allowed, as in PyTorch: 1/a without its fraction.)
        ShapeError: for shapes that cannot be broadcast together.
        DTypeError: for two bools.
        NumberError: for a number that the common dtype cannot hold.
    """
    if isinstance(exponent, np.generic):
        exponent = exponent.item()
    if not isinstance(exponent, (int, float)) or not is_tensor(input):
        return binary("pow", input, exponent)
    if isinstance(exponent, float) or input.dtype.is_floating_point:
        base = input if input.dtype.is_floating_point else input.to(dtypes.float32)
        return run["pow_number"]((base,), integer=0, number=float(exponent))
    if exponent < 0:
        raise ArgumentError(f"pow: integers cannot be raised to the negative power {exponent}")
    base = input if input.dtype is not dtypes.bool_ else input.to(dtypes.int64)
    return run["pow_number"]((base,), integer=int(exponent), number=0)


def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """Each element, but no less than min and no more than max, broadcast; max where min > max.

    The gradient goes to the input where min <= input <= max, else to the bound that was taken.

    As ``torch.clamp``. The result has the common dtype of the input and the bounds.

    Args:
        min, max: numbers or tensors; one of them may be left out.

    Raises:
        ArgumentError: without any bound.
        NumberError: for a number that the type of the result does not hold.
        ShapeError: for bounds that cannot be broadcast with the input.
        DTypeError: for bools.
    """
    check_tensor("clamp", input)
    if min is None and max is None:
        raise ArgumentError("clamp: expected min, max or both, got neither")
    check_limits("clamp", input, min, max)
    bounds = [b if b is None or is_tensor(b) else operand(b, input, "clamp") for b in (min, max)]
    return apply(OPS["clamp"], (input, *bounds))


# ---- of one ----


def neg(input: Tensor) -> Tensor:
    """-input.

    As ``torch.neg``. Any shape -> the same shape and dtype.

    Raises:
        DTypeError: for bools.
    """
    return unary("neg", input)


def exp(input: Tensor) -> Tensor:
    """e to the power of each element.

    As ``torch.exp``. Any shape -> the same shape; integers and bools become float32.
    """
    return unary("exp", input)


def log(input: Tensor) -> Tensor:
    """The natural logarithm of each element.

    As ``torch.log``. Any shape -> the same shape; integers and bools become float32.
    """
    return unary("log", input)


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent of each element.

    As ``torch.tanh``. Any shape -> the same shape; integers and bools become float32.
    """
    return unary("tanh", input)


def erf(input: Tensor) -> Tensor:
    """The error function of each element.

    As ``torch.erf``. Any shape -> the same shape; integers and bools become float32.
    """
    return unary("erf", input)


def sqrt(input: Tensor) -> Tensor:
    """The square root of each element.

    As ``torch.sqrt``. Any shape -> the same shape; integers and bools become float32.
    """
    return unary("sqrt", input)


def rsqrt(input: Tensor) -> Tensor:
    """One over the square root of each element.

    As ``torch.rsqrt``. Any shape -> the same shape; integers and bools become float32.
    """
    return unary("rsqrt", input)


def abs(input: Tensor) -> Tensor:
    """The absolute value of each element; its slope at 0 is 0.

    As ``torch.abs``. Any shape -> the same shape and dtype.

    Raises:
        DTypeError: for bools.
    """
    return unary("abs", input)


def sign(input: Tensor) -> Tensor:
    """-1, 0 or 1, in the type of input, and 0 of NaN. The slope is zero.

    As ``torch.sign``. Any shape -> the same shape.
    """
    return unary("sign", input)


def square(input: Tensor) -> Tensor:
    """Each element times itself.

    As ``torch.square``. Any shape -> the same shape and dtype; bools become int64.
    """
    return pow(input, 2)


def reciprocal(input: Tensor) -> Tensor:
    """One over each element.

    As ``torch.reciprocal``. Any shape -> the same shape; integers and bools become float32.
    """
    return unary("reciprocal", input)


def log1p(input: Tensor) -> Tensor:
    """log(1 + input), accurate near zero.

    As ``torch.log1p``. Any shape -> the same shape; integers and bools become float32.
    """
    return unary("log1p", input)


def expm1(input: Tensor) -> Tensor:
    """exp(input) - 1, accurate near zero.

    As ``torch.expm1``. Any shape -> the same shape; integers and bools become float32.
    """
    return unary("expm1", input)


def sin(input: Tensor) -> Tensor:
    """The sine of each element, in radians.

    As ``torch.sin``. Any shape -> the same shape; integers and bools become float32.
    """
    return unary("sin", input)


def cos(input: Tensor) -> Tensor:
    """The cosine of each element, in radians.

    As ``torch.cos``. Any shape -> the same shape; integers and bools become float32.
    """
    return unary("cos", input)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-input)).

    As ``torch.sigmoid``. Any shape -> the same shape; integers and bools become float32.
    """
    return unary("sigmoid", input)


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """The larger of each element and 0; NaN stays. The slope at 0 is 0.

    As ``torch.relu``, with the ``inplace`` of ``torch.nn.functional.relu``. Any shape -> the same
    shape and dtype.

    Args:
        inplace: not supported; True raises.

    Raises:
        ArgumentError: for inplace=True.
        DTypeError: for bools.
    """
    if inplace:
        refuse_others("relu", {"inplace": inplace}, "inplace")
    return unary("relu", input)


def floor(input: Tensor) -> Tensor:
    """The largest whole number up to each element. The slope is zero.

    As ``torch.floor``. Any shape -> the same shape and dtype.

    Raises:
        DTypeError: for bools.
    """
    return unary("floor", input)


def ceil(input: Tensor) -> Tensor:
    """The smallest whole number from each element up. The slope is zero.

    As ``torch.ceil``. Any shape -> the same shape and dtype.

    Raises:
        DTypeError: for bools.
    """
    return unary("ceil", input)


def trunc(input: Tensor) -> Tensor:
    """Each element without its fraction. The slope is zero.

    As ``torch.trunc``. Any shape -> the same shape and dtype.

    Raises:
        DTypeError: for bools.
    """
    return unary("trunc", input)


def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest whole number, of two equally near ones the even one. The slope is zero.

    As ``torch.round``. Any shape -> the same shape and dtype.

    Args:
        decimals: how many digits after the point are kept; negative: rounded before the point.

    Raises:
        DTypeError: for bools, and for decimals of integers.
    """
    check_tensor("round", input)
    (decimals,) = integers_of("round", (decimals,), "decimals")
    if decimals == 0:
        return unary("round", input)
    if not input.dtype.is_floating_point:
        raise DTypeError(f"round: decimals needs float32 or float64, got {input.dtype.name}")
    scale = 10.0 ** (decimals if decimals > 0 else -decimals)
    if decimals > 0:
        return div(unary("round", mul(input, scale)), scale)
    return mul(unary("round", div(input, scale)), scale)
