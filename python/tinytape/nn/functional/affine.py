"""Affine maps.

>>> from tinytape.nn import functional as F
>>> x, weight, bias = tt.ones(1, 2), tt.ones(3, 2), tt.tensor([0.0, 1.0, 2.0])
>>> F.linear(x, weight, bias).tolist()
[[2.0, 3.0, 4.0]]
"""

from __future__ import annotations

from tinytape._ffi import OPS
from tinytape.errors import ArgumentError
from tinytape.functional._apply import apply, check_tensor, run
from tinytape.nn.observers import notify, observers
from tinytape.tensor import Tensor

__all__ = ["linear", "linear_activation", "linear_add"]

_ACTIVATIONS = ("none", "relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid")  # activations.h


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b: input (..., in), weight (out, in), bias (out,) -> (..., out).

    As ``torch.nn.functional.linear``. All of one dtype, float32 or float64.

    Raises:
        ShapeError, DTypeError: for shapes or types that do not fit.
    """
    check_tensor("linear", input)
    check_tensor("linear", weight)
    out = apply(OPS["linear"], (input, weight, bias))
    if observers:
        notify(weight, input)
    return out


def linear_activation(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, *, activation: str
) -> Tensor:
    """activation(x W^T + b) in one operation: input (..., in), weight (out, in), bias (out,).

    The same numbers as :func:`linear` and then the activation, within rounding; PyTorch has no name
    for it. The activation is applied to each part of the product while it is in the cache, and its
    slope is computed at the same time, so that backward does not evaluate the function again.

    Args:
        input, weight, bias: of one dtype, float32 or float64.
        activation: "relu", "gelu", "gelu_tanh" (its approximation), "silu", "tanh", "sigmoid".

    Raises:
        ShapeError, DTypeError: for shapes or types that do not fit.
        ArgumentError: for another activation.
    """
    check_tensor("linear_activation", input)
    check_tensor("linear_activation", weight)
    if activation not in _ACTIVATIONS[1:]:
        raise ArgumentError(
            f"linear_activation: activation must be one of {', '.join(_ACTIVATIONS[1:])}, "
            f"got {activation!r}"
        )
    number = _ACTIVATIONS.index(activation)
    out = run["linear_activation"]((input, weight, bias), activation=number)
    if observers:
        notify(weight, input)
    return out


def linear_add(
    residual: Tensor, input: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """residual + x W^T + b in one operation.

    Residual (..., out), input (..., in), weight (out, in), bias (out,) -> (..., out), all of one
    dtype, float32 or float64.

    The end of a residual branch: the same numbers as ``residual + linear(input, weight, bias)``
    within rounding, without a pass over memory for the sum. The residual has the shape of the
    result; its gradient is that of the result. ``torch.addmm`` is the nearest name.

    Raises:
        ShapeError, DTypeError: for shapes or types that do not fit.
    """
    check_tensor("linear_add", residual)
    check_tensor("linear_add", input)
    check_tensor("linear_add", weight)
    out = apply(OPS["linear_add"], (input, weight, bias, residual))
    if observers:
        notify(weight, input)
    return out
