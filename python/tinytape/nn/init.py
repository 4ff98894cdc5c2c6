"""Initial values, drawn in place.

Every function takes ``generator`` (``tt.default_generator`` unless told), leaves no trace on the
tape and returns its tensor.
"""

from __future__ import annotations

import math

from ..errors import ArgumentError
from ..random import Generator
from ..random_tensors import NORMAL, UNIFORM, fill_random_
from ..tensor import Tensor


def uniform_(
    tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill from U[a, b)."""
    return fill_random_(tensor, UNIFORM, a, b, generator)


def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill from N(mean, std^2)."""
    if not std >= 0.0:
        raise ArgumentError(f"normal_: expected std >= 0, got {std}")
    return fill_random_(tensor, NORMAL, mean, std, generator)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one value."""
    return tensor.fill_(val)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0."""
    return tensor.zero_()


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1."""
    return tensor.fill_(1.0)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Factor that keeps the variance through a nonlinearity; ``param`` is leaky_relu's slope."""
    if nonlinearity in ("linear", "sigmoid"):
        return 1.0
    if nonlinearity == "tanh":
        return 5.0 / 3.0
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1.0 + (0.01 if param is None else param) ** 2))
    raise ArgumentError(
        f"calculate_gain: expected linear, sigmoid, tanh, relu or leaky_relu, got {nonlinearity!r}"
    )


def _fans(who: str, tensor: Tensor) -> tuple[int, int]:
    """(inputs, outputs) of one element, for a weight (out, in, ...)."""
    if tensor.ndim < 2:
        raise ArgumentError(f"{who}: expected at least 2 dimensions, got shape {tensor.shape}")
    receptive = math.prod(tensor.shape[2:])
    return tensor.shape[1] * receptive, tensor.shape[0] * receptive


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill from U(-k, k), k = gain * sqrt(3 / fan) (He et al. 2015).

    Args:
        tensor: weight of shape (out, in, ...).
        a: slope of leaky_relu below zero.
        mode: "fan_in" or "fan_out".
        nonlinearity: see :func:`calculate_gain`.
        generator: draws the values.
    """
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(f"kaiming_uniform_: expected mode fan_in or fan_out, got {mode!r}")
    if 0 in tensor.shape:
        return tensor
    fan = _fans("kaiming_uniform_", tensor)[mode == "fan_out"]
    bound = calculate_gain(nonlinearity, a) * math.sqrt(3.0 / fan)
    return uniform_(tensor, -bound, bound, generator=generator)


def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill from U(-k, k), k = gain * sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    if 0 in tensor.shape:
        return tensor
    bound = gain * math.sqrt(6.0 / sum(_fans("xavier_uniform_", tensor)))
    return uniform_(tensor, -bound, bound, generator=generator)
