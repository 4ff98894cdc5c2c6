"""Training: settings, the loop, checkpoints, run folders. ``train`` and ``resume`` do the work.

>>> import io
>>> from pathlib import Path
>>> from tinytape.training import TrainConfig, load_run, train
>>> from tinytape.training.progress import Console
>>> Path("text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 40)
1800
>>> config = TrainConfig(
...     data="./text.txt", out="runs/fox", model="tiny", context=16, batch_size=2, iters=2
... )
>>> outcome = train(config, console=Console(io.StringIO()))
>>> outcome.exit_code, len(outcome.folder.read_metrics())
(0, 2)
>>> model, tokenizer = load_run("runs/fox")
>>> tokenizer.vocab_size
28

The examples of the modules here use such a run, in ``runs/demo``.
"""

from ..models.spec import held_out_loss
from .checkpoint import Checkpoint, latest_checkpoint, load_checkpoint, save_checkpoint
from .config import TrainConfig
from .defaults import resolve
from .errors import (
    CheckpointError,
    ConfigError,
    MissingExtraError,
    MissingGradientError,
    RunError,
)
from .load import load_run
from .loop import Outcome, resume, train
from .run_folder import RunFolder

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "ConfigError",
    "MissingExtraError",
    "MissingGradientError",
    "Outcome",
    "RunError",
    "RunFolder",
    "TrainConfig",
    "held_out_loss",
    "latest_checkpoint",
    "load_checkpoint",
    "load_run",
    "resolve",
    "resume",
    "save_checkpoint",
    "train",
]
