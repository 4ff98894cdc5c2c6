"""The settings that every training run has, whatever its model.

In the text of a default, ``{models}`` stands for the models' own defaults; see
``ModelSpec.shown_defaults``.

>>> from tinytape.models.spec import TrainSettings
>>> TrainSettings().batch_size, TrainSettings().optimizer
(12, 'adamw')
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...data import DEFAULT_CORPUS
from ...errors import ConfigError
from ...settings import check_all, setting

DATA, TRAINING, OPTIMISER, RUN = "model and data", "training", "optimiser", "run"
OPTIMIZERS = ("adamw", "adam", "sgd", "muon", "delta_rule", "delta_adam", "delta_momentum", "dgd")
DEFAULT_MODEL = "small"


@dataclass(frozen=True)
class TrainSettings:
    """Settings of one training run that all models share.

    A default of None is a value that ``resolve`` chooses from the others; nothing else sees it.
    Those that are ``optional`` may stay None: ``threads`` is the engine's own number then, and
    sizes of the model are those of the preset, until the model is made.
    """

    model: str = setting(DEFAULT_MODEL, str, DATA, "model preset, see below", metavar="PRESET")
    data: str = setting(
        DEFAULT_CORPUS,
        Path,
        DATA,
        "shakespeare, wikitext-2, a UTF-8 text file, or a folder with one, or with train.txt and "
        "valid.txt; a file or folder called shakespeare is ./shakespeare",
        metavar="NAME|PATH",
        may_change=True,
    )
    context: int = setting(
        None, int, DATA, "characters of a window", low=1, optional=True, shown="the preset's"
    )
    width: int = setting(
        None, int, DATA, "channels of the model", low=1, optional=True, shown="the preset's"
    )
    layers: int = setting(
        None, int, DATA, "blocks of the model", low=1, optional=True, shown="the preset's"
    )
    heads: int = setting(
        None,
        int,
        DATA,
        "heads of attention; they divide the width",
        low=1,
        optional=True,
        shown="the preset's",
    )
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
        0,
        int,
        TRAINING,
        "steps in a row to leave out when the loss or gradient is not finite",
        low=0,
        may_change=True,
        shown="0: stop at the first",
    )

    optimizer: str = setting(
        "adamw",
        str,
        OPTIMISER,
        "update rule; muon leaves all but hidden matrices to adamw",
        choices=OPTIMIZERS,
    )
    lr: float = setting(
        None,
        float,
        OPTIMISER,
        "learning rate after warm-up",
        above=0.0,
        shown="2e-3 for adamw, adam and delta_adam, 8e-3 for muon{models}; 0.1 for the other rules",
    )
    min_lr: float = setting(
        None,
        float,
        OPTIMISER,
        "learning rate at the last step, unless the schedule is constant",
        low=0.0,
        shown="lr / 10",
    )
    schedule: str = setting(
        "cosine",
        str,
        OPTIMISER,
        "how the rate goes from lr to min-lr",
        choices=("constant", "cosine", "linear"),
    )
    warmup: int = setting(
        None, int, OPTIMISER, "steps of linear warm-up", low=0, shown="100, or iters / 10 if less"
    )
    clip: float = setting(1.0, float, OPTIMISER, "largest gradient norm; 0 is no limit", low=0.0)
    weight_decay: float = setting(
        None,
        float,
        OPTIMISER,
        "decay of matrices; vectors are never decayed",
        low=0.0,
        shown="0.1 for adamw and muon; 0 for the others{models}",
    )
    beta1: float = setting(
        0.9,
        float,
        OPTIMISER,
        "first decay of adam and its relatives; momentum of sgd and delta_momentum",
        low=0.0,
        below=1.0,
    )
    beta2: float = setting(
        0.99, float, OPTIMISER, "second decay of adam and its relatives", low=0.0, below=1.0
    )
    muon_momentum: float = setting(
        0.95,
        float,
        OPTIMISER,
        "momentum of muon; what it leaves to adamw has the betas",
        low=0.0,
        below=1.0,
    )

    out: str = setting(
        None, Path, RUN, "run folder", metavar="RUN", may_change=True, shown="runs/MODEL-CORPUS"
    )
    threads: int | None = setting(
        None,
        int,
        RUN,
        "threads; results do not depend on it",
        low=1,
        may_change=True,
        optional=True,
        shown="TINYTAPE_NUM_THREADS, or the CPUs at hand",
    )
    keep: int = setting(
        3, int, RUN, "checkpoints kept, besides the best one", low=1, may_change=True
    )

    def __post_init__(self) -> None:
        check_all(self)
        if self.warmup is not None and self.warmup >= self.iters:
            raise ConfigError(
                f"warmup: {self.warmup} steps of warm-up leave none of iters = {self.iters}"
            )
        if self.min_lr is not None and self.lr is not None and self.min_lr > self.lr:
            raise ConfigError(f"min_lr: {self.min_lr} is more than lr = {self.lr}")
