"""Functions of each element."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinytape.functional._apply import binary, unary

if TYPE_CHECKING:
    from tinytape.tensor import Tensor

__all__ = [
    "add",
    "div",
    "erf",
    "exp",
    "log",
    "mul",
    "neg",
    "rsqrt",
    "sqrt",
    "sub",
    "tanh",
]


def add(input: Any, other: Any) -> Tensor:
    """input + other, broadcast."""
    return binary("add", input, other)


def sub(input: Any, other: Any) -> Tensor:
    """input - other, broadcast."""
    return binary("sub", input, other)


def mul(input: Any, other: Any) -> Tensor:
    """input * other, broadcast."""
    return binary("mul", input, other)


def div(input: Any, other: Any) -> Tensor:
    """input / other, broadcast."""
    return binary("div", input, other)


def neg(input: Tensor) -> Tensor:
    """-input."""
    return unary("neg", input)


def exp(input: Tensor) -> Tensor:
    """e to the power of each element."""
    return unary("exp", input)


def log(input: Tensor) -> Tensor:
    """The natural logarithm of each element."""
    return unary("log", input)


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent of each element."""
    return unary("tanh", input)


def erf(input: Tensor) -> Tensor:
    """The error function of each element."""
    return unary("erf", input)


def sqrt(input: Tensor) -> Tensor:
    """The square root of each element."""
    return unary("sqrt", input)


def rsqrt(input: Tensor) -> Tensor:
    """One over the square root of each element."""
    return unary("rsqrt", input)
