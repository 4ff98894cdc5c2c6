"""What a step does with its gradients: one optimiser for all, or one for each level at its pace."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import tinytape as tt

from .._foreach import grad_norm
from ..models import NestedLM
from ..nested import LEVELS, ChunkedUpdateScheduler, LevelOptimizers
from ..optim import LayerInputs, Optimizer
from .config import TrainConfig
from .errors import CheckpointError, MissingGradientError
from .schedule import learning_rate

Named = list[tuple[str, tt.nn.Parameter]]
# Rules that need what the layers were given, beside the gradients.
_WITH_INPUTS = ("delta_rule", "delta_adam", "dgd")


class Updates:
    """One optimiser, stepped at every step, and its schedule.

    Args:
        model: whose parameters learn.
        config: of the run.
    """

    waits = False  # whether gradients may wait for a later step

    def __init__(self, model: tt.nn.Module, config: TrainConfig) -> None:
        self.model = model
        self.config = config
        self.inputs = LayerInputs(model) if config.optimizer in _WITH_INPUTS else None
        self.optimizer = build_optimizer(
            list(model.named_parameters()), config, model=model, inputs=self.inputs
        )
        rate = functools.partial(learning_rate, config=config)
        self.scheduler = tt.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: rate(step) / config.lr
        )

    def clip(self) -> float:
        """Clip what has accumulated, as the settings say; the norm from before."""
        bound = self.config.clip or math.inf
        return float(tt.nn.utils.clip_grad_norm_(self.model.parameters(), bound).item())

    def apply(self, step: int) -> None:
        """Update the weights with the gradients of step ``step``, counted from 0."""
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad()

    def leave_out(self, step: int) -> None:
        """Go on to the next step without the gradients of this one."""
        self.forget()
        self.scheduler.step()

    def forget(self) -> None:
        """Drop the gradients, and what was noted of the inputs that led to them."""
        self.optimizer.zero_grad()
        if self.inputs is not None:
            self.inputs.reset()

    def rate(self) -> float:
        """The learning rate that was set last."""
        return self.scheduler.get_last_lr()[0]

    def figures(self) -> dict[str, Any]:
        """What the metrics say about the updates."""
        return {}

    def state(self) -> dict[str, Any]:
        """What has to survive a stop but the gradients; tensors are not copied."""
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


class LevelUpdates(Updates):
    """One optimiser a level of a nested model; a level is updated when its chunk is full."""

    waits = True

    def __init__(self, model: NestedLM, config: TrainConfig) -> None:
        self.model = model
        self.config = config
        self.inputs = LayerInputs(model) if config.optimizer in _WITH_INPUTS else None
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
        """The norm of all that has accumulated; each level is clipped when it is updated."""
        norm = tt.nn.utils.clip_grad_norm_(self.model.parameters(), math.inf)
        return float(norm.item())

    def apply(self, step: int) -> None:
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
            parts: dict[str, list[tt.Tensor]] = {}
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
        """Also what the levels had accumulated before goes: it is in the same sums."""
        self.forget()
        self._set_rate(step + 1)

    def forget(self) -> None:
        self.levels.zero_grad()
        if self.inputs is not None:
            self.inputs.reset()

    def rate(self) -> float:
        return self._rate

    def figures(self) -> dict[str, Any]:
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
            _keep_settings(optimizer, settings[level])
        self._set_rate(step)


def updates_of(model: tt.nn.Module, config: TrainConfig) -> Updates:
    """Those that a model of this kind is trained with."""
    return (LevelUpdates if isinstance(model, NestedLM) else Updates)(model, config)  # type: ignore[arg-type]


def build_optimizer(
    named: Named,
    config: TrainConfig,
    *,
    model: tt.nn.Module,
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
        "adamw": lambda: tt.optim.AdamW(groups, lr=rate, betas=betas),
        "adam": lambda: tt.optim.Adam(groups, lr=rate, betas=betas),
        "sgd": lambda: tt.optim.SGD(groups, lr=rate, momentum=config.beta1),
        "muon": lambda: tt.optim.MuonWithAuxAdam(_for_muon(groups, config, model, rate)),
        "delta_momentum": lambda: tt.optim.DeltaMomentum(named, lr=rate, momentum=config.beta1),
    }
    if inputs is not None:
        makers |= {
            "delta_rule": lambda: tt.optim.DeltaRule(groups, lr=rate, inputs=inputs),
            "delta_adam": lambda: tt.optim.DeltaAdam(groups, lr=rate, betas=betas, inputs=inputs),
            "dgd": lambda: tt.optim.DGD(named, lr=rate, inputs=inputs),
        }
    return makers[config.optimizer]()


def _for_muon(
    groups: list[dict[str, Any]], config: TrainConfig, model: tt.nn.Module, lr: float
) -> list[dict[str, Any]]:
    """The groups cut further: hidden matrices, by how many a parameter is, and what AdamW gets."""
    hidden = tt.optim.hidden_matrices(model, model.head)
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


def _load(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    settings = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict(state)  # checks before it assigns
    _keep_settings(optimizer, settings)


def _keep_settings(optimizer: Optimizer, settings: list[dict[str, Any]]) -> None:
    for group, own in zip(optimizer.param_groups, settings, strict=True):
        group.update({name: own[name] for name in own if name != "params"})
