"""Language models by name: presets, and models rebuilt from a saved configuration.

A model is one file with a config, a module and a ``ModelSpec``, which :func:`register` adds to
those that come with tinytape. ``docs/tutorial-model.md`` shows one.

>>> from tinytape import models
>>> model = models.create("tiny", vocab_size=65, generator=tt.Generator(1))
>>> model(tt.zeros(2, 5, dtype=tt.int64)).shape
(2, 5, 65)
>>> same = models.from_config(models.config_of(model))
>>> type(same).__name__
'GPT'
"""

from . import files, gpt, nested, spec
from .files import register_files
from .gpt import GPT, GPTConfig
from .nested import NestedConfig, NestedLM
from .registry import (
    activations_per_token,
    config_of,
    count_parameters,
    create,
    describe,
    from_config,
    presets,
    register,
    spec_of,
    spec_of_preset,
    specs,
)
from .spec import LanguageModel, ModelSpec, RecurrentState, StreamTask, Updates, WindowTask

__all__ = [
    "GPT",
    "GPTConfig",
    "LanguageModel",
    "ModelSpec",
    "NestedConfig",
    "NestedLM",
    "RecurrentState",
    "StreamTask",
    "Updates",
    "WindowTask",
    "activations_per_token",
    "config_of",
    "count_parameters",
    "create",
    "describe",
    "files",
    "from_config",
    "gpt",
    "nested",
    "presets",
    "register",
    "register_files",
    "spec",
    "spec_of",
    "spec_of_preset",
    "specs",
]
