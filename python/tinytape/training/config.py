"""The settings of a run: one declaration gives the flag, the TOML key, the check and the help.

Precedence: the defaults below, then the TOML file of ``--config``, then the flags. The resolved
settings are written to the run folder, so that a run can be repeated from what it left behind.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._files import read_file
from ..data import DEFAULT_CORPUS
from .errors import ConfigError
from .settings import check_all, checked, in_short, setting
from .spellings import meant

DATA, TRAINING, OPTIMISER, RUN = "model and data", "training", "optimiser", "run"
NESTED = "nested models"
OPTIMIZERS = ("adamw", "adam", "sgd", "muon", "delta_rule", "delta_adam", "delta_momentum", "dgd")

_TOML_LIMIT = 1 << 20  # bytes; one with every setting has less than two thousand


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
class TrainConfig:
    """Settings of one training run.

    A default of None is a value that ``resolve`` chooses from the others; nothing else sees it.
    ``threads`` may stay None: then the engine's own number holds; ``context`` until the model is
    made; and settings of nested models for other models.
    """

    model: str = setting("small", str, DATA, "model preset, see below", metavar="PRESET")
    data: str = setting(
        DEFAULT_CORPUS, Path, DATA,
        "shakespeare, wikitext-2, a UTF-8 text file, or a folder with one, or with train.txt and "
        "valid.txt; a file or folder called shakespeare is ./shakespeare",
        metavar="NAME|PATH",
        may_change=True,
    )  # fmt: skip
    context: int = setting(None, int, DATA, "characters of a window", low=1, shown="the preset's")
    dtype: str = setting("float32", str, DATA, "type of weights", choices=("float32", "float64"))
    dropout: float = setting(0.0, float, DATA, "dropout probability", low=0.0, below=1.0)

    iters: int = setting(10_000, int, TRAINING, "optimiser steps", low=1)
    batch_size: int = setting(12, int, TRAINING, "windows per batch", low=1)
    gradient_accumulation_steps: int = setting(
        1, int, TRAINING, "batches whose mean gradient makes one step", low=1
    )
    seed: int = setting(
        1, int, TRAINING, "seed of weights, batches and dropout", low=0, high=2**64 - 1
    )
    eval_interval: int = setting(
        500, int, TRAINING, "steps between held-out losses", low=1, may_change=True
    )
    checkpoint_interval: int = setting(
        1000, int, TRAINING, "steps between checkpoints", low=1, may_change=True
    )

    skip_nonfinite: int = setting(
        0, int, TRAINING, "steps in a row to leave out when the loss or gradient is not finite",
        low=0, may_change=True, shown="0: stop at the first",
    )  # fmt: skip

    optimizer: str = setting(
        "adamw", str, OPTIMISER, "update rule; muon leaves what is no hidden matrix to AdamW",
        choices=OPTIMIZERS,
    )  # fmt: skip
    lr: float = setting(
        None,
        float,
        OPTIMISER,
        "learning rate after warm-up",
        above=0.0,
        shown="Adam 2e-3, nested 6e-3; muon 8e-3, nested 1.2e-2; nested-original 3e-4; rest 0.1",
    )
    min_lr: float = setting(
        None, float, OPTIMISER, "learning rate at the last step", low=0.0, shown="lr / 10"
    )
    schedule: str = setting(
        "cosine", str, OPTIMISER, "from lr to min-lr", choices=("constant", "cosine", "linear")
    )
    warmup: int = setting(
        None, int, OPTIMISER, "steps of linear warm-up", low=0, shown="100, or iters / 10 if less"
    )
    clip: float = setting(1.0, float, OPTIMISER, "largest gradient norm; 0 is no limit", low=0.0)
    weight_decay: float = setting(
        None, float, OPTIMISER, "decay of matrices; vectors are never decayed", low=0.0,
        shown="0.1 for adamw and muon, else and for nested-original 0",
    )  # fmt: skip
    beta1: float = setting(
        0.9, float, OPTIMISER, "Adam's first decay; momentum of sgd, delta_momentum",
        low=0.0, below=1.0,
    )  # fmt: skip
    beta2: float = setting(0.99, float, OPTIMISER, "Adam's second decay", low=0.0, below=1.0)
    muon_momentum: float = setting(
        0.95, float, OPTIMISER, "momentum of muon; what it leaves to AdamW has the betas",
        low=0.0, below=1.0,
    )  # fmt: skip

    reset: str = setting(
        "never", str, NESTED, "when a row's state begins anew: never, document or every N steps",
        form=_when, metavar="WHEN",
    )  # fmt: skip
    separator: str = setting(
        "\n\n\n", str, NESTED, "text between two documents, for --reset document",
        metavar="TEXT", shown="two empty lines",
    )  # fmt: skip
    level_memory: str = setting(
        "off", str, NESTED, "leaky memories of levels 2 and 3: their time constants in batches",
        form=_time_constants, metavar="X,X",
    )  # fmt: skip
    surprise: str = setting(
        None, str, NESTED, "surprise loss of the levels",
        choices=("off", "detached", "second_order", "teach"),
        shown="detached for nested-surprise, else off",
    )  # fmt: skip
    surprise_weights: str = setting(
        "0.05,0.01",
        str,
        NESTED,
        "its weights, from the fast level on",
        form=_weights,
        metavar="X,X",
    )
    surprise_every: int = setting(1, int, NESTED, "batches from one surprise to the next", low=1)
    chunk_sizes: str = setting(
        None, str, NESTED, "steps from one update to the next, of each level", metavar="N,N,N",
        form=_three_counts,
        shown="1,16,256 for nested-original, else 1,4,16",
    )  # fmt: skip
    chunk_unit: str = setting("steps", str, NESTED, "their unit", choices=("steps", "tokens"))
    level_update: str = setting(
        None, str, NESTED, "what a level gets of its gradients", choices=("mean", "sum"),
        shown="sum for nested-original, else mean",
    )  # fmt: skip
    level_rates: str = setting(
        None, str, NESTED, "rates of the levels: the same, or divided by their chunks",
        choices=("unscaled", "divided"), shown="divided for nested-original, else unscaled",
    )  # fmt: skip
    wiring: str = setting(
        "sequential", str, NESTED, "how levels are connected",
        choices=("sequential", "nested", "independent"),
    )  # fmt: skip

    out: str = setting(
        None, Path, RUN, "run folder", metavar="RUN", may_change=True, shown="runs/MODEL-CORPUS"
    )
    threads: int | None = setting(
        None, int, RUN, "threads; results do not depend on it", low=1, may_change=True,
        shown="TINYTAPE_NUM_THREADS, or the CPUs at hand",
    )  # fmt: skip
    keep: int = setting(3, int, RUN, "checkpoints kept", low=1, may_change=True)

    def __post_init__(self) -> None:
        check_all(self)
        if self.warmup is not None and self.warmup >= self.iters:
            raise ConfigError(
                f"warmup: {self.warmup} steps of warm-up leave none of iters = {self.iters}"
            )
        if self.min_lr is not None and self.lr is not None and self.min_lr > self.lr:
            raise ConfigError(f"min_lr: {self.min_lr} is more than lr = {self.lr}")


SETTINGS = {option.name: option for option in dataclasses.fields(TrainConfig)}


def flag(name: str) -> str:
    """The command-line spelling of a setting: ``batch_size`` is ``--batch-size``."""
    return "--" + name.replace("_", "-")


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the settings in a TOML file, checked; ``batch-size`` and ``batch_size`` agree.

    Raises:
        ConfigError: the file cannot be read or parsed, or holds an unknown key or a wrong value.
    """
    tomllib = _import_tomllib()
    try:
        table = tomllib.loads(read_file(path, _TOML_LIMIT).decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"cannot read --config {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, UnicodeDecodeError
        raise ConfigError(f"{path}: not TOML: {error}") from error
    settings = checked_names(table, str(path))
    try:
        return {name: checked(SETTINGS[name], value) for name, value in settings.items()}
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def checked_names(table: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return ``table`` with names spelled as fields; ConfigError names an unknown one."""
    settings = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        check_names([name], source)
        if name in settings:
            raise ConfigError(f"{source}: {name} is given twice")
        settings[name] = value
    return settings


def check_names(names: Collection[str], source: str) -> None:
    """ConfigError when one is not a setting; names what was probably meant."""
    for name in names:
        if name not in SETTINGS:
            hint = meant(name, SETTINGS) or "known: " + ", ".join(SETTINGS)
            raise ConfigError(f"{source}: unknown setting {in_short(name)}; {hint}")


def _import_tomllib() -> Any:
    try:
        tomllib = importlib.import_module("tomllib")
    except ImportError:  # Python 3.10
        try:
            tomllib = importlib.import_module("tomli")
        except ImportError:
            raise ConfigError(
                "--config needs Python 3.11 or later, or: pip install tomli"
            ) from None
    return tomllib
