"""The check of a model's spec: errors in it show when it is registered, not in a run.

>>> from tinytape import models
>>> from tinytape.models import gpt
>>> models.register(models.ModelSpec("mine", gpt.GPTConfig, gpt.GPT, {"tiny": {}}))
Traceback (most recent call last):
tinytape.errors.ArgumentError: models.register: mine: there is a preset of the name tiny
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from ..autograd import no_grad
from ..creation import tensor
from ..dtypes import float32
from ..errors import ArgumentError, ConfigError
from ..nn import Module
from ..random import Generator
from ..settings import checked
from ..tensor import Tensor
from .sizes import count_on_shapes
from .spec import (
    SYNONYMS,
    ModelSpec,
    StreamTask,
    TrainSettings,
    Updates,
    WindowTask,
    cross_entropy,
)

#: Names that settings cannot have: flags of the training command, and what the text decides.
RESERVED = (
    "allow_change", "config", "h", "help", "overwrite", "resume", "version", "vocab_size"
)  # fmt: skip
_VOCABULARY = 7
_TOKENS = 3
_CACHE = ("detach", "snapshot", "rewind", "arrays", "require", "load")  # for a StreamTask
_CLOSE = 1e-3  # of logits that are computed in another order, in parts of the largest


def require_spec(spec: ModelSpec, others: Sequence[ModelSpec]) -> None:
    """Check the entries of a spec, without making a model.

    Raises:
        ArgumentError: (a ValueError) something is absent, of another kind, or has a name that is in
            use.
    """
    if not isinstance(spec, ModelSpec):
        raise ArgumentError(f"models.register: expected a ModelSpec, got {type(spec).__name__}")
    if not isinstance(spec.name, str) or not spec.name:
        raise ArgumentError(f"models.register: expected name to be a text, got {spec.name!r}")
    if spec.name in {other.name for other in others}:
        _refuse(spec, "there is a model of that name")
    _require_config(spec)
    _require_presets(spec, {preset for other in others for preset in other.presets})
    taken = {option.name for option in dataclasses.fields(TrainSettings)}
    _require_settings(spec, taken.union(*(other.own_settings() for other in others)))
    for what, kind in (("task", WindowTask), ("updates", Updates)):
        given = getattr(spec, what)
        if not (isinstance(given, type) and issubclass(given, kind)):
            _refuse(spec, f"expected {what} to be a subclass of {kind.__name__}, got {given!r}")
    if issubclass(spec.task, StreamTask) and not hasattr(spec.module, "new_cache"):
        _refuse(spec, f"{spec.task.__name__} needs {_name(spec.module)}.new_cache(batch_size)")
    for what in ("shown_defaults", "studies"):
        given = getattr(spec, what)
        if not isinstance(given, Mapping):
            _refuse(spec, f"expected {what} to be a dict, got {given!r}")
    for other in others:
        if other.config is spec.config:
            _refuse(
                spec, f"expected a config of its own, {_name(spec.config)} is that of {other.name}"
            )


def try_out(spec: ModelSpec) -> None:
    """Make the smallest preset's model, and let it read, write and learn.

    Raises:
        ArgumentError: (a ValueError) it cannot, or its logits are wrong.
    """
    configs = [spec.config(**{**p, "vocab_size": _VOCABULARY}) for p in spec.presets.values()]
    made = _made(spec, configs[0])
    if not isinstance(made, Module):
        _refuse(spec, f"expected a Module of {_name(spec.module)}, got {type(made).__name__}")
    config = min(configs, key=lambda config: _size(spec, config))
    model = _made(spec, config)
    if getattr(model, "config", None) != config:
        _refuse(spec, f"expected {_name(spec.module)} to keep its config as self.config")
    _require_same_weights(spec, model)
    ids = tensor([list(range(1, 1 + min(_TOKENS, config.context)))])
    model.eval()
    logits = _logits(spec, model, ids)
    _require_causal(spec, config, ids, logits.detach())
    cross_entropy(logits, ids.numpy()).backward()
    missing = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    if missing:
        _refuse(spec, f"no gradient reached {', '.join(missing)}")
    if hasattr(model, "new_cache"):
        _require_cache(spec, model, ids, logits.detach())


def _made(spec: ModelSpec, config: Any) -> Any:
    try:
        return spec.module(config, generator=Generator(0), dtype=float32)
    except Exception as error:
        _refuse(spec, f"{_name(spec.module)}(config, generator=..., dtype=...) failed: {error!r}")


def _size(spec: ModelSpec, config: Any) -> int:
    try:
        return count_on_shapes(spec, config)[1]
    except Exception as error:
        _refuse(spec, f"{_name(spec.module)} failed with {config}: {error!r}")


def _refuse(spec: ModelSpec, problem: str) -> NoReturn:
    raise ArgumentError(f"models.register: {spec.name}: {problem}")


def _name(of: Any) -> str:
    return getattr(of, "__name__", repr(of))


def _require_frozen(spec: ModelSpec, kind: Any) -> None:
    if not kind.__dataclass_params__.frozen:
        _refuse(spec, f"expected {_name(kind)} to be frozen: @dataclass(frozen=True)")


def _require_config(spec: ModelSpec) -> None:
    config = spec.config
    if not (isinstance(config, type) and dataclasses.is_dataclass(config)):
        _refuse(spec, f"expected config to be a dataclass, got {config!r}")
    _require_frozen(spec, config)
    fields = {option.name for option in dataclasses.fields(config)}
    for name in ("vocab_size", "context"):
        if name not in fields:
            _refuse(spec, f"expected {_name(config)} to have the field {name}")
    if "architecture" in fields:
        _refuse(spec, f"{_name(config)}.architecture: a record has the name of the model there")


def _require_presets(spec: ModelSpec, taken: set[str]) -> None:
    if not isinstance(spec.presets, Mapping) or not spec.presets:
        _refuse(spec, f"expected presets, each a name and a dict of sizes, got {spec.presets!r}")
    for name, options in spec.presets.items():
        if not isinstance(name, str) or not name:
            _refuse(spec, f"expected the name of a preset to be a text, got {name!r}")
        if name in taken:
            _refuse(spec, f"there is a preset of the name {name}")
        if not isinstance(options, Mapping):
            _refuse(spec, f"preset {name}: expected a dict of sizes, got {options!r}")
        if "vocab_size" in options:
            _refuse(spec, f"preset {name}: vocab_size is what the text decides")
        try:
            config = spec.config(**options, vocab_size=_VOCABULARY)
            plain = spec.config_dict(config)
            same = json.loads(json.dumps(plain, allow_nan=False)) == plain
        except (TypeError, ValueError) as error:
            _refuse(spec, f"preset {name}: {error}")
        if not same:
            _refuse(spec, f"preset {name}: expected numbers, texts, bools and None, got {plain}")
        if type(config.context) is not int or config.context < 1:
            _refuse(
                spec,
                f"preset {name}: expected context to be a whole number of at least 1, "
                f"got {config.context!r}",
            )


def _require_settings(spec: ModelSpec, taken: set[str]) -> None:
    if spec.settings is None:
        return
    if not (isinstance(spec.settings, type) and dataclasses.is_dataclass(spec.settings)):
        _refuse(spec, f"expected settings to be a dataclass or None, got {spec.settings!r}")
    _require_frozen(spec, spec.settings)
    for name, option in spec.own_settings().items():
        if "group" not in option.metadata:
            _refuse(spec, f"expected the setting {name} to be made by settings.setting()")
        if name in taken:
            _refuse(spec, f"there is a setting of the name {name}")
        if name in SYNONYMS:
            _refuse(spec, f"the setting {name}: another name of {SYNONYMS[name]}")
        if name in RESERVED or name.startswith("_"):
            _refuse(spec, f"the setting {name} cannot have that name, which has another meaning")
        try:
            checked(option, option.default)
        except ConfigError as error:
            _refuse(spec, f"the default of a setting is not allowed: {error}")


def _require_same_weights(spec: ModelSpec, model: Module) -> None:
    again = spec.module(model.config, generator=Generator(0), dtype=float32)
    for (name, x), y in zip(model.named_parameters(), again.parameters(), strict=True):
        if (x.numpy() != y.numpy()).any():
            _refuse(spec, f"{name} is not drawn from the generator: the same seed gives others")


def _logits(spec: ModelSpec, model: Module, ids: Tensor, **cache: Any) -> Tensor:
    try:
        logits: Tensor = model(ids, **cache)
    except Exception as error:
        _refuse(spec, f"{_name(spec.module)}.forward failed with ids of {_shape(ids)}: {error!r}")
    expected = (*ids.shape, _VOCABULARY)
    if not isinstance(logits, Tensor) or tuple(logits.shape) != expected:
        got = _shape(logits) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        _refuse(spec, f"expected logits of shape {expected} for ids of {_shape(ids)}, got {got}")
    return logits


def _shape(x: Tensor) -> str:
    return f"shape {tuple(x.shape)}"


def _require_causal(spec: ModelSpec, config: Any, ids: Tensor, logits: Tensor) -> None:
    """The logits are numbers, and those of a position do not depend on later tokens."""
    before = logits.numpy()
    if not np.isfinite(before).all():
        _refuse(spec, "the logits of a new model are not finite")
    last = ids.numpy().copy()
    last[:, -1] = 0
    with no_grad():  # a model of its own, since some remember what they read
        after = _logits(spec, _made(spec, config).eval(), tensor(last)).numpy()
    if ids.shape[1] > 1 and abs(after - before)[:, :-1].max() > _CLOSE * abs(before).max():
        _refuse(spec, "the logits of a position depend on tokens after it, which they predict")


def _require_cache(spec: ModelSpec, model: Module, ids: Tensor, logits: Tensor) -> None:
    """The logits of tokens that are read one at a time are those of all at once."""
    cache: Any = model.new_cache(1)
    needed = ("context", "reset", *(_CACHE if issubclass(spec.task, StreamTask) else ()))
    missing = [name for name in needed if not hasattr(cache, name)]
    own = issubclass(spec.task, StreamTask) and spec.task.losses is not StreamTask.losses
    if missing and not (own and "context" not in missing and "reset" not in missing):
        _refuse(spec, f"expected the cache to have {', '.join(missing)}; see RecurrentState")
    with no_grad():
        at_once = logits.numpy()
        for t in range(ids.shape[1]):
            one = _logits(spec, model, ids[:, t : t + 1], cache=cache).numpy()[:, 0]
            if abs(one - at_once[:, t]).max() > _CLOSE * abs(at_once).max():
                _refuse(spec, f"token {t}: the logits with a cache are not those without one")
