"""The settings that follow from others, and those that do not go together."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from ..data import corpus_name
from ..nested import preset
from .config import NESTED, SETTINGS, TrainConfig
from .errors import ConfigError

_ORIGINAL = preset("original")
_ORIGINAL_PACE = {
    "chunk_sizes": ",".join(map(str, _ORIGINAL["chunk_sizes"].values())),
    "level_update": _ORIGINAL["optimizers"]["reduction"],
    "level_rates": _ORIGINAL["optimizers"]["lr_scale"],
}
_PACE = {"chunk_sizes": "1,4,16", "level_update": "mean", "level_rates": "unscaled"}


def resolve(config: TrainConfig) -> TrainConfig:
    """Fill in the settings that follow from others, except ``threads``."""
    refuse_what_would_do_nothing(config)
    out = os.path.join("runs", f"{config.model}-{corpus_name(config.data)}")
    chosen = {**defaults_of(config), "out": out}
    missing = {name: value for name, value in chosen.items() if getattr(config, name) is None}
    return dataclasses.replace(config, **missing)


def defaults_of(config: TrainConfig) -> dict[str, Any]:
    """What the settings that follow from others are where nobody gives them, except ``out``."""
    original = config.model == "nested-original"
    lr = config.lr if config.lr is not None else _default_rate(config)
    chosen: dict[str, Any] = {
        "lr": _default_rate(config),
        "min_lr": lr / 10,
        "warmup": min(100, config.iters // 10),
        # Coupled with the gradient, as adam and sgd do it, such a decay would swamp the loss.
        "weight_decay": 0.1 if config.optimizer in ("adamw", "muon") and not original else 0.0,
    }
    if is_nested(config.model):
        surprise = "detached" if config.model == "nested-surprise" else "off"
        chosen |= {"surprise": surprise, **(_ORIGINAL_PACE if original else _PACE)}
    return chosen


def unresolved(config: TrainConfig) -> list[str]:
    """The settings that ``resolve`` has still to choose."""
    nested = is_nested(config.model)
    return [
        name
        for name, option in SETTINGS.items()
        if getattr(config, name) is None
        and name not in ("threads", "context")  # the engine's, the preset's
        and (nested or option.metadata["group"] != NESTED)
    ]


def is_nested(model: str) -> bool:
    """Whether a preset is that of a nested model."""
    return model.partition("-")[0] == "nested"


def refuse_what_would_do_nothing(config: TrainConfig) -> None:
    """ConfigError for a setting that another one leaves without an effect."""
    changed = {name for name, option in SETTINGS.items() if getattr(config, name) != option.default}
    if config.weight_decay and config.optimizer in ("dgd", "delta_momentum"):
        raise ConfigError(f"weight_decay: {config.optimizer} has none, got {config.weight_decay:g}")
    if "muon_momentum" in changed and config.optimizer != "muon":
        raise ConfigError(
            f"muon_momentum: a setting of muon, got {config.muon_momentum:g} for {config.optimizer}"
        )
    if not is_nested(config.model):
        for name in SETTINGS:
            if SETTINGS[name].metadata["group"] == NESTED and name in changed:
                raise ConfigError(
                    f"{name}: a setting of nested models, got {getattr(config, name)!r} for model "
                    f"{config.model!r}"
                )
        return
    if config.model == "nested" and config.reset.isdigit():
        raise ConfigError(
            f"reset: the states of model 'nested' last for one batch, got {config.reset} steps; "
            f"those of 'nested-state' go on"
        )
    if config.model == "nested" and config.level_memory != "off":
        raise ConfigError(
            f"level_memory: model 'nested' forgets after each batch, got {config.level_memory}; "
            f"'nested-state' remembers"
        )
    if "separator" in changed and config.reset != "document":
        raise ConfigError(
            f"separator: documents end nothing with --reset {config.reset}, got "
            f"{config.separator!r}; say --reset document"
        )
    surprise = config.surprise or defaults_of(config)["surprise"]
    for name in ("surprise_weights", "surprise_every"):
        if name in changed and surprise == "off":
            raise ConfigError(
                f"{name}: there is no surprise loss, got {getattr(config, name)}; say --surprise "
                f"detached"
            )


def _default_rate(config: TrainConfig) -> float:
    """3e-4 is the original's; nested models stand a higher rate than transformers do."""
    if config.optimizer not in ("adamw", "adam", "muon", "delta_adam"):
        return 0.1
    if config.model == "nested-original":
        return float(_ORIGINAL["optimizers"]["lr"])
    # Of halves and doubles, these had the lowest held-out loss in runs of 300 to 2,000 steps.
    transformer, nested = (8e-3, 1.2e-2) if config.optimizer == "muon" else (2e-3, 6e-3)
    return nested if is_nested(config.model) else transformer
