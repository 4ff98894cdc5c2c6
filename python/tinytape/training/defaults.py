"""The settings that follow from others, and those that do not go together.

>>> from tinytape.training import TrainConfig, resolve
>>> config = resolve(TrainConfig(model="tiny", lr=0.01))
>>> config.min_lr, config.out
(0.001, 'runs/tiny-shakespeare')
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from .. import models
from ..data import corpus_name
from ..models.spec import common_defaults
from .config import SETTINGS, TrainConfig
from .errors import ConfigError


def resolve(config: TrainConfig) -> TrainConfig:
    """Fill in the settings that follow from others, except ``threads``.

    Raises:
        ConfigError: settings that do not fit together.
    """
    refuse_what_would_do_nothing(config)
    out = os.path.join("runs", f"{config.model}-{corpus_name(config.data)}")
    chosen = {**defaults_of(config), "out": out}
    missing = {name: value for name, value in chosen.items() if getattr(config, name) is None}
    return dataclasses.replace(config, **missing)


def defaults_of(config: TrainConfig) -> dict[str, Any]:
    """The values of the settings that follow from others where none is given, except ``out``."""
    spec = models.spec_of_preset(config.model)
    chosen = common_defaults(config) if spec is None else spec.defaults(config)
    lr = config.lr if config.lr is not None else chosen["lr"]
    return {"min_lr": lr / 10, "warmup": min(100, config.iters // 10), **chosen}


def unresolved(config: TrainConfig) -> list[str]:
    """The settings that ``resolve`` has still to choose."""
    others = _settings_of_others(config)
    return [
        name
        for name, option in SETTINGS.items()
        if getattr(config, name) is None and not option.metadata["optional"] and name not in others
    ]


def refuse_what_would_do_nothing(config: TrainConfig) -> None:
    """Check that no setting is without effect because of another one.

    Raises:
        ConfigError: one is.
    """
    changed = {name for name, option in SETTINGS.items() if getattr(config, name) != option.default}
    if config.weight_decay and config.optimizer in ("dgd", "delta_momentum"):
        raise ConfigError(f"weight_decay: {config.optimizer} has none, got {config.weight_decay:g}")
    if "muon_momentum" in changed and config.optimizer != "muon":
        raise ConfigError(
            f"muon_momentum: a setting of muon, got {config.muon_momentum:g} for {config.optimizer}"
        )
    for name, group in _settings_of_others(config).items():
        if name in changed:
            raise ConfigError(
                f"{name}: a setting of {group}, got {getattr(config, name)!r} for model "
                f"{config.model!r}"
            )
    spec = models.spec_of_preset(config.model)
    if spec is not None:
        spec.require_known(config)
        spec.check(config, changed)


def _settings_of_others(config: TrainConfig) -> dict[str, str]:
    """The settings that belong to other models than that of the run, each with its group."""
    own = models.spec_of_preset(config.model)
    return {
        name: option.metadata["group"]
        for spec in models.specs()
        if spec is not own
        for name, option in spec.own_settings().items()
    }
