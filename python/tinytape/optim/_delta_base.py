"""The base of DeltaRule and DeltaAdam: weights decay along the inputs of their layer."""

from __future__ import annotations

from typing import Any

from .. import _foreach
from ..tensor import Tensor
from ._options import check_non_negative
from .layer_inputs import LayerInputs
from .optimizer import Group, Optimizer


def check_inputs(who: str, inputs: LayerInputs) -> LayerInputs:
    """Raise TypeError for anything else."""
    if not isinstance(inputs, LayerInputs):
        raise TypeError(
            f"{who}: expected inputs to be a LayerInputs, as optim.LayerInputs(model) gives it, "
            f"got {type(inputs).__name__}"
        )
    return inputs


class DeltaBase(Optimizer):
    """The step of another optimiser, and W <- W - decay_rate W x x^T.

    Both are computed from the W before the step. A subclass inherits from this and the optimiser,
    and defines ``_keep`` and ``_erased``.
    """

    inputs: LayerInputs

    def _keep(self, weight: Tensor) -> dict[str, Tensor]:
        """What ``inputs`` is to add up for a weight."""
        raise NotImplementedError(f"{self._who}: _keep is not implemented")

    def _erased(self, weight: Tensor) -> Tensor:
        """W x x^T, from the inputs since the last step."""
        raise NotImplementedError(f"{self._who}: _erased is not implemented")

    def _check_group(self, group: Group) -> None:
        super()._check_group(group)
        check_non_negative(self._who, group, "decay_rate")

    def _new_state(self, group: Group, param: Tensor) -> dict[str, Any]:
        state = super()._new_state(group, param)
        return {**state, **self._keep(param)} if param in self.inputs else state

    def _update_group(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        known = [param for param in params if param in self.inputs]
        erased = [self._erased(weight) for weight in known]
        super()._update_group(group, params, grads)
        for weight, term in zip(known, erased, strict=True):
            _foreach.add_(weight, term, -group["decay_rate"])
        self.inputs.reset(known)
