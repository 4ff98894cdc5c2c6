"""Models by name: presets, and models rebuilt from a saved configuration.

A model file gives a config dataclass with ``to_dict``, a module made from it, and its presets. The
registry below is the only place that lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ArgumentError
from ..nn.module import Module
from ..random import Generator
from . import gpt, nested
from .gpt import GPT, GPTConfig
from .nested import NestedConfig, NestedLM

__all__ = [
    "GPT",
    "GPTConfig",
    "NestedConfig",
    "NestedLM",
    "count_parameters",
    "create",
    "describe",
    "from_config",
    "presets",
]

_ARCHITECTURES: dict[str, tuple[Any, Any]] = {
    "gpt": (GPTConfig, GPT),
    "nested": (NestedConfig, NestedLM),
}
_PRESETS = {
    name: (architecture, options)
    for architecture, presets_of in (("gpt", gpt.PRESETS), ("nested", nested.PRESETS))
    for name, options in presets_of.items()
}


def presets() -> dict[str, dict[str, Any]]:
    """The names that ``create`` takes, each with its sizes: all of a config but the vocabulary."""
    return {name: dict(options) for name, (_, options) in _PRESETS.items()}


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
            ``tt.default_generator`` unless told.
        dtype: of the parameters; float32 unless told.
        **overrides: fields of the model's config to set instead of the preset's.

    Raises:
        ValueError: an unknown preset, an unknown field, or sizes that do not fit together.
    """
    return from_config(describe(name, vocab_size, **overrides), generator=generator, dtype=dtype)


def describe(name: str, vocab_size: int, **overrides: Any) -> dict[str, Any]:
    """What ``config.to_dict()`` of the model will give that ``create`` makes; nothing is made.

    Raises:
        ValueError: as ``create``.
    """
    if name not in _PRESETS:
        raise ArgumentError(f"models.create: expected one of {', '.join(_PRESETS)}, got {name!r}")
    architecture, options = _PRESETS[name]
    config = {**options, **overrides, "vocab_size": vocab_size, "architecture": architecture}
    described: dict[str, Any] = _read(config)[1].to_dict()
    return described


def from_config(
    config: Mapping[str, Any], *, generator: Generator | None = None, dtype: Any = None
) -> Module:
    """Make a new model from what its ``config.to_dict()`` gave; the weights are drawn anew.

    Raises:
        ValueError: an unknown architecture, unknown or missing fields, or sizes that do not fit.
    """
    model_class, made = _read(config)
    model: Module = model_class(made, generator=generator, dtype=dtype)
    return model


def count_parameters(config: Mapping[str, Any]) -> tuple[int, int]:
    """How many parameters the model of such a config has, and how many values; makes none of them.

    Raises:
        ValueError: as ``from_config``.
    """
    count: tuple[int, int] = _read(config)[1].count_parameters()
    return count


def _read(config: Mapping[str, Any]) -> tuple[Any, Any]:
    """The class of the model and its config, checked."""
    fields = dict(config)
    architecture = fields.pop("architecture", None)
    if architecture not in _ARCHITECTURES:
        raise ArgumentError(
            f"models.from_config: expected architecture to be one of "
            f"{', '.join(_ARCHITECTURES)}, got {architecture!r}"
        )
    config_class, model_class = _ARCHITECTURES[architecture]
    known = config_class.__dataclass_fields__
    unknown = sorted(set(fields) - set(known))
    if unknown:
        raise ArgumentError(
            f"models.from_config: {architecture} has no {', '.join(unknown)}; "
            f"expected {', '.join(known)}"
        )
    try:
        return model_class, config_class(**fields)
    except TypeError as error:
        raise ArgumentError(f"models.from_config: {error}") from None
