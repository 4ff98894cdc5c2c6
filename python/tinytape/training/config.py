r"""The settings of a run: one declaration gives the flag, the TOML key, the check and the help.

Precedence: the defaults, then the TOML file of ``--config``, then the flags. The resolved settings
are written to the run folder, so that a run can be repeated from its folder.

>>> from pathlib import Path
>>> from tinytape.training.config import TrainConfig, flag, read_toml
>>> path = Path("run.toml")
>>> size = path.write_text('model = "tiny"\nbatch-size = 4\n')
>>> TrainConfig(**read_toml(path)).batch_size, flag("batch_size")
(4, '--batch-size')
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import importlib
import os
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from .. import models
from .._files import read_file
from ..models.spec import RUN, SYNONYMS, ModelSpec, TrainSettings
from ..settings import Option, checked, in_short
from .errors import ConfigError
from .spellings import meant

_TOML_LIMIT = 1 << 20  # bytes; one with every setting has less than two thousand


class TrainConfig(TrainSettings):
    """All settings of one training run: those of every run, and those of the models.

    Each model that is registered adds its own settings, which are to have their defaults in a run
    of another model. The object made is of a subclass with all of these fields.

    Raises:
        ConfigError: a value that is not allowed.
    """

    def __new__(cls, **settings: Any) -> TrainConfig:
        return super().__new__(_with_settings_of(models.specs()) if cls is TrainConfig else cls)

    def __reduce__(self) -> Any:  # the subclass has no name to be found by
        return functools.partial(TrainConfig, **vars(self)), ()


@functools.cache
def _with_settings_of(specs: tuple[ModelSpec, ...]) -> type[TrainConfig]:
    own = [spec.settings for spec in specs if spec.settings is not None]
    made = type("TrainConfig", (*reversed(own), TrainConfig), {"__doc__": TrainConfig.__doc__})
    dataclasses.dataclass(frozen=True)(made)
    made.__init__ = _with_synonyms(made.__init__)  # type: ignore[misc]  # it is of this class alone
    return made


def _with_synonyms(init: Any) -> Any:
    @functools.wraps(init)
    def __init__(self: Any, **settings: Any) -> None:
        init(self, **_in_our_names(settings, "TrainConfig"))

    return __init__


def _in_our_names(settings: Mapping[str, Any], source: str) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for key, value in settings.items():
        name = key.replace("-", "_")
        name = SYNONYMS.get(name, name)
        if name in named:
            raise ConfigError(f"{source}: {name} is given twice")
        named[name] = value
    return named


class _Settings(Mapping[str, Option[Any]]):
    """Every setting there is by name, in the order of the help; models may be added later."""

    def __getitem__(self, name: str) -> Option[Any]:
        return _options(models.specs())[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_options(models.specs()))

    def __len__(self) -> int:
        return len(_options(models.specs()))


SETTINGS = _Settings()


@functools.cache
def _options(specs: tuple[ModelSpec, ...]) -> dict[str, Option[Any]]:
    shared = [_shown(option, specs) for option in dataclasses.fields(TrainSettings)]
    last = [option for option in shared if option.metadata["group"] == RUN]
    first = [option for option in shared if option not in last]
    own = [option for spec in specs for option in spec.own_settings().values()]
    return {option.name: option for option in (*first, *own, *last)}


def _shown(option: Option[Any], specs: tuple[ModelSpec, ...]) -> Option[Any]:
    """The option, with the models' own defaults in the text of the default."""
    texts = "".join(spec.shown_defaults.get(option.name, "") for spec in specs)
    shown = option.metadata["shown"].replace("{models}", texts)
    made = copy.copy(option)
    made.metadata = MappingProxyType({**option.metadata, "shown": shown})
    return made


def recorded(config: TrainConfig) -> dict[str, Any]:
    """The settings as a run's ``config.json`` has them.

    Sizes of the model that are the preset's do not stand there, but for the context.
    Those of other models stand there with their defaults, but for models that do not come with
    tinytape: what reads the file may not know them.
    """
    strange = {
        name
        for spec in models.specs()
        if not spec.comes_with_tinytape and spec is not models.spec_of_preset(config.model)
        for name in spec.own_settings()
    }
    sizes = {name for spec in models.specs() for name in spec.sizes()} - {"context"}
    settings = dataclasses.asdict(config)
    return {
        name: value
        for name, value in settings.items()
        if name not in strange and not (name in sizes and value is None)
    }


def flag(name: str) -> str:
    """The command-line spelling of a setting: ``batch_size`` is ``--batch-size``."""
    return "--" + name.replace("_", "-")


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the settings in a TOML file, checked; ``batch-size`` and ``batch_size`` agree.

    Raises:
        ConfigError: the file cannot be read or parsed, or holds an unknown key or a wrong value.
    """
    tomllib = _import_tomllib()
    try:
        table = tomllib.loads(read_file(path, _TOML_LIMIT).decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"cannot read --config {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, UnicodeDecodeError
        raise ConfigError(f"{path}: not TOML: {error}") from error
    settings = checked_names(table, str(path))
    try:
        return {name: checked(SETTINGS[name], value) for name, value in settings.items()}
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def checked_names(table: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return ``table`` with names spelled as fields.

    Raises:
        ConfigError: for an unknown name.
    """
    settings = _in_our_names(table, source)
    check_names(settings, source)
    return settings


def check_names(names: Collection[str], source: str) -> None:
    """Check that all are names of settings.

    Raises:
        ConfigError: one is not; names the one that was probably meant.
    """
    for name in names:
        if name not in SETTINGS:
            hint = meant(name, SETTINGS) or "known: " + ", ".join(SETTINGS)
            raise ConfigError(f"{source}: unknown setting {in_short(name)}; {hint}")


def _import_tomllib() -> Any:
    try:
        tomllib = importlib.import_module("tomllib")
    except ImportError:  # Python 3.10
        try:
            tomllib = importlib.import_module("tomli")
        except ImportError:
            raise ConfigError(
                "--config needs Python 3.11 or later, or: pip install tomli"
            ) from None
    return tomllib
