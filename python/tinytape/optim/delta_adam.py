"""Adam, with weights that forget along their inputs.

>>> layer = tt.nn.Linear(2, 1)
>>> inputs = tt.optim.LayerInputs(layer)
>>> optimizer = tt.optim.DeltaAdam(layer.named_parameters(), decay_rate=0.1, inputs=inputs)
>>> layer(tt.ones(4, 2)).sum().backward()
>>> optimizer.step()
"""

from __future__ import annotations

from ..functional import matmul
from ..tensor import Tensor
from ._delta_base import DeltaBase, check_inputs
from .adam import Adam
from .layer_inputs import LayerInputs
from .optimizer import Optimizer, Params


class DeltaAdam(DeltaBase, Adam):
    """W <- W (I - decay_rate C) - the step of :class:`Adam` for G, with C the mean of x x^T.

    Adam takes the place of lr G in equation 29 of "Nested Learning" (Behrouz et al., NeurIPS 2025,
    camera-ready), as in nl-gabal's Adam variant of the delta rule. C is the mean of the outer
    products over all tokens of the batch, as the objective (equation 27) has it, not the outer
    product of the mean x. The erased term goes past the moments, like a decoupled weight decay, and
    ``lr`` does not scale it: it is a weight decay by ``decay_rate`` times the second moment of the
    input, strong along directions that the layer sees often, none along others. The rule is stable
    where ``decay_rate`` times the largest eigenvalue of C is below 2.

    A weight (out, in) whose layer ``inputs`` observes is updated so; every other parameter by
    :class:`Adam` with the same options.

    Args:
        params: see :class:`Optimizer`.
        lr: learning rate of Adam's step.
        betas: decay of the running means of G and of its square, each in [0, 1).
        eps: added to the root of the second moment.
        decay_rate: how much of W C is taken away.
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
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        decay_rate: float = 1e-4,
        weight_decay: float = 0.0,
        *,
        inputs: LayerInputs,
    ) -> None:
        self.inputs = check_inputs(self._who, inputs)
        defaults = {
            "lr": lr,
            "betas": tuple(betas),
            "eps": eps,
            "decay_rate": decay_rate,
            "weight_decay": weight_decay,
            "maximize": False,
            "decoupled_weight_decay": False,
        }
        Optimizer.__init__(self, params, defaults)

    def _keep(self, weight: Tensor) -> dict[str, Tensor]:
        return self.inputs.keep_moment(weight)

    def _erased(self, weight: Tensor) -> Tensor:
        return matmul(weight, self.inputs.moment(weight))
