"""Loading of saved state: everything is compared first, and assigned only when all of it fits."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import TinytapeError
from ..tensor import Tensor

Array = np.ndarray[Any, Any]
# More than was ever counted. What one more is can still be said by an int64, and by a double.
MOST_COUNT = 1 << 53


class StateDictError(TinytapeError, RuntimeError, ValueError):
    """A state that does not fit. PyTorch: RuntimeError in modules, ValueError in optimisers."""


def misfit(name: str, target: Tensor, value: Any) -> tuple[str | None, Array]:
    """Whether ``value`` (Tensor or array) can be assigned to ``target``: (why not or None, array).

    Shapes must be equal. Floats of another width will do, as in PyTorch; integers for floats and
    floats for integers will not.
    """
    array = value.numpy() if isinstance(value, Tensor) else np.asarray(value)
    if array.shape != target.shape:
        return f"size mismatch for {name}: expected shape {target.shape}, got {array.shape}.", array
    if array.dtype.kind not in ("f" if target.dtype.is_floating_point else "iu"):
        return (
            f"dtype mismatch for {name}: expected {target.dtype.name}, got {array.dtype}."
        ), array
    return None, array


def assign(target: Tensor, array: Array) -> None:
    """Overwrite a leaf with what :func:`misfit` found to fit."""
    target.copy_(array)
