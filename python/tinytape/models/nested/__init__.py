"""The nested language models: what they are, and how they are trained."""

from .model import PRESETS, NestedConfig, NestedLM, StateCache
from .spec import SPEC

__all__ = ["PRESETS", "SPEC", "NestedConfig", "NestedLM", "StateCache"]
