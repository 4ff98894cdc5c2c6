"""The models that exist, by name: their specs, and functions that make and describe models.

>>> from tinytape import models
>>> models.describe("tiny", 65)["width"]
64
>>> models.count_parameters(models.describe("tiny", 65))
(30, 110529)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..errors import ArgumentError
from ..nn import Module
from ..random import Generator
from .check import require_spec, try_out
from .gpt import SPEC as GPT_SPEC
from .nested import SPEC as NESTED_SPEC
from .sizes import count_on_shapes, measure_activations
from .spec import ModelSpec

_SPECS: dict[str, ModelSpec] = {spec.name: spec for spec in (GPT_SPEC, NESTED_SPEC)}


def register(spec: ModelSpec) -> None:
    """Add a kind of model, so that its presets can be made, trained, saved and loaded.

    A model of its smallest preset is made, run and differentiated, so that errors in it show here
    and not in the middle of a run.

    Raises:
        ValueError: something is absent or does not work, or a name is in use; says which.
    """
    require_spec(spec, list(_SPECS.values()))
    try_out(spec)
    _SPECS[spec.name] = spec


def specs() -> tuple[ModelSpec, ...]:
    """Every kind of model that is registered."""
    return tuple(_SPECS.values())


def spec_of_preset(name: str) -> ModelSpec | None:
    """The kind of model that a preset is of; None for an unknown one."""
    return next((spec for spec in _SPECS.values() if name in spec.presets), None)


def spec_of(model: Module) -> ModelSpec:
    """The kind of a model.

    Raises:
        ValueError: none that is registered.
    """
    for spec in _SPECS.values():
        if type(model.config) is spec.config:
            return spec
    raise ArgumentError(
        f"models.spec_of: expected a model of {', '.join(_SPECS)}, got {type(model).__name__}"
    )


def presets() -> dict[str, dict[str, Any]]:
    """The names that ``create`` takes, each with its sizes: all of a config but the vocabulary."""
    return {
        name: dict(options) for spec in _SPECS.values() for name, options in spec.presets.items()
    }


def create(
    name: str,
    vocab_size: int,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    **overrides: Any,
) -> Module:
    """Make a new model from a preset.

    Args:
        name: one of :func:`presets`.
        vocab_size: number of tokens.
        generator: draws the weights (the same seed gives the same weights) and the dropout masks;
            ``tt.default_generator`` by default.
        dtype: of the parameters; float32 by default.
        **overrides: fields of the model's config to set instead of the preset's.

    Raises:
        ValueError: an unknown preset, an unknown field, or sizes that do not fit together.
    """
    return from_config(describe(name, vocab_size, **overrides), generator=generator, dtype=dtype)


def describe(name: str, vocab_size: int, **overrides: Any) -> dict[str, Any]:
    """The config of the model that ``create`` makes, as plain values; nothing is made.

    Raises:
        ValueError: as ``create``.
    """
    spec = spec_of_preset(name)
    if spec is None:
        raise ArgumentError(f"models.create: expected one of {', '.join(presets())}, got {name!r}")
    options = {**spec.presets[name], **overrides, "vocab_size": vocab_size}
    return spec.config_dict(_read({**options, "architecture": spec.name})[1])


def from_config(
    config: Mapping[str, Any], *, generator: Generator | None = None, dtype: Any = None
) -> Module:
    """Make a new model from its config as :func:`config_of` gives it; the weights are drawn anew.

    Raises:
        ValueError: an unknown architecture, unknown or missing fields, or sizes that do not fit.
    """
    spec, made = _read(config)
    model: Module = spec.module(made, generator=generator, dtype=dtype)
    return model


def config_of(model: Module) -> dict[str, Any]:
    """The config of a model as plain values, with the name of its architecture."""
    return spec_of(model).config_dict(model.config)


def count_parameters(config: Mapping[str, Any]) -> tuple[int, int]:
    """How many parameters the model of such a config has, and how many values; makes none of them.

    Raises:
        ValueError: as ``from_config``.
    """
    spec, made = _read(config)
    if hasattr(made, "count_parameters"):
        count: tuple[int, int] = made.count_parameters()
        return count
    return count_on_shapes(spec, made)


def activations_per_token(config: Mapping[str, Any], model: Module | None = None) -> int | None:
    """About how many numbers a training step of such a model keeps for one token.

    Args:
        config: as ``from_config`` takes it.
        model: made from it. Where the config does not know the number, it is measured; None
            without a model.

    Raises:
        ValueError: as ``from_config``.
    """
    _, made = _read(config)
    if hasattr(made, "activations_per_token"):
        number: int = made.activations_per_token
        return number
    return None if model is None else measure_activations(model)


def _read(config: Mapping[str, Any]) -> tuple[ModelSpec, Any]:
    """The kind of model, and its config, checked."""
    fields = dict(config)
    architecture = fields.pop("architecture", None)
    if architecture not in _SPECS:
        raise ArgumentError(
            f"models.from_config: expected architecture to be one of "
            f"{', '.join(_SPECS)}, got {architecture!r}"
        )
    spec = _SPECS[architecture]
    known = [option.name for option in dataclasses.fields(spec.config)]
    unknown = sorted(set(fields) - set(known))
    if unknown:
        raise ArgumentError(
            f"models.from_config: {architecture} has no {', '.join(unknown)}; "
            f"expected {', '.join(known)}"
        )
    try:
        return spec, spec.config(**fields)
    except TypeError as error:
        raise ArgumentError(f"models.from_config: {error}") from None
