"""Whether a machine has the memory that a run needs, before it is allocated.

>>> from tinytape.training import ConfigError, TrainConfig, resolve
>>> from tinytape.training.memory_need import require_memory
>>> config = resolve(TrainConfig(model="tiny", context=10**12, data="x.txt"))
>>> try:
...     require_memory(tt.models.describe("tiny", 28, context=10**12), config)
... except ConfigError as error:
...     print(str(error)[:55])
context: a model of 1000000000000 positions needs about
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..models import activations_per_token, count_parameters, spec_of_preset
from ..nn import Module
from .config import TrainConfig
from .errors import ConfigError

# Of weights: themselves, gradients, and two moments.
_PER_WEIGHT = 4
# The memory of a step is an estimate; only a need far beyond the memory is refused.
_DOUBT = 2


def require_memory(
    described: Mapping[str, Any], config: TrainConfig, model: Module | None = None
) -> None:
    """Check that weights and one batch do not need far more memory than there is.

    Args:
        described: the model's config, before it is made.
        model: once it is made, since the memory of a batch may have to be measured.

    Raises:
        ConfigError: they need far more.
    """
    memory = physical_memory()
    size = 8 if config.dtype == "float64" else 4
    weights = _PER_WEIGHT * count_parameters(described)[1] * size
    context = described["context"]
    batch = config.batch_size * context * (activations_per_token(described, model) or 0) * size
    if memory is None or weights + batch <= _DOUBT * memory:
        return
    has = f"and this machine has {memory / 1e9:,.0f} GB"
    if weights > _DOUBT * memory:
        spec = spec_of_preset(config.model)
        sizes = spec.sizes() if spec is not None else ()
        given = {name: getattr(config, name) for name in sizes if name != "context"}
        given = {name: value for name, value in given.items() if value is not None}
        of = ", ".join(
            [f"{context} positions", *(f"{name} {value}" for name, value in given.items())]
        )
        raise ConfigError(
            f"{next(iter(given), 'context')}: a model of {of} needs about "
            f"{weights / 1e9:,.0f} GB, {has}"
        )
    raise ConfigError(
        f"batch_size: a batch of {config.batch_size} x {context} characters needs about "
        f"{batch / 1e9:,.0f} GB, {has}; several smaller ones make one step with "
        f"--gradient-accumulation-steps"
    )


def physical_memory() -> int | None:
    """The bytes of memory of this machine; None where it is unknown."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
