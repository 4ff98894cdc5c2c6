"""The size of a model whose config does not give it: counted on shapes, or measured.

>>> from tinytape.models import GPTConfig
>>> from tinytape.models.gpt import SPEC
>>> from tinytape.models.sizes import count_on_shapes
>>> count_on_shapes(SPEC, GPTConfig(vocab_size=65, context=32, width=10**6, heads=4, layers=2))
(30, 24000190000065)
"""

from __future__ import annotations

from typing import Any

from .._shapes import shapes_only
from ..context import memory_stats
from ..creation import zeros
from ..dtypes import int64
from ..nn import Module
from ..random import Generator
from .spec import ModelSpec

_MEASURED_TOKENS = 16
_MEASURED_ROWS = 8


def count_on_shapes(spec: ModelSpec, config: Any) -> tuple[int, int]:
    """How many parameters a model has, and how many values; they take no memory."""
    with shapes_only:
        model = spec.module(config, generator=Generator(0), dtype=None)
        sizes = [parameter.numel() for parameter in model.parameters()]
    return len(sizes), sum(sizes)


def measure_activations(model: Module) -> int:
    """About how many numbers a training step keeps for one token, measured on a short text.

    The memory of the graph of the logits is measured and doubled, since the cotangents of its
    contents take as much at most. The part that does not grow with the rows is left out.
    """
    was_training = model.training
    model.eval()  # dropout would draw from the generator of the run
    try:
        length = min(model.config.context, _MEASURED_TOKENS)
        used = []
        for rows in (1, 1 + _MEASURED_ROWS):
            before = memory_stats()["step_used"]
            logits = model(zeros(rows, length, dtype=int64))
            used.append(memory_stats()["step_used"] - before)
            itemsize = logits.dtype.itemsize
            del logits
        numbers: int = 2 * (used[1] - used[0]) // (_MEASURED_ROWS * length * itemsize)
        return max(1, numbers)
    finally:
        model.train(was_training)
