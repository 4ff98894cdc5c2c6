"""A trained model from its run folder: the final weights, or the newest checkpoint before that."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import tinytape as tt

from .. import models
from .._files import read_file
from ..data import CharTokenizer
from .arrays import require_finite, require_same_arrays, unpack_arrays
from .checkpoint import Checkpoint, latest_checkpoint, load_checkpoint
from .config import SETTINGS, TrainConfig, checked_names
from .defaults import unresolved
from .errors import CheckpointError, ConfigError, RunError
from .record_types import CONFIG, require_types
from .run_folder import RunFolder, run_of


def load_run(
    run: str | os.PathLike[str], *, best: bool = False, threads: int | None = None
) -> tuple[tt.nn.Module, CharTokenizer]:
    """Return the model of a run, in evaluation mode, and its tokenizer.

    Args:
        run: a run folder, or one checkpoint folder in it.
        best: take the weights of the lowest held-out loss instead of the last ones.
        threads: as in ``set_num_threads``.

    Raises:
        RunError: no run there, or no weights yet.
        CheckpointError: weights that do not belong to the run's config, or are not finite.
        DataError: the tokenizer is absent or broken.
    """
    path, chosen = run_of(run)
    if chosen is not None and best:
        raise RunError(f"{chosen} is one checkpoint; for the best one give the run's folder")
    folder = RunFolder(path)
    if chosen is None:
        folder.require_run()
    tokenizer = CharTokenizer.load(folder.tokenizer)
    if chosen is None and not best and folder.model.is_file():
        config, record = folder.config, folder.read_config()
        source, weights = folder.model, read_weights(folder.model)
    else:
        checkpoint = load_checkpoint(chosen) if chosen is not None else _newest(folder, best)
        config, record = checkpoint.path / folder.config.name, checkpoint.config
        source, weights = checkpoint.path, checkpoint.model
    require_types(record, CONFIG, config)
    model = build_model(record, config, weights, source)
    if model.config.vocab_size != tokenizer.vocab_size:
        raise RunError(
            f"{folder.tokenizer}: {tokenizer.vocab_size} characters, "
            f"but the model was made for {model.config.vocab_size}"
        )
    if threads is not None:
        tt.set_num_threads(threads)
    return model.eval(), tokenizer


def _newest(folder: RunFolder, best: bool) -> Checkpoint:
    """The newest good checkpoint of a run, or its best one."""
    checkpoint, problems = latest_checkpoint(folder.best if best else folder.checkpoints)
    if checkpoint is None:
        why = f" ({'; '.join(problems)})" if problems else ""
        what = "is no best checkpoint" if best else "are no weights"
        raise RunError(f"{folder}: there {what} yet{why}")
    return checkpoint


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a ``model.safetensors``; CheckpointError unless they are all finite."""
    try:
        data = read_file(path)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    weights = unpack_arrays(data, path)
    require_finite(weights, path)
    return weights


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
        number, values = models.count_parameters(described)
    except KeyError as error:
        raise CheckpointError(f"{config}: expected the key {error}") from error
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{config}: {error}") from error
    there = sum(array.size for array in weights.values())
    # Before it is built: sizes that somebody made up could ask for all the memory there is. What
    # is only a little larger is built, since its names and shapes tell better what differs.
    if number > 2 * len(weights) or values > 2 * there:
        raise CheckpointError(
            f"{source}: {len(weights)} arrays of {there} values in all, but {config} describes a "
            f"model of {number} arrays and {values} values"
        )
    model = models.from_config(described, dtype=getattr(tt, dtype))
    require_same_arrays(weights, model.state_dict(), source)
    try:
        model.load_state_dict(weights)
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"{source}: {error}") from error
    return model
