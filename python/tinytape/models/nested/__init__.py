"""The nested language models, and how they are trained.

>>> from tinytape import models
>>> model = models.create("nested-state", vocab_size=28)
>>> model(tt.zeros(2, 5, dtype=tt.int64)).shape
(2, 5, 28)
"""

from .model import PRESETS, NestedConfig, NestedLM, StateCache
from .spec import SPEC

__all__ = ["PRESETS", "SPEC", "NestedConfig", "NestedLM", "StateCache"]
