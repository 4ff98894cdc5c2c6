"""Loading of saved state: everything is compared first, and assigned only when all of it fits.

>>> layer = tt.nn.Linear(2, 1)
>>> layer.load_state_dict({"weight": tt.zeros(1, 2), "bias": tt.zeros(1)})
<All keys matched successfully>
>>> layer.load_state_dict({"weight": tt.zeros(1, 2)}, strict=False)
IncompatibleKeys(missing_keys=['bias'], unexpected_keys=[])
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..errors import TinytapeError
from ..tensor import Tensor

Array = np.ndarray[Any, Any]
# More than was ever counted. An int64 and a double can still hold one more.
MOST_COUNT = 1 << 53


class StateDictError(TinytapeError, RuntimeError, ValueError):
    """A state that does not fit. In PyTorch modules raise RuntimeError, optimisers ValueError."""


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
    """Overwrite a leaf with an array that :func:`misfit` accepted."""
    target.copy_(array)


class IncompatibleKeys(NamedTuple):
    """The names that ``load_state_dict(strict=False)`` left out."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return (
            f"IncompatibleKeys(missing_keys={self.missing_keys}, "
            f"unexpected_keys={self.unexpected_keys})"
        )


def load(
    who: str, own: Mapping[str, Tensor], state_dict: Mapping[str, Any], strict: bool
) -> IncompatibleKeys:
    """Overwrite a module's tensors by the values of the same names; for ``load_state_dict``.

    Raises:
        StateDictError: listing all that is missing, unexpected or does not fit.
    """
    missing = [name for name in own if name not in state_dict]
    unexpected = [name for name in state_dict if name not in own]
    problems: list[str] = []
    if strict and missing:
        problems.append(f"Missing key(s) in state_dict: {_quoted(missing)}.")
    if strict and unexpected:
        problems.append(f"Unexpected key(s) in state_dict: {_quoted(unexpected)}.")
    changes = []
    for name, target in own.items():
        if name in state_dict:
            problem, array = misfit(name, target, state_dict[name])
            changes.append((target, array))
            if problem:
                problems.append(problem)
    if problems:
        raise StateDictError(
            f"Error(s) in loading state_dict for {who}:\n\t" + "\n\t".join(problems)
        )
    for target, array in changes:
        assign(target, array)
    return IncompatibleKeys(missing, unexpected)


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
