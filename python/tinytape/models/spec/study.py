"""A study: one question, and the configurations whose runs answer it.

>>> from tinytape.models.spec import Study, Variant
>>> study = Study("Does it learn faster?", (Variant("a", {"lr": 1e-3}), Variant("b", {"lr": 2e-3})))
>>> [variant.settings["lr"] for variant in study.variants]
[0.001, 0.002]
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

RANDOM = "random"  # a text without order, made for the purpose


@dataclass(frozen=True)
class Variant:
    """One configuration.

    Attributes:
        label: its name in the table.
        settings: of ``python -m tinytape.train``, beside those that all share.
        original: the documents' figure for it, training perplexity on other hardware and data.
        text: RANDOM for a text without order; None for that of the study.
        longer: how many times the study's context, with as many times fewer rows of a batch.
    """

    label: str
    settings: dict[str, Any] = field(default_factory=dict)
    original: str = ""
    text: str | None = None
    longer: int = 1


@dataclass(frozen=True)
class Study:
    """One question."""

    question: str
    variants: tuple[Variant, ...]
    shared: dict[str, Any] = field(default_factory=dict)
    iters: int = 500
    milestones: tuple[int, ...] = ()  # steps of which the table has a column
