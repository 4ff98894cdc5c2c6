"""The inputs of a model's layers since the last step: the mean of x, and of x x^T.

>>> layer = tt.nn.Linear(2, 1)
>>> inputs = tt.optim.LayerInputs(layer)
>>> sums = inputs.keep_mean(layer.weight)
>>> y = layer(tt.tensor([[1.0, 2.0], [3.0, 4.0]]))
>>> inputs.mean(layer.weight).tolist(), inputs.tokens(layer.weight)
([2.0, 3.0], 2)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from .. import _foreach
from .._ffi import lib
from ..creation import zeros
from ..dtypes import int64
from ..errors import ArgumentError, DTypeError, TapeStateError
from ..functional import matmul
from ..nn import LSTM, Linear, LSTMCell, Module, observers
from ..tensor import Tensor

_MATRICES = {LSTM: "weight_", LSTMCell: "weight_", Linear: "weight"}


class _Place(NamedTuple):
    """A weight that is observed, with its name, its layer, and its sums so far."""

    name: str
    weight: Tensor
    layer: Module
    sums: dict[str, Tensor]


class LayerInputs:
    """The inputs of the linear and LSTM layers of a model, summed over the passes since a step.

    The delta rules of "Nested Learning" (Behrouz et al., NeurIPS 2025) need a layer's inputs beside
    its gradient, and take one of these. In forward passes in training mode, with gradients enabled,
    it counts the tokens (rows of x) and adds up what the optimisers asked for: the sum of x, or the
    sum of x x^T. The input of ``nn.Linear.weight`` and of ``weight_ih`` of an LSTM is x; that of
    ``weight_hh`` is h_(t-1), the initial state included. The means are over all tokens since the
    optimiser's last step, so gradients of several batches may be accumulated.

    The sums are of the parameter's dtype, made once, and part of the optimiser's state. When the
    gradients of a batch are thrown away, throw its inputs away too: :meth:`reset`.

    Args:
        model: its ``nn.Linear``, ``nn.LSTM`` and ``nn.LSTMCell`` layers are watched, on every
            path on which their weights are used, as long as this object lives.

    Raises:
        TypeError: ``model`` is no Module.
        ValueError: it has no such layer.
    """

    def __init__(self, model: Module) -> None:
        if not isinstance(model, Module):
            raise TypeError(f"LayerInputs: expected a Module, got {type(model).__name__}")
        self._places: dict[Tensor, _Place] = {}
        for prefix, layer in model.named_modules():
            start = next((s for kind, s in _MATRICES.items() if isinstance(layer, kind)), None)
            for key, weight in layer._parameters.items():
                if start is not None and weight is not None and key.startswith(start):
                    name = f"{prefix}.{key}" if prefix else key
                    self._places.setdefault(weight, _Place(name, weight, layer, {}))
        if not self._places:
            raise ArgumentError(
                "LayerInputs: expected a model with nn.Linear, nn.LSTM or nn.LSTMCell layers, "
                f"got a {type(model).__name__} without any"
            )
        observers.add_observer(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        observers.add_observer(self)  # a copy and an unpickled one too

    def __contains__(self, weight: Tensor) -> bool:
        return weight in self._places

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        return f"LayerInputs({', '.join(place.name for place in self._places.values())})"

    # --- for optimisers -------------------------------------------------------------------------

    def keep_mean(self, weight: Tensor) -> dict[str, Tensor]:
        """From now on add up x for this weight; returns the sums, which are state.

        Raises:
            ArgumentError: for a tensor that is no weight of a watched layer.
        """
        return self._keep(weight, "input_sum", (weight.shape[1],))

    def keep_moment(self, weight: Tensor) -> dict[str, Tensor]:
        """From now on add up x x^T for this weight; returns the sums, which are state.

        Raises:
            ArgumentError: for a tensor that is no weight of a watched layer.
        """
        return self._keep(weight, "input_products", (weight.shape[1], weight.shape[1]))

    def mean(self, weight: Tensor) -> Tensor:
        """Mean x (in,) since the last :meth:`reset`.

        Raises:
            RuntimeError: no input was seen.
            ArgumentError: the weight is not watched, or :meth:`keep_mean` was not called for it.
        """
        return self._sum(weight, "input_sum") * (1.0 / self._counted(weight))

    def moment(self, weight: Tensor) -> Tensor:
        """Mean x x^T (in, in) since the last :meth:`reset`.

        Raises:
            RuntimeError: no input was seen.
            ArgumentError: the weight is not watched, or :meth:`keep_moment` was not called for it.
        """
        return self._sum(weight, "input_products") * (1.0 / self._counted(weight))

    def tokens(self, weight: Tensor) -> int:
        """The number of rows of x that were added up for this weight since the last :meth:`reset`.

        Raises:
            ArgumentError: the weight is not watched, or nothing was asked for it.
        """
        return int(self._sum(weight, "tokens").item())

    def reset(self, weights: Iterable[Tensor] | None = None) -> None:
        """Forget the inputs of these weights, by default of all.

        Raises:
            ArgumentError: for a tensor that is no weight of a watched layer.
        """
        places = (
            self._places.values()
            if weights is None
            else [self._place(weight) for weight in weights]
        )
        for place in places:
            for total in place.sums.values():
                total.zero_()

    # --- for layers -----------------------------------------------------------------------------

    def observe(self, weight: Tensor, input: Tensor) -> None:
        """Add up ``input`` (..., in), which ``weight`` (out, in) was multiplied with.

        Raises:
            DTypeError: when the model was converted after its optimiser was made.
        """
        place = self._places.get(weight)
        if place is None or not place.sums or not place.layer.training:
            return
        rows = input.reshape(-1, input.shape[-1])
        if rows.shape[0] == 0:
            return
        for key, total in place.sums.items():
            if key != "tokens" and total.dtype is not weight.dtype:
                raise DTypeError(
                    f"LayerInputs: {place.name!r} has become {weight.dtype.name}, its optimiser "
                    f"was made for {total.dtype.name}; make it after the model was converted"
                )
        rows = rows.to(weight.dtype)
        if "input_sum" in place.sums:
            _foreach.add_(place.sums["input_sum"], rows.sum(0))
        if "input_products" in place.sums:
            _foreach.add_(place.sums["input_products"], matmul(rows.t(), rows))
        place.sums["tokens"].fill_(self.tokens(weight) + rows.shape[0])

    # --- sums -----------------------------------------------------------------------------------

    def _place(self, weight: Tensor) -> _Place:
        if weight not in self:
            raise ArgumentError(
                f"LayerInputs: a tensor of shape {weight.shape} is no weight of a layer that is "
                f"watched; these are: {', '.join(place.name for place in self._places.values())}"
            )
        return self._places[weight]

    def _keep(self, weight: Tensor, what: str, shape: tuple[int, ...]) -> dict[str, Tensor]:
        sums = self._place(weight).sums
        if what not in sums or sums[what].dtype is not weight.dtype:
            sums[what] = zeros(shape, dtype=weight.dtype, _pool=lib.TT_POOL_STATE)
            sums.setdefault("tokens", zeros((), dtype=int64, _pool=lib.TT_POOL_STATE))
        self.reset([weight])  # the earlier sums were for another optimiser
        return {key: sums[key] for key in ("tokens", what)}

    def _sum(self, weight: Tensor, what: str) -> Tensor:
        place = self._place(weight)
        if what not in place.sums:
            raise ArgumentError(f"LayerInputs: no optimiser asked for the {what} of {place.name!r}")
        return place.sums[what]

    def _counted(self, weight: Tensor) -> int:
        count = self.tokens(weight)
        if count == 0:
            raise TapeStateError(
                f"LayerInputs: expected inputs of {self._place(weight).name!r} since the last "
                f"step, got none: is the model in eval mode, or was there no forward pass?"
            )
        return count
