"""The nested family for training: its defaults, the settings that fit together, and its report.

>>> from tinytape.training import TrainConfig, resolve
>>> resolve(TrainConfig(model="nested-surprise")).surprise
'detached'
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ...errors import ConfigError
from ...nested import preset
from ..spec import ADAM_LIKE, ModelSpec, TrainSettings
from .model import PRESETS, NestedConfig, NestedLM
from .settings import NestedSettings
from .studies import STUDIES
from .task import NestedTask
from .updates import LevelUpdates

_ORIGINAL = preset("original")
_ORIGINAL_PACE = {
    "chunk_sizes": ",".join(map(str, _ORIGINAL["chunk_sizes"].values())),
    "level_update": _ORIGINAL["optimizers"]["reduction"],
    "level_rates": _ORIGINAL["optimizers"]["lr_scale"],
}
_PACE = {"chunk_sizes": "1,4,16", "level_update": "mean", "level_rates": "unscaled"}


class NestedSpec(ModelSpec):
    """The spec of the nested models, with the methods that differ from other models' specs."""

    def defaults(self, train: Any) -> dict[str, Any]:
        """The original's own; the others stand a higher rate than transformers do."""
        original = train.model == "nested-original"
        chosen = super().defaults(train)
        chosen["surprise"] = "detached" if train.model == "nested-surprise" else "off"
        chosen |= _ORIGINAL_PACE if original else _PACE
        if original:
            chosen["weight_decay"] = 0.0
        if train.optimizer in (*ADAM_LIKE, "muon"):
            # Of halves and doubles, these had the lowest held-out loss in runs of 300 to 2,000
            # steps.
            rate = 1.2e-2 if train.optimizer == "muon" else 6e-3
            chosen["lr"] = float(_ORIGINAL["optimizers"]["lr"]) if original else rate
        return chosen

    def check(self, train: Any, changed: Collection[str]) -> None:
        """Check that settings fit together with this model, and with each other.

        Raises:
            ConfigError: they do not.
        """
        if train.model == "nested" and train.reset.isdigit():
            raise ConfigError(
                f"reset: the states of model 'nested' last for one batch, got {train.reset} steps; "
                f"those of 'nested-state' go on"
            )
        if train.model == "nested" and train.level_memory != "off":
            raise ConfigError(
                f"level_memory: model 'nested' forgets after each batch, got {train.level_memory}; "
                f"'nested-state' remembers"
            )
        if "separator" in changed and train.reset != "document":
            raise ConfigError(
                f"separator: documents end nothing with --reset {train.reset}, got "
                f"{train.separator!r}; say --reset document"
            )
        surprise = train.surprise or self.defaults(train)["surprise"]
        for name in ("surprise_weights", "surprise_every"):
            if name in changed and surprise == "off":
                raise ConfigError(
                    f"{name}: there is no surprise loss, got {getattr(train, name)}; say "
                    f"--surprise detached"
                )

    def config_options(self, train: Any) -> dict[str, Any]:
        options = super().config_options(train)
        if train.level_memory != "off":
            medium, slow = map(float, train.level_memory.split(","))
            options |= {"medium_memory": medium, "slow_memory": slow}
        return options

    def why_fixed(self, train: TrainSettings, name: str, value: Any) -> str | None:
        if name == "context" or (name == "model" and value in self.presets):
            return None
        if name == "level_memory" and "off" in (getattr(train, name), value):
            return "memories have weights of their own"
        if name == "wiring":
            return "each wiring has weights of its own"
        return super().why_fixed(train, name, value)

    def report(self, train: Any, model: Any) -> list[tuple[str, str]]:
        """Lines about the wiring and updates of the levels, their memories, and surprise."""
        chunks = f"{train.chunk_sizes.replace(',', ', ')} {train.chunk_unit}"
        rates = ", rates divided by these" if train.level_rates == "divided" else ""
        last = {"never": "last", "document": "last for a document"}
        states = last.get(train.reset, f"last {train.reset} steps")
        if not model.config.persistent:
            states = "last for a batch"
        surprise = train.surprise
        if surprise != "off":
            surprise += f" {train.surprise_weights.replace(',', ', ')}"
        memory = "" if train.level_memory == "off" else f"; memories {train.level_memory}"
        return [
            (
                "levels",
                f"{train.wiring}, {train.level_update} of {chunks}{rates}",
            ),
            ("", f"states {states}{memory.replace(',', ', ')}"),
            ("", f"surprise {surprise}"),
        ]


SPEC = NestedSpec(
    "nested",
    NestedConfig,
    NestedLM,
    PRESETS,
    settings=NestedSettings,
    task=NestedTask,
    updates=LevelUpdates,
    shown_defaults={
        "lr": "; of nested models 6e-3 and 1.2e-2, of nested-original 3e-4",
        "weight_decay": ", and for nested-original",
    },
    studies=STUDIES,
)
