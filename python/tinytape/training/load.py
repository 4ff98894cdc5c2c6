"""A trained model from its run folder: the final weights, or the newest checkpoint before that."""

from __future__ import annotations

import os

import tinytape as tt

from .. import models
from ..data import CharTokenizer
from .arrays import require_finite, require_same_arrays, unpack_arrays
from .checkpoint import latest_checkpoint
from .errors import CheckpointError, RunError
from .run_folder import RunFolder


def load_run(
    run: str | os.PathLike[str], *, threads: int | None = None
) -> tuple[tt.nn.Module, CharTokenizer]:
    """Return the model of a run, in evaluation mode, and its tokenizer.

    Raises:
        RunError: no run there, or no weights yet.
        CheckpointError: weights that do not belong to the run's config, or are not finite.
        DataError: the tokenizer is absent or broken.
    """
    folder = RunFolder(run)
    record = folder.read_config()
    tokenizer = CharTokenizer.load(folder.tokenizer)
    if folder.model.is_file():
        source = folder.model
        weights = unpack_arrays(source.read_bytes(), source)
        require_finite(weights, source)
    else:
        checkpoint, problems = latest_checkpoint(folder.checkpoints)
        if checkpoint is None:
            why = f" ({'; '.join(problems)})" if problems else ""
            raise RunError(f"{folder}: there are no weights yet{why}")
        source, weights = checkpoint.path, checkpoint.model
    try:
        model = models.from_config(record["model"], dtype=getattr(tt, record["train"]["dtype"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{folder.config}: {error}") from error
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
