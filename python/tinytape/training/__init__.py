"""Training: settings, the loop, checkpoints, run folders. ``train`` and ``resume`` do the work."""

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
