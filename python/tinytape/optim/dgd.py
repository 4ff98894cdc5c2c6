"""Delta gradient descent: a step that follows from an objective for the weight as a memory.

>>> layer = tt.nn.Linear(2, 1, bias=False)
>>> inputs = tt.optim.LayerInputs(layer)
>>> optimizer = tt.optim.DGD([layer.weight], lr=0.1, inputs=inputs)
>>> layer(tt.ones(4, 2)).mean().backward()
>>> optimizer.step()
"""

from __future__ import annotations

from typing import Any

from .. import _foreach
from ..functional import diagonal
from ..nn.functional import linear_add
from ..tensor import Tensor
from ._delta_base import check_inputs
from ._options import check_non_negative
from .layer_inputs import LayerInputs
from .optimizer import Group, Optimizer, Params


class DGD(Optimizer):
    """W <- W - lr' (erase_rate W C + G), with C = mean x x^T and lr' = lr / (1 + lr tr C).

    Equations 56 and 57 of "Nested Learning" (Behrouz et al., 2025, arXiv 2512.24695). The weight is
    a memory that should answer x with u = -grad_y L, and stay near its value:

        W_next = argmin over V of  1/2 |V x - u|^2 + |V - W|^2 / (2 lr)

    For one token the minimum is (Sherman and Morrison) W - lr' (W x x^T + G), with
    lr' = lr / (1 + lr |x|^2) and G = grad_y L x^T: equation 57, which the paper writes for
    |x| = 1. For a batch the objective is the mean over its tokens, whose derivative at W is
    W C + G, C being the mean of the outer products, not the outer product of the mean; |x|^2
    becomes tr C, the mean of |x|^2. The step is then one of gradient descent on that objective
    with the rate 1 / (tr C + 1 / lr), which is no more than one over its curvature: it never
    overshoots for any ``lr``, and for a single token it is the minimum. (The minimum for a batch,
    W - lr (W C + G) (I + lr C)^-1, would need a system solved.) Inputs are not scaled to |x| = 1,
    since G was made with x as it is.

    The objective pulls the answer of a weight towards -grad_y L, which is nearly zero compared with
    y: used on the weights of a network, the paper's rule forgets faster than it learns. With a
    lower ``erase_rate`` e the target is u = (1 - e) W x - grad_y L, and all of the above holds for
    it; with 0 nothing is forgotten, and the step is the gradient with a normalised rate, as in
    normalised least mean squares.

    G must be the gradient of a mean over the tokens that C is a mean of: divide by the count when
    gradients are accumulated.

    A weight (out, in) whose layer ``inputs`` observes is updated so; every other parameter by
    p <- p - lr grad.

    Args:
        params: see :class:`Optimizer`.
        lr: learning rate; a higher one lets the weights move further from their values.
        erase_rate: the fraction of a weight's answer that is forgotten; 1 is the paper's.
        inputs: the inputs of the layers.

    Raises:
        TypeError: ``inputs`` is no :class:`LayerInputs`.
        ValueError: an option outside its range.
        RuntimeError: from ``step()``: a weight has a gradient, but ``inputs`` saw nothing of its
            layer since the last step. Nothing of its group has changed then.
    """

    def __init__(
        self, params: Params, lr: float = 1e-3, erase_rate: float = 1.0, *, inputs: LayerInputs
    ) -> None:
        self.inputs = check_inputs(self._who, inputs)
        super().__init__(params, {"lr": lr, "erase_rate": erase_rate})

    def _check_group(self, group: Group) -> None:
        check_non_negative(self._who, group, "lr", "erase_rate")

    def _new_state(self, group: Group, param: Tensor) -> dict[str, Any]:
        return {**self.inputs.keep_moment(param)} if param in self.inputs else {}

    def _update_group(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        lr, erase_rate = group["lr"], group["erase_rate"]
        known = [param for param in params if param in self.inputs]
        moments = {weight: self.inputs.moment(weight) for weight in known}
        for param, grad in zip(params, grads, strict=True):
            moment = moments.get(param)
            if moment is None:
                _foreach.add_(param, grad, -lr)
                continue
            rate = lr / (1.0 + lr * diagonal(moment).sum().item())
            if erase_rate != 0:
                grad = linear_add(grad, param, moment * erase_rate)  # C is its own transpose
            _foreach.add_(param, grad, -rate)
        self.inputs.reset(known)
