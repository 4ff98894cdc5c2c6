"""The settings that follow from others, and those that do not go together."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

from .config import NESTED, SETTINGS, TrainConfig
from .errors import ConfigError


def resolve(config: TrainConfig) -> TrainConfig:
    """Fill in the settings that follow from others, except ``threads``."""
    corpus = re.sub(r"[^\w.-]", "-", Path(config.data).stem) or "text"
    original = config.model == "nested-original"
    if config.weight_decay and config.optimizer in ("dgd", "delta_momentum"):
        raise ConfigError(f"weight_decay: {config.optimizer} has none, got {config.weight_decay:g}")
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
    lr = config.lr if config.lr is not None else _default_rate(config)
    chosen = {
        "lr": lr,
        "min_lr": lr / 10,
        "warmup": min(100, config.iters // 10),
        # Coupled with the gradient, as adam and sgd do it, such a decay would swamp the loss.
        "weight_decay": 0.1 if config.optimizer in ("adamw", "muon") and not original else 0.0,
        "out": os.path.join("runs", f"{config.model}-{corpus}"),
    }
    if is_nested(config.model):
        chosen |= {
            "surprise": "detached" if config.model == "nested-surprise" else "off",
            "chunk_sizes": "1,16,256" if original else "1,4,16",
            "level_update": "sum" if original else "mean",
            "level_rates": "divided" if original else "unscaled",
        }
    else:
        for name, option in SETTINGS.items():
            value = getattr(config, name)
            if option.metadata["group"] == NESTED and value != option.default:
                raise ConfigError(
                    f"{name}: a setting of nested models, got {value!r} for model {config.model!r}"
                )
    given = {name: v for name in chosen if (v := getattr(config, name)) is not None}
    return dataclasses.replace(config, **{**chosen, **given})


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


def _default_rate(config: TrainConfig) -> float:
    """3e-4 is the original's; nested models stand a higher rate than transformers do."""
    if config.optimizer not in ("adamw", "adam", "muon", "delta_adam"):
        return 0.1
    if config.model == "nested-original":
        return 3e-4
    # Of halves and doubles, these had the lowest held-out loss in runs of 300 to 2,000 steps.
    transformer, nested = (8e-3, 1.2e-2) if config.optimizer == "muon" else (2e-3, 6e-3)
    return nested if is_nested(config.model) else transformer
