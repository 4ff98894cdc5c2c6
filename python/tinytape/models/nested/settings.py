"""The settings that nested models add to those of every training run.

>>> from tinytape.training import TrainConfig
>>> TrainConfig(model="nested-state", chunk_sizes="1, 2, 4").chunk_sizes
'1,2,4'
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...settings import in_short, setting
from ..spec import TrainSettings

_GROUP = "nested models"


def _numbers(text: str) -> list[float]:
    """Of a text such as "0.05,0.01"; none where one of them is no finite number."""
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        return []
    return numbers if all(map(math.isfinite, numbers)) else []


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16 and int(text) >= 1


def _when(text: str) -> str:
    if text not in ("never", "document") and not _is_count(text):
        raise ValueError(f"expected never, document or a number of steps, got {in_short(text)}")
    return text


def _three_counts(text: str) -> str:
    text = text.replace(" ", "")
    if not (len(text.split(",")) == 3 and all(map(_is_count, text.split(",")))):
        raise ValueError(
            f"expected three numbers of at least 1, such as 1,16,256, got {in_short(text)}"
        )
    return text


def _time_constants(text: str) -> str:
    text = text.replace(" ", "")
    taus = _numbers(text)
    if text != "off" and not (len(taus) == 2 and all(tau > 0 for tau in taus)):
        raise ValueError(
            f"expected off, or two numbers of batches above 0, such as 16,256, got {in_short(text)}"
        )
    return text


def _weights(text: str) -> str:
    text = text.replace(" ", "")
    weights = _numbers(text)
    if not 1 <= len(weights) <= 3 or not all(weight >= 0 for weight in weights):
        raise ValueError(
            f"expected one to three numbers of at least 0, such as 0.05,0.01, got {in_short(text)}"
        )
    return text


@dataclass(frozen=True)
class NestedSettings:
    """How states are carried, the surprise loss, and when each level is updated."""

    hidden: int = setting(
        None,
        int,
        _GROUP,
        "channels between the two layers of a level",
        low=1,
        optional=True,
        shown="the preset's",
    )
    reset: str = setting(
        "never",
        str,
        _GROUP,
        "when a row's state begins anew: never, document or every N steps",
        form=_when,
        metavar="WHEN",
        measures=True,
    )
    separator: str = setting(
        "\n\n\n",
        str,
        _GROUP,
        "text between two documents, for --reset document",
        metavar="TEXT",
        shown="two empty lines",
        measures=True,
    )
    level_memory: str = setting(
        "off",
        str,
        _GROUP,
        "leaky memories of levels 2 and 3: their time constants in batches",
        form=_time_constants,
        metavar="X,X",
    )
    surprise: str = setting(
        None,
        str,
        _GROUP,
        "surprise loss of the levels",
        choices=("off", "detached", "second_order", "teach"),
        shown="detached for nested-surprise, else off",
    )
    surprise_weights: str = setting(
        "0.05,0.01",
        str,
        _GROUP,
        "weights of the surprise loss, from the fast level on",
        form=_weights,
        metavar="X,X",
    )
    surprise_every: int = setting(1, int, _GROUP, "batches from one surprise to the next", low=1)
    chunk_sizes: str = setting(
        None,
        str,
        _GROUP,
        "steps from one update to the next, of each level",
        metavar="N,N,N",
        form=_three_counts,
        shown="1,16,256 for nested-original, else 1,4,16",
    )
    chunk_unit: str = setting(
        "steps", str, _GROUP, "unit of the chunk sizes", choices=("steps", "tokens")
    )
    level_update: str = setting(
        None,
        str,
        _GROUP,
        "what a level gets of its gradients",
        choices=("mean", "sum"),
        shown="sum for nested-original, else mean",
    )
    level_rates: str = setting(
        None,
        str,
        _GROUP,
        "rates of the levels: the same, or divided by their chunks",
        choices=("unscaled", "divided"),
        shown="divided for nested-original, else unscaled",
    )
    wiring: str = setting(
        "sequential",
        str,
        _GROUP,
        "how levels are connected",
        choices=("sequential", "nested", "independent"),
    )


class NestedTrainSettings(NestedSettings, TrainSettings):
    """All settings of a run that trains a nested model, for annotations."""
