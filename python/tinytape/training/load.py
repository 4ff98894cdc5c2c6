"""A trained model from its run folder, or from a checkpoint folder wherever that was copied.

>>> from tinytape.training import load_run
>>> model, tokenizer = load_run("runs/demo")
>>> model(tt.tensor([tokenizer.encode("fox")])).shape
(1, 3, 28)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tinytape as tt

from .. import models
from ..data import CharTokenizer, DataError
from .arrays import require_same_arrays
from .belonging import require_config, require_same_run, require_tokenizer
from .checkpoint import (
    Checkpoint,
    is_checkpoint,
    latest_checkpoint,
    list_checkpoints,
    load_checkpoint,
    step_of,
)
from .config import SETTINGS, TrainConfig, checked_names
from .defaults import unresolved
from .errors import CheckpointError, ConfigError, RunError, memory_for
from .final_weights import about_final_weights, read_final_weights
from .model_size import require_weights_of
from .record_types import CONFIG, require_types
from .run_folder import RunFolder


@dataclass(frozen=True)
class Weights:
    """Weights, with the files that are needed to use them."""

    source: Path  # where they are from
    arrays: Mapping[str, np.ndarray]
    config: Path  # where the record is from
    record: dict[str, Any]
    tokenizer: CharTokenizer


def load_run(
    run: str | os.PathLike[str], *, best: bool = False, threads: int | None = None
) -> tuple[tt.nn.Module, CharTokenizer]:
    """Return the newest model of a run, in evaluation mode, and its tokenizer.

    Args:
        run: a run folder, or one checkpoint folder.
        best: take the weights of the lowest held-out loss instead of the last ones.
        threads: as in ``set_num_threads``.

    Raises:
        RunError: no run there, or no weights yet.
        CheckpointError: weights that do not belong to the run's config and tokenizer, that are
            damaged, or not finite.
        DataError: the tokenizer is absent or broken.
        MemoryError: there is too little for it.
        OSError: a file cannot be read.
    """
    path = Path(run)
    if is_checkpoint(path):
        if best:
            raise RunError(f"{path} is one checkpoint; for the best one give the run's folder")
        found = _of_checkpoint(load_checkpoint(path))
    else:
        found = _newest(RunFolder(path), best)
    require_types(found.record, CONFIG, found.config)
    model = build_model(found.record, found.config, found.arrays, found.source)
    require_vocabulary(model, found.tokenizer, found.source)
    if threads is not None:
        tt.set_num_threads(threads)
    return model.eval(), found.tokenizer


def require_vocabulary(model: tt.nn.Module, tokenizer: CharTokenizer | None, source: Path) -> None:
    """Check that a tokenizer has as many characters as the model.

    Raises:
        CheckpointError: it has not.
    """
    if tokenizer is not None and model.config.vocab_size != tokenizer.vocab_size:
        raise CheckpointError(
            f"{source}: {tokenizer.vocab_size} characters, "
            f"but the model was made for {model.config.vocab_size}"
        )


def _of_checkpoint(checkpoint: Checkpoint) -> Weights:
    tokenizer = checkpoint.tokenizer
    if tokenizer is None:  # it needs the run in which it lies
        try:
            tokenizer = CharTokenizer.load(RunFolder(run_above(checkpoint.path)).tokenizer)
        except DataError as error:
            raise DataError(
                f"{checkpoint.path}: a checkpoint of version 1 has no tokenizer of its own: {error}"
            ) from error
    return Weights(
        checkpoint.path,
        checkpoint.model,
        checkpoint.path / "config.json",
        checkpoint.config,
        tokenizer,
    )


def run_above(checkpoint: Path) -> Path:
    """The run folder in which a checkpoint lies, if it lies in one."""
    deep = len(checkpoint.parts) > 2
    return (checkpoint if deep else Path(os.path.abspath(checkpoint))).parent.parent


def _newest(folder: RunFolder, best: bool) -> Weights:
    """The newest good weights of a run, or its best ones."""
    folder.require_run()
    final = None if best else _step_of_final(folder)
    named = list_checkpoints(folder.checkpoints)
    if final is not None and final >= max(map(step_of, named), default=-1):
        return _final(folder)
    checkpoint, problems = latest_checkpoint(folder.best if best else folder.checkpoints)
    if final is not None and (checkpoint is None or final >= checkpoint.step):
        return _final(folder)
    if checkpoint is None:
        where = folder.best if best else folder.checkpoints
        if where.is_symlink() and not where.exists():
            raise RunError(f"{where} is a link to {os.readlink(where)}, which is not there")
        why = f" ({'; '.join(problems)})" if problems else ""
        what = "is no best checkpoint" if best else "are no weights"
        raise RunError(f"{folder}: there {what} yet{why}")
    require_same_run(folder, checkpoint)
    return _of_checkpoint(checkpoint)


def _step_of_final(folder: RunFolder) -> int | None:
    """The step of the final weights: -1 where they do not say it, None where there are none.

    A run that was extended has those of its first end until it has come to its second.
    """
    try:
        step = about_final_weights(folder.model).step
    except FileNotFoundError:
        return None
    return -1 if step is None else step


def _final(folder: RunFolder) -> Weights:
    record = require_config(folder)
    about, weights = read_final_weights(folder.model, record.get("model"), folder.config)
    tokenizer = require_tokenizer(folder, final=about)
    if about.model is not None:
        record = {**record, "model": about.model}
    return Weights(folder.model, weights, folder.config, record, tokenizer)


def settings_of(record: Mapping[str, Any], config: Path) -> TrainConfig:
    """The settings in a run's ``config.json``, all of them resolved.

    Raises:
        CheckpointError: one is absent, unknown, of another type or out of range; ``config`` is for
            the message.
    """
    require_types(record, CONFIG, config)
    try:
        settings = TrainConfig(**checked_names(record.get("train", {}), "train"))
    except ConfigError as error:
        model = record.get("train", {}).get("model")
        if isinstance(model, str) and models.spec_of_preset(model) is None:
            raise CheckpointError(
                f"{config}: there is no model {model!r} here; ${models.files.VARIABLE} names files "
                f"with more"
            ) from error
        raise CheckpointError(f"{config}: {error}") from error
    for name in unresolved(settings):
        raise CheckpointError(f"{config}: train.{name}: expected a value, there is none")
    return settings


def build_model(
    record: Mapping[str, Any], config: Path, weights: Mapping[str, np.ndarray], source: Path
) -> tt.nn.Module:
    """The model that a run's ``config.json`` describes, with these weights.

    Args:
        record: what that file holds, its types checked.
        config, source: where the record and the weights come from, for the message.

    Raises:
        CheckpointError: settings that describe no model, or another one than the weights are of.
    """
    try:
        dtype, described = record["train"]["dtype"], record["model"]
        if dtype not in SETTINGS["dtype"].metadata["choices"]:
            raise ValueError(f"dtype: expected float32 or float64, got {dtype!r}")
        # Before it is built: its size is only a claim of the file.
        values = sum(array.size for array in weights.values())
        require_weights_of(described, len(weights), values, source, config)
    except KeyError as error:
        raise CheckpointError(f"{config}: expected the key {error}") from error
    except CheckpointError:
        raise
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{config}: {error}") from error
    with memory_for(f"making the model of {source}"):
        model = models.from_config(described, dtype=getattr(tt, dtype))
        require_same_arrays(weights, model.state_dict(), source)
        try:
            model.load_state_dict(weights)
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(f"{source}: {error}") from error
    return model
