"""Which weights a run is asked for: the last, the best, or those of one checkpoint."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest

import tinytape as tt
from tinytape.training import (
    CheckpointError,
    RunError,
    RunFolder,
    TrainConfig,
    load_checkpoint,
    load_run,
    train,
)
from tinytape.training.progress import Console


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run whose best step is not its last: from step 2 on the learning rate is far too high."""
    scratch = tmp_path_factory.mktemp("run")
    (scratch / "text.txt").write_text("to be or not to be, that is the question.\n" * 30)
    settings = TrainConfig(
        model="tiny",
        data=str(scratch / "text.txt"),
        out=str(scratch / "run"),
        iters=5,
        batch_size=1,
        eval_interval=1,
        checkpoint_interval=1,
        keep=5,
        lr=2.0,
        warmup=4,
        clip=0.0,
        optimizer="sgd",
        schedule="constant",
    )
    train(settings, console=Console(io.StringIO()))
    return RunFolder(settings.out)


def same(model: tt.nn.Module, checkpoint: Path) -> bool:
    weights = load_checkpoint(checkpoint).model
    return all(np.array_equal(t.numpy(), weights[name]) for name, t in model.state_dict().items())


def test_the_last_weights_the_best_and_those_of_one_step(run: RunFolder) -> None:
    losses = {r["step"]: r["val_loss"] for r in run.read_metrics()}
    best = min(losses, key=losses.__getitem__)
    assert best < 5, losses
    step = run.checkpoints / "step-00000001"
    assert same(load_run(run.path)[0], run.checkpoints / "step-00000005")
    assert same(load_run(run.path, best=True)[0], run.best / f"step-{best:08d}")
    assert same(load_run(step)[0], step)
    assert same(load_run(run.best / f"step-{best:08d}")[0], run.best / f"step-{best:08d}")


def test_one_checkpoint_has_no_best(run: RunFolder) -> None:
    with pytest.raises(RunError, match="step-00000001 is one checkpoint; for the best one give"):
        load_run(run.checkpoints / "step-00000001", best=True)


def test_what_is_not_there_is_named(run: RunFolder, tmp_path: Path) -> None:
    copy = RunFolder(tmp_path / "copy")
    shutil.copytree(run.path, copy.path)
    shutil.rmtree(copy.best)
    with pytest.raises(RunError, match="copy: there is no best checkpoint yet"):
        load_run(copy.path, best=True)
    with pytest.raises(CheckpointError, match="step-00000099"):
        load_run(copy.checkpoints / "step-00000099")
    (copy.checkpoints / "step-00000001" / "model.safetensors").write_bytes(b"rubbish")
    with pytest.raises(CheckpointError, match="step-00000001"):
        load_run(copy.checkpoints / "step-00000001")
