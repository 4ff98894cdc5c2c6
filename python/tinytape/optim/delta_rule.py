"""The delta rule of Nested Learning, as printed: weights forget along their inputs.

>>> layer = tt.nn.Linear(2, 1, bias=False)
>>> layer.weight.copy_(tt.tensor([[1.0, 1.0]])).shape
(1, 2)
>>> inputs = tt.optim.LayerInputs(layer)
>>> optimizer = tt.optim.DeltaRule([layer.weight], lr=0.0, decay_rate=0.5, inputs=inputs)
>>> layer(tt.tensor([[1.0, 0.0]])).sum().backward()
>>> optimizer.step()
>>> layer.weight.tolist()
[[0.5, 1.0]]
"""

from __future__ import annotations

from ..functional import mv, outer
from ..tensor import Tensor
from ._delta_base import DeltaBase, check_inputs
from .layer_inputs import LayerInputs
from .optimizer import Optimizer, Params
from .sgd import SGD


class DeltaRule(DeltaBase, SGD):
    """W <- W (I - decay_rate x x^T) - lr G, with x the mean input of the layer.

    Equation 29 of Behrouz, Razaviyayn, Zhong and Mirrokni, "Nested Learning" (NeurIPS 2025,
    camera-ready), in the form in which nl-gabal ran it: x is the mean over all tokens of the batch,
    and G the gradient. The paper's rule is for one token, where G is the outer product of grad_y L
    and x. For a batch, the outer product of a mean is not the mean of outer products, and the two
    rates are unrelated: :class:`DGD` is the rule that follows from the paper's objective; this one
    is there for comparison.

    A weight (out, in) whose layer ``inputs`` observes is updated so; every other parameter by
    :class:`SGD` with the same options.

    Args:
        params: see :class:`Optimizer`.
        lr: learning rate.
        decay_rate: how much of W x x^T is taken away.
        momentum: decay of a buffer for G, as in :class:`SGD`; 0 keeps none.
        weight_decay: L2 coefficient, added to G.
        inputs: the inputs of the layers.

    Raises:
        TypeError: ``inputs`` is no :class:`LayerInputs`.
        ValueError: an option outside its range.
        RuntimeError: from ``step()``: a weight has a gradient, but ``inputs`` saw nothing of its
            layer since the last step. Nothing of its group has changed then.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        decay_rate: float = 1e-4,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        *,
        inputs: LayerInputs,
    ) -> None:
        self.inputs = check_inputs(self._who, inputs)
        defaults = {
            "lr": lr,
            "decay_rate": decay_rate,
            "momentum": momentum,
            "dampening": 0.0,
            "weight_decay": weight_decay,
            "nesterov": False,
            "maximize": False,
        }
        Optimizer.__init__(self, params, defaults)

    def _keep(self, weight: Tensor) -> dict[str, Tensor]:
        return self.inputs.keep_mean(weight)

    def _erased(self, weight: Tensor) -> Tensor:
        x = self.inputs.mean(weight)
        return outer(mv(weight, x), x)
