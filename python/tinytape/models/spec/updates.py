"""Updates: what a step does with its gradients, by default one optimiser and its schedule.

>>> import tinytape as tt
>>> from tinytape import models
>>> from tinytape.models.spec import Updates
>>> from tinytape.training import TrainConfig, resolve
>>> model = models.create("tiny", vocab_size=5)
>>> updates = Updates(model, resolve(TrainConfig(model="tiny", warmup=0)))
>>> model(tt.tensor([[1, 2]])).sum().backward()
>>> norm = updates.clip()
>>> updates.apply(step=0)
>>> norm > 0.0, updates.rate() < 2e-3
(True, True)
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from ... import optim
from ...errors import CheckpointError
from ...nn import Linear, Module, Parameter, utils
from ...optim import LayerInputs, Optimizer
from ...optim.lr_scheduler import LambdaLR
from .schedule import learning_rate
from .state_types import OPTIMIZER, SCHEDULER
from .train_settings import TrainSettings

Named = list[tuple[str, Parameter]]
# Rules that need the layers' inputs beside the gradients.
WITH_INPUTS = ("delta_rule", "delta_adam", "dgd")


class Updates:
    """One optimiser, stepped at every step, and its schedule.

    Args:
        model: whose parameters learn.
        config: of the run.
    """

    waits = False  # whether gradients may wait for a later step
    #: The types of the tree that :meth:`state` returns, as ``state_types.py`` describes them.
    state_types: ClassVar[Mapping[str, Any]] = {"optimizer": OPTIMIZER, "scheduler": SCHEDULER}

    def __init__(self, model: Module, config: TrainSettings) -> None:
        self.model = model
        self.config = config
        self.inputs = LayerInputs(model) if config.optimizer in WITH_INPUTS else None
        self.optimizer = build_optimizer(
            list(model.named_parameters()), config, model=model, inputs=self.inputs
        )
        rate = functools.partial(learning_rate, config=config)
        self.scheduler = LambdaLR(self.optimizer, lambda step: rate(step) / config.lr)

    def clip(self) -> float:
        """Clip the accumulated gradients, as the settings say; returns their norm before that."""
        bound = self.config.clip or math.inf
        return float(utils.clip_grad_norm_(self.model.parameters(), bound).item())

    def apply(self, step: int) -> None:
        """Update the weights with the gradients of step ``step``, counted from 0."""
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad()

    def leave_out(self, step: int) -> None:
        """Continue with the next step, without the gradients of this one."""
        self.forget()
        self.scheduler.step()

    def forget(self) -> None:
        """Drop the gradients, and the layer inputs that were noted with them."""
        self.optimizer.zero_grad()
        if self.inputs is not None:
            self.inputs.reset()

    def rate(self) -> float:
        """The learning rate that was set last."""
        return self.scheduler.get_last_lr()[0]

    def metrics(self) -> dict[str, Any]:
        """The entries about the updates in the line of metrics."""
        return {}

    def state(self) -> dict[str, Any]:
        """The state that has to survive a stop, without the gradients; tensors are not copied."""
        return {"optimizer": self.optimizer.state_dict(), "scheduler": self.scheduler.state_dict()}

    def load(self, state: Mapping[str, Any], step: int) -> None:
        """Take over a state; rates and other settings stay those of this run.

        Raises:
            ValueError: it does not fit. Nothing has changed then.
        """
        if state["scheduler"].get("last_epoch") != step:
            raise CheckpointError(f"the schedule is not at step {step}")
        _load(self.optimizer, state["optimizer"])
        self.scheduler.last_epoch = step - 1
        self.scheduler.step()  # a closed form of the count


def build_optimizer(
    named: Named,
    config: TrainSettings,
    *,
    model: Module,
    inputs: LayerInputs | None = None,
    lr: float | None = None,
) -> Optimizer:
    """The optimiser of some parameters, with weight decay on matrices and none on the others.

    Args:
        named: the parameters.
        config: of the run.
        model: that they are of.
        inputs: of the model's layers, for the rules that need them.
        lr: instead of the config's.
    """
    rate = config.lr if lr is None else lr
    betas = config.beta1, config.beta2
    groups: list[dict[str, Any]] = [
        {"params": [(n, p) for n, p in named if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [(n, p) for n, p in named if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    makers: dict[str, Callable[[], Optimizer]] = {
        "adamw": lambda: optim.AdamW(groups, lr=rate, betas=betas),
        "adam": lambda: optim.Adam(groups, lr=rate, betas=betas),
        "sgd": lambda: optim.SGD(groups, lr=rate, momentum=config.beta1),
        "muon": lambda: optim.MuonWithAuxAdam(_for_muon(groups, config, model, rate)),
        "delta_momentum": lambda: optim.DeltaMomentum(named, lr=rate, momentum=config.beta1),
    }
    if inputs is not None:
        makers |= {
            "delta_rule": lambda: optim.DeltaRule(groups, lr=rate, inputs=inputs),
            "delta_adam": lambda: optim.DeltaAdam(groups, lr=rate, betas=betas, inputs=inputs),
            "dgd": lambda: optim.DGD(named, lr=rate, inputs=inputs),
        }
    return makers[config.optimizer]()


def _for_muon(
    groups: list[dict[str, Any]], config: TrainSettings, model: Module, lr: float
) -> list[dict[str, Any]]:
    """The groups cut further: hidden matrices, by how many a parameter is, and what AdamW gets."""
    hidden = optim.hidden_matrices(model, *_heads(model))
    muon = {"use_muon": True, "momentum": config.muon_momentum, "adjust_lr_fn": "match_rms_adamw"}
    adamw = {"use_muon": False, "betas": (config.beta1, config.beta2)}
    made: list[dict[str, Any]] = []
    for group in groups:
        by_blocks: dict[int, Named] = {}
        for name, parameter in group["params"]:
            by_blocks.setdefault(hidden.get(parameter, 0), []).append((name, parameter))
        for blocks, params in sorted(by_blocks.items()):
            rule = {**muon, "row_blocks": blocks} if blocks else adamw
            made.append({**group, **rule, "lr": lr, "params": params})
    return made


def _heads(model: Module) -> list[Module]:
    """The layer that makes the logits: ``model.head``, else the last as wide as the vocabulary."""
    if isinstance(head := getattr(model, "head", None), Module):
        return [head]
    V = model.config.vocab_size
    wide: list[Module] = [
        m for m in model.modules() if isinstance(m, Linear) and m.out_features == V
    ]
    return wide[-1:]


def _load(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    settings = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict(state)  # checks before it assigns
    keep_settings(optimizer, settings)


def keep_settings(optimizer: Optimizer, settings: list[dict[str, Any]]) -> None:
    """Give each group of an optimiser its own settings back, after a state was loaded."""
    for group, own in zip(optimizer.param_groups, settings, strict=True):
        group.update({name: own[name] for name in own if name != "params"})
