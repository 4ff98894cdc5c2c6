"""Initial values, drawn in place, with the names of ``torch.nn.init``.

Every function takes ``generator`` (``tt.default_generator`` by default), records nothing and
returns its tensor.

>>> weight = tt.zeros(4, 3)
>>> bound = (6 / (3 + 4)) ** 0.5
>>> tt.nn.init.xavier_uniform_(weight).abs().max().item() <= bound
True
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
    """Fill a tensor of any shape from U[a, b); as ``torch.nn.init.uniform_``."""
    return fill_random_(tensor, UNIFORM, a, b, generator)


def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill a tensor of any shape from N(mean, std^2); as ``torch.nn.init.normal_``.

    Raises:
        ArgumentError: for a negative std.
    """
    if not std >= 0.0:
        raise ArgumentError(f"normal_: expected std >= 0, got {std}")
    return fill_random_(tensor, NORMAL, mean, std, generator)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill a tensor of any shape with one value; as ``torch.nn.init.constant_``."""
    return tensor.fill_(val)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill a tensor of any shape with 0; as ``torch.nn.init.zeros_``."""
    return tensor.zero_()


def ones_(tensor: Tensor) -> Tensor:
    """Fill a tensor of any shape with 1; as ``torch.nn.init.ones_``."""
    return tensor.fill_(1.0)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps the variance through a nonlinearity.

    As ``torch.nn.init.calculate_gain``.

    Args:
        nonlinearity: "linear", "sigmoid", "tanh", "relu" or "leaky_relu"; PyTorch has more.
        param: leaky_relu's slope below zero, 0.01 by default.

    Raises:
        ArgumentError: for another nonlinearity.
    """
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

    As ``torch.nn.init.kaiming_uniform_``.

    Args:
        tensor: weight of shape (out, in, ...).
        a: slope of leaky_relu below zero.
        mode: "fan_in" or "fan_out".
        nonlinearity: see :func:`calculate_gain`.
        generator: draws the values.

    Raises:
        ArgumentError: for another mode or nonlinearity, or a tensor of fewer than 2 dimensions.
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
    """Fill from U(-k, k), k = gain * sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010).

    As ``torch.nn.init.xavier_uniform_``. The tensor has the shape (out, in, ...).

    Raises:
        ArgumentError: for a tensor of fewer than 2 dimensions.
    """
    if 0 in tensor.shape:
        return tensor
    bound = gain * math.sqrt(6.0 / sum(_fans("xavier_uniform_", tensor)))
    return uniform_(tensor, -bound, bound, generator=generator)
