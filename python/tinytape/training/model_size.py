"""How large the model is that a config describes: computed before a model is made.

>>> from pathlib import Path
>>> from tinytape.training.model_size import require_weights_of
>>> config = tt.models.describe("tiny", 28)
>>> number, size = tt.models.count_parameters(config)
>>> require_weights_of(config, number, size, Path("model.safetensors"), "config.json")
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import models
from .errors import ModelSizeError

# False sizes in a file could ask for all memory. A file that is at most so many times too large
# is read and built, since the comparison of names and shapes gives the better message.
_SLACK = 2
# Of a training state, in weights: moments, gradients, sums of inputs, where a level begins again.
_PER_WEIGHT = 64
_ROWS = 1 << 24  # and the state that a model carries from batch to batch for the rows of a batch


def require_weights_of(described: Any, arrays: int, values: int, source: Path, by: object) -> None:
    """Check that a file can hold the weights of the model described.

    Args:
        described: ``config.json``'s ``model``.
        arrays, values: how many ``source`` holds.
        by: what describes it, for the message.

    Raises:
        ModelSizeError: it holds far more, or far less.
        ValueError: it describes no model of ours.
    """
    number, size = models.count_parameters(described)
    for there, wanted in ((arrays, number), (values, size)):
        if there > _SLACK * wanted or wanted > _SLACK * there:
            raise ModelSizeError(
                f"{source}: {arrays} arrays of {values} values in all, but {by} describes a "
                f"model of {number} arrays and {size} values"
            )


def require_state_of(described: Mapping[str, Any], values: int, source: Path) -> None:
    """Check that a file holds no more than a training state of such a model has.

    Raises:
        ModelSizeError: it holds more.
        ValueError: it describes no model of ours.
    """
    most = _PER_WEIGHT * models.count_parameters(described)[1] + _ROWS
    if values > most:
        raise ModelSizeError(
            f"{source}: {values} values, expected at most {most} beside a model of that size"
        )
