"""How a step updates a nested model: one optimiser for each level.

>>> from tinytape.models.nested.updates import LevelUpdates
>>> from tinytape.models.spec import Updates
>>> issubclass(LevelUpdates, Updates)
True
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from ..._foreach import grad_norm
from ...errors import MissingGradientError
from ...nested import LEVELS, ChunkedUpdateScheduler, LevelOptimizers
from ...nn import utils
from ...optim import LayerInputs
from ...tensor import Tensor
from ..spec import WITH_INPUTS, Updates, build_optimizer, keep_settings, learning_rate
from ..spec.state_types import COUNT, LEAF, OPTIMIZER, WHOLE, NamesTo
from .model import NestedLM
from .settings import NestedTrainSettings


class LevelUpdates(Updates):
    """One optimiser a level of a nested model; a level is updated when its chunk is full."""

    waits = True
    state_types: ClassVar = {
        "levels": {
            "levels": NamesTo(OPTIMIZER),
            "pending": NamesTo(COUNT),
            "scheduler": {"last_update_step": NamesTo(WHOLE), "update_counts": NamesTo(COUNT)},
            "starts": NamesTo(LEAF),
        }
    }

    def __init__(self, model: NestedLM, config: NestedTrainSettings) -> None:
        self.model = model
        self.config = config
        self.inputs = LayerInputs(model) if config.optimizer in WITH_INPUTS else None
        sizes = dict(zip(LEVELS, map(int, config.chunk_sizes.split(",")), strict=True))
        tokens = config.batch_size * config.context * config.gradient_accumulation_steps
        in_tokens = config.chunk_unit == "tokens"
        self.levels = LevelOptimizers(
            model,
            ChunkedUpdateScheduler(
                sizes, unit=config.chunk_unit, tokens_per_step=tokens if in_tokens else None
            ),
            lambda named, lr: build_optimizer(
                named, config, model=model, inputs=self.inputs, lr=lr
            ),
            lr=config.lr,
            reduction=config.level_update,
            lr_scale="divided" if config.level_rates == "divided" else None,
            max_norm=config.clip or None,
        )
        self._set_rate(0)

    def _set_rate(self, step: int) -> None:
        self._rate = learning_rate(step, self.config)
        self.levels.set_lr(self._rate)

    def clip(self) -> float:
        """The norm of all accumulated gradients; each level is clipped when it is updated."""
        norm = utils.clip_grad_norm_(self.model.parameters(), math.inf)
        return float(norm.item())

    def apply(self, step: int) -> None:
        """Update the levels that are due at step ``step``, counted from 0.

        Raises:
            MissingGradientError: a parameter received no gradient.
        """
        self._require_learning(step + 1)
        self.levels.step(step + 1)
        self._set_rate(step + 1)

    def _require_learning(self, step: int) -> None:
        """After the first chunk of a level: raise MissingGradientError if a part of it, embedding
        and head among them, would learn nothing.

        Single parameters may begin without a gradient, such as those before a weight that is zero.
        """
        schedule = self.levels.scheduler
        for level, named in self.levels.params.items():
            if schedule.get_update_count(level) or not schedule.should_update(level, step):
                continue
            parts: dict[str, list[Tensor]] = {}
            for name, p in named:
                part = next(x for x in name.split(".") if x != "nested")
                parts.setdefault(part, []).extend([] if p.grad is None else [p.grad])
            for part, grads in parts.items():
                if not grads or grad_norm(grads) == 0.0:
                    raise MissingGradientError(
                        f"{part} would learn nothing: after the first chunk of {level}, step "
                        f"{step:,}, all its gradients are zero"
                    )

    def leave_out(self, step: int) -> None:
        """Continue with the next step, without the gradients of this one.

        The gradients that the levels accumulated before are lost too: they are in the same sums.
        """
        self.forget()
        self._set_rate(step + 1)

    def forget(self) -> None:
        self.levels.zero_grad()
        if self.inputs is not None:
            self.inputs.reset()

    def rate(self) -> float:
        return self._rate

    def metrics(self) -> dict[str, Any]:
        return {"level_updates": dict(self.levels.scheduler.update_counts)}

    def state(self) -> dict[str, Any]:
        state = self.levels.state_dict()
        del state["gradients"]  # kept with all others
        return {"levels": state}

    def load(self, state: Mapping[str, Any], step: int) -> None:
        levels = state["levels"]
        settings = {k: o.state_dict()["param_groups"] for k, o in self.levels.optimizers.items()}
        self.levels.load_state_dict({**levels, "gradients": {}})
        for level, optimizer in self.levels.optimizers.items():
            keep_settings(optimizer, settings[level])
        self._set_rate(step)
