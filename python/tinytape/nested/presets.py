"""Named ways to train a nested model, so that they can be compared.

Each is a dict with ``model`` (options of :class:`NestedModel`), ``chunk_sizes``, and ``optimizers``
(options of :class:`LevelOptimizers`, with the name of the optimiser's class under ``make``).

>>> from tinytape.nested import NestedModel
>>> from tinytape.nested.presets import level_optimizers, preset
>>> model = NestedModel(4, 8, **preset("original")["model"])
>>> sorted(level_optimizers(model, "original").get_lr())
['level1_fast', 'level2_medium', 'level3_slow']
"""

from __future__ import annotations

import copy
from typing import Any

from ..errors import ArgumentError
from ..nn import Module
from ..optim import SGD, Adam, AdamW, DeltaMomentum
from .optimizers import LevelOptimizers
from .scheduler import ChunkedUpdateScheduler

_CHUNKS = {"level1_fast": 1, "level2_medium": 16, "level3_slow": 256}
_RECIPE = {"residual": True, "norm": True, "forget_bias": 1.0}
# Those that take any parameter, and need nothing but parameters and a rate.
_MAKERS = {kind.__name__: kind for kind in (Adam, AdamW, DeltaMomentum, SGD)}

PRESETS: dict[str, dict[str, Any]] = {
    # As the original system ran: Adam on sums of gradients, with rates divided by the chunk. Adam
    # has divided by the size of the sum already, so level 2 is 16^2 and level 3 256^2 times slower
    # than level 1: in 50,000 steps no weight of level 3 can move by more than 2.3e-4.
    "original": {
        "model": {},
        "chunk_sizes": _CHUNKS,
        "optimizers": {"make": "Adam", "lr": 3e-4, "reduction": "sum", "lr_scale": "divided"},
    },
    # The same pace with one rate for all: Adam on means.
    "unscaled": {
        "model": _RECIPE,
        "chunk_sizes": _CHUNKS,
        "optimizers": {"make": "Adam", "lr": 3e-3, "reduction": "mean", "max_norm": 1.0},
    },
    # Equation 71 as it is printed, with the error term of plain gradient descent.
    "paper": {
        "model": _RECIPE,
        "chunk_sizes": _CHUNKS,
        "optimizers": {"make": "SGD", "lr": 0.1, "reduction": "sum"},
    },
    # All levels at every step: the baseline for the schedules.
    "plain": {
        "model": _RECIPE,
        "chunk_sizes": dict.fromkeys(_CHUNKS, 1),
        "optimizers": {"make": "Adam", "lr": 3e-3, "reduction": "mean", "max_norm": 1.0},
    },
}


def preset(name: str) -> dict[str, Any]:
    """A copy of a preset, to be changed at will.

    Raises:
        ValueError: no such preset.
    """
    if name not in PRESETS:
        raise ArgumentError(f"preset: expected one of {', '.join(PRESETS)}, got {name!r}")
    return copy.deepcopy(PRESETS[name])


def level_optimizers(model: Module, name: str, **overrides: Any) -> LevelOptimizers:
    """The scheduler and the optimisers of a preset for a model.

    Args:
        model: a NestedModel, or a module that holds one.
        name: of the preset.
        **overrides: options of :class:`LevelOptimizers` to set instead, and ``chunk_sizes``;
            ``make`` may be "Adam", "AdamW", "DeltaMomentum" or "SGD".

    Raises:
        ValueError: no such preset, or options that do not fit.
    """
    chosen = preset(name)
    chunk_sizes = overrides.pop("chunk_sizes", chosen["chunk_sizes"])
    options = chosen["optimizers"] | overrides
    make = options.pop("make")
    if isinstance(make, str):
        if make not in _MAKERS:
            raise ArgumentError(
                f"level_optimizers: expected make to be one of {', '.join(_MAKERS)}, or a function "
                f"of named parameters and lr, got {make!r}"
            )
        make = _MAKERS[make]
    return LevelOptimizers(model, ChunkedUpdateScheduler(chunk_sizes), make, **options)
