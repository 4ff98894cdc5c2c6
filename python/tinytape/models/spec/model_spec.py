"""The spec of a model: its config and module, and how it is trained.

Training never asks which model it has. It asks the model's :class:`ModelSpec`, in which all
but name, config, module and presets have a default.

>>> from tinytape import models
>>> from tinytape.models.spec import TrainSettings
>>> models.spec_of_preset("tiny").defaults(TrainSettings(optimizer="muon"))
{'lr': 0.008, 'weight_decay': 0.1}
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ...errors import ConfigError
from ...settings import Option
from .study import Study
from .tasks import WindowTask
from .train_settings import TrainSettings
from .updates import Updates

ADAM_LIKE = ("adamw", "adam", "delta_adam")


@dataclass(frozen=True, eq=False)
class ModelSpec:
    """One kind of model, for ``models.register``. A subclass may override the methods.

    Args:
        name: of the architecture; a run's ``config.json`` names it.
        config: a frozen dataclass of plain values, with ``vocab_size`` and ``context`` among them.
            It may have ``count_parameters()`` and ``activations_per_token``; otherwise these are
            counted on shapes and measured.
        module: makes the model: ``module(config, generator=None, dtype=None)``. See
            :class:`LanguageModel` for its methods.
        presets: by name, all of a config but ``vocab_size``.
        settings: a frozen dataclass whose fields are made by ``tinytape.settings.setting``: the
            model's own settings, which become flags and TOML keys. One that has the name of a field
            of the config fills it in.
        task: how the model is fed and judged: windows at random places by default.
        updates: what a step does with gradients: one optimiser by default.
        shown_defaults: by setting, what its help says about this model's default.
        studies: by name, those of ``tinytape.study`` that are about this model.
    """

    name: str
    config: type
    module: Any
    presets: Mapping[str, Mapping[str, Any]]
    settings: type | None = None
    task: type[WindowTask] = WindowTask
    updates: type[Updates] = Updates
    shown_defaults: Mapping[str, str] = field(default_factory=dict)
    studies: Mapping[str, Study] = field(default_factory=dict)

    #: Which settings of every run fill in fields of the config that have the same name.
    config_settings: ClassVar[tuple[str, ...]] = ("context", "width", "layers", "heads", "dropout")

    @property
    def comes_with_tinytape(self) -> bool:
        """Whether every tinytape of this version knows the model."""
        package: str = __name__.partition(".")[0]
        return str(getattr(self.module, "__module__", "")).partition(".")[0] == package

    def own_settings(self) -> dict[str, Option[Any]]:
        """The settings that this model alone has, by name."""
        fields = () if self.settings is None else dataclasses.fields(self.settings)
        return {option.name: option for option in fields}

    def sizes(self) -> tuple[str, ...]:
        """The settings that are sizes of the model: those of the preset where they are None."""
        known = {option.name for option in dataclasses.fields(self.config)}
        shared = {option.name: option for option in dataclasses.fields(TrainSettings)}
        options = [*(shared[name] for name in self.config_settings), *self.own_settings().values()]
        return tuple(
            option.name
            for option in options
            if option.name in known and option.default is None and option.metadata["optional"]
        )

    def size(self, train: TrainSettings, name: str) -> Any:
        """The value of one of :meth:`sizes` in a run with these settings."""
        given = getattr(train, name)
        return self.presets[train.model].get(name) if given is None else given

    def defaults(self, train: TrainSettings) -> dict[str, Any]:
        """The defaults of settings that depend on the model or on other settings.

        ``min_lr`` and ``warmup`` follow from the others in every run.
        """
        return common_defaults(train)

    def check(self, train: TrainSettings, changed: Collection[str]) -> None:
        """Check that settings fit together with this model.

        Args:
            train: the settings, which may not be resolved yet.
            changed: the names of those that do not have the default.

        Raises:
            ConfigError: they do not.
        """

    def require_known(self, train: TrainSettings) -> None:
        """Check that the settings of every run which fill in the config are fields of this model's
        config.

        Raises:
            ConfigError: one is given, and the model has no such field.
        """
        known = {option.name for option in dataclasses.fields(self.config)}
        for name in self.config_settings:
            value = getattr(train, name)
            if value and name not in known:
                raise ConfigError(f"{name}: {self.name} models have none, got {value!r}")

    def config_options(self, train: TrainSettings) -> dict[str, Any]:
        """The fields of the model's config that the settings give; the others are the preset's.

        Raises:
            ConfigError: as :meth:`require_known`.
        """
        self.require_known(train)
        known = {option.name for option in dataclasses.fields(self.config)}
        names = (*self.config_settings, *self.own_settings())
        given = {name: getattr(train, name) for name in names}
        return {name: x for name, x in given.items() if name in known and x is not None}

    def why_fixed(self, train: TrainSettings, name: str, value: Any) -> str | None:
        """Why ``value`` of a setting is not possible when a run is resumed; None if it is.

        Args:
            train: the settings of the run.
            name: of a setting that is about the model.
        """
        before = self.size(train, name) if name in self.sizes() else getattr(train, name)
        if name == "model":
            return f"the weights are those of {before}"
        if name == "context":
            return f"the model knows {before} positions"
        if name in self.sizes() or (
            name in self.own_settings() and name in self.config_options(train)
        ):
            return f"the model was made with {before!r}"
        return None

    def report(self, train: TrainSettings, model: Any) -> list[tuple[str, str]]:
        """Lines for the report at the beginning of a run, each a title or "" and a text."""
        return []

    def config_dict(self, config: Any) -> dict[str, Any]:
        """A config as plain values, with the name of the architecture."""
        return {"architecture": self.name, **dataclasses.asdict(config)}


def common_defaults(train: TrainSettings) -> dict[str, Any]:
    """The defaults of models that give none of their own."""
    # Of halves and doubles, these rates had the lowest held-out loss in runs of a transformer of
    # 300 to 2,000 steps.
    rates = {**dict.fromkeys(ADAM_LIKE, 2e-3), "muon": 8e-3}
    return {
        "lr": rates.get(train.optimizer, 0.1),
        # Coupled with the gradient, as adam and sgd do it, such a decay would swamp the loss.
        "weight_decay": 0.1 if train.optimizer in ("adamw", "muon") else 0.0,
    }
