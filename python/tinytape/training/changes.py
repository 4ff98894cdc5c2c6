"""The settings that may differ when a run is resumed, and what follows from a change.

>>> from tinytape.training import ConfigError, TrainConfig, resolve
>>> from tinytape.training.changes import changed_for_resume
>>> old = resolve(TrainConfig(model="tiny", seed=1))
>>> changed_for_resume(old, {"keep": 5}).keep
5
>>> try:
...     changed_for_resume(old, {"seed": 2})
... except ConfigError as error:
...     print(str(error).split(";")[0])
cannot resume with another seed: the run has 1, asked for 2
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from .. import models
from ..settings import checked, in_short
from .config import SETTINGS, TrainConfig, flag
from .defaults import defaults_of, refuse_what_would_do_nothing
from .errors import ConfigError


def changed_for_resume(
    old: TrainConfig, asked: Mapping[str, Any], allowed: Collection[str] = ()
) -> TrainConfig:
    """Return the settings of a resumed run: ``old``, with what may change taken from ``asked``.

    A setting whose value was derived from others is derived again: with another ``lr`` comes
    another ``min_lr``.

    Args:
        old: resolved settings.
        allowed: settings that may change although they shape the result.

    Raises:
        ConfigError: a setting that shapes the result was asked to change; names it.
    """
    given = {name: checked(SETTINGS[name], value) for name, value in asked.items()}
    changed = {name: value for name, value in given.items() if value != _value(old, name)}
    problem = None
    try:
        new = _with(old, changed, follows_iters="iters" in allowed)
    except ConfigError as error:
        problem = error
    for name, value in changed.items():
        _require_free(old, name, value, allowed, problem)
    if problem is not None:
        raise problem
    return new


def _with(old: TrainConfig, changed: Mapping[str, Any], *, follows_iters: bool) -> TrainConfig:
    """The settings with these changes, and with the settings that follow from them."""
    if all(SETTINGS[name].metadata["may_change"] for name in changed):
        return dataclasses.replace(old, **changed)
    defaults = defaults_of(old)
    follow = {name: None for name, value in defaults.items() if getattr(old, name) == value}
    if not follows_iters:  # a warm-up that was planned stays, however long the run becomes
        follow.pop("warmup", None)
    new = dataclasses.replace(old, **{**follow, **changed})
    refuse_what_would_do_nothing(new)
    chosen = {name: v for name, v in defaults_of(new).items() if getattr(new, name) is None}
    return dataclasses.replace(new, **chosen)


def _require_free(
    old: TrainConfig,
    name: str,
    value: Any,
    allowed: Collection[str],
    problem: ConfigError | None,
) -> None:
    """Raise ConfigError, with what can be done, unless the setting may have that value."""
    if SETTINGS[name].metadata["may_change"]:
        return
    before = _value(old, name)
    fixed = _why_fixed(old, name, value)
    if fixed is None:
        if name in allowed:
            return
        if name == "iters" and old.schedule == "constant":  # its rate does not look at the end
            return
    why = " (the schedule depends on it)" if name == "iters" else ""
    if fixed:
        way = f", or start a new run, without --resume: {fixed}"
    else:
        way = f" ({problem})" if problem else f", or add --allow-change {name}"
    raise ConfigError(
        f"cannot resume with another {name}{why}: the run has {in_short(before)}, asked for "
        f"{in_short(value)}; leave {flag(name)} out{way}"
    )


def _value(old: TrainConfig, name: str) -> Any:
    """What a setting is in a run; a size that is not given is the preset's."""
    spec = models.spec_of_preset(old.model)
    return spec.size(old, name) if spec and name in spec.sizes() else getattr(old, name)


def _why_fixed(old: TrainConfig, name: str, value: Any) -> str | None:
    """Why the run's state cannot be used with that value of a setting; None where it can."""
    before = getattr(old, name)
    if name == "dtype":
        return f"the weights are {before}"
    if name == "optimizer":
        return f"what {before} remembers is of no use to {value}"
    if name == "beta1" and old.optimizer == "sgd" and 0.0 in (before, value):
        return "the momentum of sgd cannot begin or end on the way"
    spec = models.spec_of_preset(old.model)
    return None if spec is None else spec.why_fixed(old, name, value)
