"""Surprise: a loss at the output of a level, made of the gradient that arrives there.

>>> from tinytape.nested import NestedModelWithSurprise, SurpriseLossComputer
>>> model, surprise = NestedModelWithSurprise(4, 8), SurpriseLossComputer({"level1_fast": 0.3})
>>> y, info = model(tt.ones(2, 3, 4), compute_surprise=True)
>>> loss = (y * y).mean()
>>> total, by_level = surprise.compute(loss, info)
>>> list(by_level), total.item() > 0
(['level1_fast'], True)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..autograd import grad, no_grad
from ..creation import zeros
from ..errors import ArgumentError
from ..functional import clamp, norm
from ..nn.state import MOST_COUNT
from ..tensor import Tensor

MODES = ("detached", "second_order", "teach")
_DEFAULT_WEIGHTS = {"level1_fast": 0.3, "level2_medium": 0.1}
#: Terms below this many units of rounding of the gradient they are added to are left out: sums
#: over a few hundred products, of which that gradient consists, are not more exact.
_ROUNDINGS = 8


class SurpriseLossComputer:
    """Auxiliary losses from g_l = dL/dy_l, the gradient of the main loss at the output of a level.

    y is (B, T, C), n is the number of its elements, clip(g) keeps g within +-gradient_clip_value,
    and stop() is a constant to the gradient. A level of weight w adds

    - ``"detached"``: w mean((y - stop(clip(g)))^2). The original system used it for equation 27
      of Nested Learning. Its gradient at y is 2w/n (y - g). Since g is itself a derivative of a
      mean over the batch, with 1 / (B T) in it, it is far smaller than y: this is in effect a
      penalty on the square of the activations, and nothing is predicted.
    - ``"second_order"``: w mean((y - clip(g))^2), differentiated through g too, with the graph of
      the backward pass (``create_graph``; the model is told by ``compute_surprise="second_order"``,
      which makes it cheaper): the term that equation 27 suggests when it is read as a loss.
    - ``"teach"``: w/2 sum((y - stop(y - eta clip(g)))^2): the output is to move to where one step
      down the loss would put it. Equation 27 in the paper is no auxiliary loss but the inner
      problem whose one step of descent is the update of the level, with u = -g for a target (the
      sign is corrected in the arXiv version, equations 56 and 57); with y - eta g for the target
      the regression has its solution there and not at zero, so it does not shrink y. At y its
      gradient is w eta clip(g). As long as nothing is clipped that is w eta times the
      ordinary gradient, so for the level and what lies below it the term acts as a greater
      learning rate: one step of back-propagation already *is* this regression. The sum, and not
      the mean, since g has the 1/(B T) of the mean loss in it.

    In every mode the gradient flows from y to the level and to the layers below it.

    What the modes cost: "detached" needs nothing but the penalty where the target is lost in
    rounding anyway, that is where 2w/n is at most 8 eps of the dtype (in float32 and w = 0.05, from
    n = 105,000 on): leaving 2w/n g out then changes the gradient, of which g is a part, by less
    than the sums it was made with; the loss it reports is then w mean(y^2). Elsewhere,
    and with ``exact=True``, and in "teach", a backward pass of its own from the loss down to the
    lowest y finds g. "second_order" records that pass.

    Args:
        loss_weights: w >= 0 by level; a level with weight 0, or that is not named, has no term.
            None is {"level1_fast": 0.3, "level2_medium": 0.1}.
        gradient_clip_value: bound for |g|; None for no bound.
        compute_surprise_every_n_steps: the terms are there at every n-th call of :meth:`compute`.
        mode: as above.
        eta: the step of "teach".
        exact: in "detached", ask for g also where it is lost in rounding.

    Raises:
        ValueError: an option outside its range.
    """

    def __init__(
        self,
        loss_weights: Mapping[str, float] | None = None,
        gradient_clip_value: float | None = 10.0,
        compute_surprise_every_n_steps: int = 1,
        mode: str = "detached",
        *,
        eta: float = 1.0,
        exact: bool = False,
    ) -> None:
        who = "SurpriseLossComputer"
        self.loss_weights = dict(_DEFAULT_WEIGHTS if loss_weights is None else loss_weights)
        for level, weight in self.loss_weights.items():
            if not (np.isfinite(weight) and weight >= 0):
                raise ArgumentError(f"{who}: expected a weight >= 0 of {level}, got {weight!r}")
        if gradient_clip_value is not None and not gradient_clip_value > 0:
            raise ArgumentError(
                f"{who}: expected gradient_clip_value > 0 or None, got {gradient_clip_value!r}"
            )
        every = compute_surprise_every_n_steps
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ArgumentError(
                f"{who}: expected compute_surprise_every_n_steps to be an int >= 1, got {every!r}"
            )
        if mode not in MODES:
            raise ArgumentError(
                f"{who}: expected mode to be one of {', '.join(MODES)}, got {mode!r}"
            )
        if not (np.isfinite(eta) and eta > 0):
            raise ArgumentError(f"{who}: expected eta > 0, got {eta!r}")
        self.gradient_clip_value = gradient_clip_value
        self.compute_surprise_every_n_steps = every
        self.mode = mode
        self.eta = eta
        self.exact = exact
        self.step_counter = 0

    def should_compute_surprise(self) -> bool:
        """Count one more step; returns whether the terms are due at it."""
        due = self.is_due()
        self.step_counter += 1
        return due

    def is_due(self) -> bool:
        """Whether the next step has the terms; otherwise the model need keep nothing for them."""
        return (self.step_counter + 1) % self.compute_surprise_every_n_steps == 0

    def compute(
        self,
        main_loss: Tensor,
        surprise_info: Mapping[str, Mapping[str, Tensor]] | None,
        force_compute: bool = False,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of the terms, to be added to the main loss before backward; and each by level.

        Args:
            main_loss: a scalar that depends on the activations; its graph is kept.
            surprise_info: from the model with ``compute_surprise=True``.
            force_compute: whether or not the terms are due; the step is then not counted.

        Returns:
            (0, {}) where the terms are not due or no level has a weight.

        Raises:
            ValueError: the terms are due and there is no surprise_info, or not of a level that has
                a weight.
            RuntimeError: main_loss does not depend on an activation. Where "detached" leaves g out
                nothing looks for that; with ``exact=True`` it always raises.
        """
        nothing = zeros((), dtype=main_loss.dtype), dict[str, Tensor]()
        if not force_compute and not self.should_compute_surprise():
            return nothing
        weights = {level: w for level, w in self.loss_weights.items() if w > 0}
        if not weights:
            return nothing
        if surprise_info is None:
            raise ArgumentError(
                "compute: there is no surprise_info: call the model with compute_surprise=True"
            )
        activations = surprise_info["activations"]
        unknown = [level for level in weights if level not in activations]
        if unknown:
            raise ArgumentError(
                f"compute: there is a weight for {', '.join(unknown)}, and activations of "
                f"{', '.join(activations)}"
            )
        losses = self._losses(main_loss, {level: activations[level] for level in weights})
        total, *rest = losses.values()
        for loss in rest:
            total = total + loss
        return total, losses

    def _losses(self, main_loss: Tensor, activations: dict[str, Tensor]) -> dict[str, Tensor]:
        weights = self.loss_weights
        if self.mode == "detached" and not self.exact:
            lost = {level: self._is_lost(weights[level], y) for level, y in activations.items()}
            if all(lost.values()):
                return {k: _mean_square(y) * weights[k] for k, y in activations.items()}
        second_order = self.mode == "second_order"
        found = grad(
            main_loss, list(activations.values()), retain_graph=True, create_graph=second_order
        )
        losses = {}
        for (level, y), gradient in zip(activations.items(), found, strict=True):
            assert gradient is not None  # grad() has raised
            g = self._clip(gradient)
            if self.mode == "teach":
                error = y - (y.detach() - g * self.eta)
                losses[level] = (error * error).sum() * (0.5 * weights[level])
            else:
                losses[level] = _mean_square(y - g) * weights[level]
        return losses

    def _clip(self, g: Tensor) -> Tensor:
        bound = self.gradient_clip_value
        if bound is None or g.numel() == 0:
            return g
        with no_grad():  # nearly always nothing is cut, and looking is cheaper than clamping
            within = g.amax().item() <= bound and g.amin().item() >= -bound
        return g if within else clamp(g, -bound, bound)

    @staticmethod
    def _is_lost(weight: float, y: Tensor) -> bool:
        eps = float(np.finfo(y.dtype.numpy).eps)
        return 2.0 * weight <= _ROUNDINGS * eps * y.numel()

    def reset_counter(self) -> None:
        """Count from the beginning."""
        self.step_counter = 0

    def state_dict(self) -> dict[str, int]:
        """The counter."""
        return {"step_counter": self.step_counter}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave.

        Raises:
            ValueError: there is no count in it.
        """
        count = state_dict.get("step_counter")
        if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= MOST_COUNT:
            raise ArgumentError(
                "SurpriseLossComputer.load_state_dict: expected step_counter to be a count, "
                f"got {count!r}"
            )
        self.step_counter = count


def _mean_square(y: Tensor) -> Tensor:
    """mean(y^2), by the norm: one pass over y forward and one backward."""
    size = norm(y)
    return size * (size * (1.0 / max(1, y.numel())))
