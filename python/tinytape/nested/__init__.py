"""Nested learning: levels that learn at different speeds, with a memory that lasts.

After Behrouz, Razaviyayn, Zhong and Mirrokni 2025, Nested Learning (arXiv 2512.24695).

>>> model = tt.nested.NestedModel(8, 16)
>>> model.get_level_names()
['level1_fast', 'level2_medium', 'level3_slow']
>>> model(tt.zeros(2, 3, 8)).shape
(2, 3, 8)
"""

from .levels import LEVELS, FastLevel, FeedForward
from .model import NestedModel, NestedModelWithSurprise
from .optimizers import LevelOptimizers
from .presets import PRESETS, level_optimizers, preset
from .scheduler import ChunkedUpdateScheduler
from .starts import LearnedStarts
from .stateful import NestedModelWithState
from .surprise import SurpriseLossComputer

__all__ = [
    "LEVELS",
    "PRESETS",
    "ChunkedUpdateScheduler",
    "FastLevel",
    "FeedForward",
    "LearnedStarts",
    "LevelOptimizers",
    "NestedModel",
    "NestedModelWithState",
    "NestedModelWithSurprise",
    "SurpriseLossComputer",
    "level_optimizers",
    "preset",
]
