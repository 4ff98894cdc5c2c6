"""Whether the files beside a run's checkpoints are as they were written, and belong to them.

>>> from tinytape.training.belonging import require_same_run
>>> from tinytape.training import RunFolder, latest_checkpoint
>>> folder = RunFolder("runs/demo")
>>> checkpoint, problems = latest_checkpoint(folder.checkpoints)
>>> require_same_run(folder, checkpoint)  # raises nothing: they belong together
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._files import read_file
from ..data import CharTokenizer, DataError
from .checkpoint import Checkpoint
from .errors import CheckpointError
from .final_weights import About, tokenizer_digest
from .json_records import RECORD_LIMIT
from .record_types import CONFIG, require_types
from .run_config import states_digest
from .run_folder import RunFolder


def require_same_run(folder: RunFolder, checkpoint: Checkpoint) -> None:
    """Check that config and tokenizer of a run are those of its checkpoint.

    Raises:
        CheckpointError: they are not.
        DataError: the tokenizer is absent, or no tokenizer.
        OSError: a file cannot be read.
    """
    require_config(folder, checkpoint)
    require_tokenizer(folder, checkpoint)


def require_config(folder: RunFolder, checkpoint: Checkpoint | None = None) -> dict[str, Any]:
    """``config.json``, checked to be as it was written.

    Settings may have been changed since the checkpoint, so only a file that has no digest is
    compared with it.

    Raises:
        CheckpointError: it is damaged, or was edited.
        OSError: it cannot be read.
    """
    record = folder.read_config()
    require_types(record, CONFIG, folder.config)
    if checkpoint is not None and not states_digest(read_file(folder.config, RECORD_LIMIT)):
        found, expected = record.get("model", {}), checkpoint.config.get("model", {})
        if found != expected:
            raise CheckpointError(
                f"{folder.config}: model: {_differences(found, expected)} as in {checkpoint.path}"
            )
    return record


def require_tokenizer(
    folder: RunFolder, checkpoint: Checkpoint | None = None, final: About | None = None
) -> CharTokenizer:
    """``tokenizer.json``, checked to be that of a checkpoint and of the final weights.

    Raises:
        CheckpointError: it is not.
        DataError: it is absent, or no tokenizer.
        OSError: it cannot be read.
    """
    own = None if checkpoint is None else checkpoint.tokenizer
    good = "" if own is None else f"; {checkpoint.path} has a good copy"  # type: ignore[union-attr]
    try:
        tokenizer = CharTokenizer.load(folder.tokenizer)
        data = read_file(folder.tokenizer, RECORD_LIMIT)
    except DataError as error:
        raise DataError(f"{error}{good}") from error
    if own is not None and data != own.to_json().encode():
        raise CheckpointError(f"{folder.tokenizer}: not as it was written{good}")
    if final is not None and final.tokenizer not in (None, tokenizer_digest(tokenizer)):
        raise CheckpointError(
            f"{folder.tokenizer}: not the tokenizer that the weights in {folder.model} are for"
        )
    return tokenizer


def _differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} is {found.get(name)!r:.40}, expected {expected.get(name)!r:.40}"
        for name in sorted({*found, *expected})
        if found.get(name) != expected.get(name)
    )
