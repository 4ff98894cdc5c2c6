"""A trained model from its run folder: the final weights, or the newest checkpoint before that."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import tinytape as tt

from .. import models
from ..data import CharTokenizer
from .arrays import require_finite, require_same_arrays, unpack_arrays
from .checkpoint import Checkpoint, latest_checkpoint, load_checkpoint, step_of
from .errors import CheckpointError, RunError
from .run_folder import RunFolder


def load_run(
    run: str | os.PathLike[str], *, best: bool = False, threads: int | None = None
) -> tuple[tt.nn.Module, CharTokenizer]:
    """Return the model of a run, in evaluation mode, and its tokenizer.

    Args:
        run: a run folder, or one checkpoint folder inside it.
        best: take the weights of the lowest held-out loss instead of the last ones.
        threads: as in ``set_num_threads``.

    Raises:
        RunError: no run there, or no weights yet.
        CheckpointError: weights that do not belong to the run's config, or are not finite.
        DataError: the tokenizer is absent or broken.
    """
    path = Path(run)
    checkpoint: Checkpoint | None = None
    if _is_checkpoint(path):
        if best:
            raise RunError(f"{path} is one checkpoint; for the best one give the folder of the run")
        checkpoint = load_checkpoint(path.resolve())
        folder = RunFolder(checkpoint.path.parent.parent)
    else:
        folder = RunFolder(path)
        folder.require_run()
    tokenizer = CharTokenizer.load(folder.tokenizer)
    weights: dict[str, Any]
    if checkpoint is None and not best and folder.model.is_file():
        source, record = folder.model, folder.read_config()
        weights = unpack_arrays(source.read_bytes(), source)
        require_finite(weights, source)
    else:
        checkpoint = checkpoint or _newest(folder, best=best)
        source, weights, record = checkpoint.path, checkpoint.model, checkpoint.config
    try:
        model = models.from_config(record["model"], dtype=getattr(tt, record["train"]["dtype"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        where = folder.config if checkpoint is None else source / folder.config.name
        raise RunError(f"{where}: {error}") from error
    if model.config.vocab_size != tokenizer.vocab_size:
        raise RunError(
            f"{folder.tokenizer}: {tokenizer.vocab_size} characters, "
            f"but the model was made for {model.config.vocab_size}"
        )
    require_same_arrays(weights, model.state_dict(), source)
    try:
        model.load_state_dict(weights)
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"{source}: {error}") from error
    if threads is not None:
        tt.set_num_threads(threads)
    return model.eval(), tokenizer


def _newest(folder: RunFolder, *, best: bool) -> Checkpoint:
    """The newest good checkpoint of a run, or its best one."""
    checkpoint, problems = latest_checkpoint(folder.best if best else folder.checkpoints)
    if checkpoint is None:
        why = f" ({'; '.join(problems)})" if problems else ""
        what = "is no best checkpoint" if best else "are no weights"
        raise RunError(f"{folder}: there {what} yet{why}")
    return checkpoint


def _is_checkpoint(path: Path) -> bool:
    """Whether this is named like a checkpoint folder, good or not."""
    try:
        step_of(path.resolve())
    except CheckpointError:
        return False
    return True
