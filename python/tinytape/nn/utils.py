"""Helpers on lists of parameters.

>>> weight = tt.nn.Parameter(tt.zeros(2))
>>> weight.grad = tt.tensor([3.0, 4.0])
>>> norm = tt.nn.utils.clip_grad_norm_([weight], max_norm=1.0)
>>> norm.item(), weight.grad.norm().item() <= 1
(5.0, True)
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from .. import _foreach
from .._pytorch import refuse_others
from ..creation import tensor
from ..dtypes import float64
from ..errors import NonFiniteError
from ..tensor import Tensor


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients by min(1, max_norm / (norm + 1e-6)) (Pascanu et al. 2013).

    As ``torch.nn.utils.clip_grad_norm_``, but the norm is a float64 scalar.

    Args:
        parameters: those without a gradient are skipped; the gradients have one dtype.
        max_norm: bound for the norm of all gradients together.
        norm_type: p of the p-norm; ``math.inf`` for the largest absolute value.
        error_if_nonfinite: whether a norm that is infinite or NaN is an error.
        foreach: PyTorch's; there is one way to compute this, and True raises.

    Returns:
        The norm before clipping, summed in float64 in a fixed order, as a float64 scalar.

    Raises:
        NonFiniteError: with ``error_if_nonfinite``. No gradient has changed then.
        ArgumentError: for foreach=True.
    """
    refuse_others("clip_grad_norm_", {"foreach": foreach}, "foreach")
    params = [parameters] if isinstance(parameters, Tensor) else parameters
    grads = [grad for param in params if (grad := param.grad) is not None]
    if not grads:
        return tensor(0.0, dtype=float64)
    norm = _foreach.grad_norm(grads, norm_type)
    if error_if_nonfinite and not math.isfinite(norm):
        raise NonFiniteError(f"clip_grad_norm_: the norm of the gradients is not finite: {norm}")
    result = tensor(np.array(norm))  # may be refused: before the gradients change
    _foreach.clip_(grads, norm, max_norm)
    return result
