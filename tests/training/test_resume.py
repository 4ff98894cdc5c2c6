"""Resuming is as if nothing had happened: the same weights to the last bit, the same losses."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinytape as tt
from tinytape import train as train_command
from tinytape.data import CharTokenizer, DataError
from tinytape.models.spec import tasks
from tinytape.training import (
    CheckpointError,
    ConfigError,
    RunFolder,
    TrainConfig,
    latest_checkpoint,
    loop,
    resume,
    train,
)
from tinytape.training import step as step_module
from tinytape.training.progress import Console

pytestmark = pytest.mark.slow

ITERS = 24


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(1)
    path = tmp_path_factory.mktemp("corpus") / "noise.txt"
    path.write_text("".join(chr(97 + int(i)) for i in rng.integers(0, 20, 3000)))
    return path


def settings(text: Path, out: Path, **changes: Any) -> TrainConfig:
    return TrainConfig(
        **{
            "model": "tiny",
            "data": str(text),
            "out": str(out),
            "iters": ITERS,
            "batch_size": 2,
            "dropout": 0.2,  # so that the generator is part of what must be right
            "eval_interval": 7,
            "checkpoint_interval": 10,
            **changes,
        }
    )


def silent() -> Console:
    return Console(io.StringIO())


def sha256(run: Path) -> str:
    return hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()


def losses(run: Path) -> list[tuple[int, float | None, float]]:
    return [
        (m["step"], m["train_loss"], m["val_loss"], m["lr"], m["grad_norm"], m["tokens"])
        for m in RunFolder(run).read_metrics()
    ]


@pytest.fixture(scope="module")
def whole(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The uninterrupted run."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert train(settings(text, out), console=silent()).exit_code == 0
    return out


class Interrupt:
    """Sends this process a signal while the given steps are under way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at: int | None = None
        real = loop.train_step

        def step(session: Any, *args: Any, **named: Any) -> float:
            if session.counters.step == self.at:
                signal.raise_signal(signal.SIGINT)
            return real(session, *args, **named)

        monkeypatch.setattr(loop, "train_step", step)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "muon"])
@pytest.mark.parametrize("stops", [[0], [6], [9], [13], [23], [1, 2, 12, 20]])
def test_interrupted_and_resumed_is_the_same_run(
    text: Path,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stops: list[int],
    optimizer: str,
) -> None:
    """Stops before, at and after evaluations (7) and checkpoints (10), and several in one run."""
    if optimizer != "adamw":
        whole = tmp_path / "whole"
        assert train(settings(text, whole, optimizer=optimizer), console=silent()).exit_code == 0
    out = tmp_path / "run"
    interrupt = Interrupt(monkeypatch)
    interrupt.at = stops[0]
    done = train(settings(text, out, optimizer=optimizer), console=silent())
    for stop in [*stops[1:], None]:
        if done.stopped is None:
            break
        assert (done.stopped, done.exit_code) == ("SIGINT", 130)
        assert done.session.counters.step == interrupt.at + 1  # the step in hand was finished
        interrupt.at = stop
        done = resume(RunFolder(out), {}, console=silent())
    assert (done.stopped, done.exit_code) == (None, 0)
    assert sha256(out) == sha256(whole)
    assert losses(out) == losses(whole)


def test_a_kill_costs_only_the_steps_since_the_last_checkpoint(
    text: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is saved at the kill, and the metrics are ahead of the checkpoint."""

    class Killed(BaseException):
        pass

    real = loop.train_step

    def step(session: Any, *args: Any, **named: Any) -> float:
        if session.counters.step == 17:
            raise Killed
        return real(session, *args, **named)

    out = tmp_path / "run"
    monkeypatch.setattr(loop, "train_step", step)
    with pytest.raises(Killed):
        train(settings(text, out), console=silent())
    monkeypatch.undo()
    assert losses(out)[-1][0] == 14
    done = resume(RunFolder(out), {}, console=silent())
    assert done.exit_code == 0
    assert sha256(out) == sha256(whole) and losses(out) == losses(whole)


def test_a_stop_during_an_evaluation_repeats_the_evaluation(
    text: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    real = tasks.held_out_loss

    def evaluate(*arguments: Any) -> float | None:
        if len(losses(out)) == 2:
            signal.raise_signal(signal.SIGTERM)
        return real(*arguments)

    monkeypatch.setattr(tasks, "held_out_loss", evaluate)
    done = train(settings(text, out), console=silent())
    assert (done.stopped, done.exit_code) == ("SIGTERM", 143)
    assert [row[0] for row in losses(out)] == [0, 7]
    assert done.session.counters.step == 14
    monkeypatch.undo()
    resume(RunFolder(out), {}, console=silent())
    assert sha256(out) == sha256(whole) and losses(out) == losses(whole)


def test_a_damaged_checkpoint_is_reported_and_the_one_before_serves(
    text: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    newest = out / "checkpoints" / f"step-{ITERS:08d}" / "train_state.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    (out / "model.safetensors").unlink()
    output = io.StringIO()
    resume(RunFolder(out), {}, console=Console(output))
    assert "skipped a checkpoint" in output.getvalue() and str(newest) in output.getvalue()
    assert "resumed    from step 20" in output.getvalue()
    assert sha256(out) == sha256(whole) and losses(out) == losses(whole)
    latest, problems = latest_checkpoint(out / "checkpoints")
    assert latest is not None and latest.step == ITERS and problems == []


def test_resuming_a_complete_run_changes_nothing(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    (out / "model.safetensors").unlink()  # as if killed between the checkpoint and this file
    resume(RunFolder(out), {}, console=silent())
    assert sha256(out) == sha256(whole) and losses(out) == losses(whole)


def test_threads_change_nothing(text: Path, tmp_path: Path) -> None:
    """Also when the number changes on the way. Large enough for the work to be shared out."""
    outs = [tmp_path / name for name in ("one", "two", "both")]
    before = tt.get_num_threads()
    size = {"model": "small", "batch_size": 12, "iters": 6, "eval_interval": 3}
    try:
        for out, threads in zip(outs, (1, 2, 1), strict=True):
            done = train(
                settings(text, out, threads=threads, checkpoint_interval=3, **size),
                console=silent(),
            )
            assert done.session.config.threads == tt.get_num_threads() == threads
        shutil.rmtree(outs[2] / "checkpoints" / "step-00000006")
        resume(RunFolder(outs[2]), {"threads": 2}, console=silent())
        assert tt.get_num_threads() == 2
    finally:
        tt.set_num_threads(before)
    assert losses(outs[0]) == losses(outs[1]) == losses(outs[2])
    assert sha256(outs[0]) == sha256(outs[1]) == sha256(outs[2])


def test_another_seed_is_another_run(text: Path, whole: Path, tmp_path: Path) -> None:
    train(settings(text, tmp_path / "run", seed=2), console=silent())
    assert sha256(tmp_path / "run") != sha256(whole)


def test_a_longer_constant_run_continues(text: Path, tmp_path: Path) -> None:
    long, short = tmp_path / "long", tmp_path / "short"
    train(settings(text, long, schedule="constant", iters=20, warmup=2), console=silent())
    train(settings(text, short, schedule="constant", iters=10, warmup=2), console=silent())
    resume(RunFolder(short), {"iters": 20}, console=silent())
    assert sha256(short) == sha256(long)


def test_a_stop_between_the_batches_of_a_step(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradients so far are in the checkpoint; the step goes on with the next batch."""
    whole, out = tmp_path / "whole", tmp_path / "run"
    three = {"gradient_accumulation_steps": 3, "iters": 12}
    train(settings(text, whole, **three), console=silent())
    seen = []
    real = step_module.batch_losses

    def batch_losses(session: Any, number: int) -> Any:
        seen.append(number)
        if number in (1, 9, 10, 20, 35):
            signal.raise_signal(signal.SIGTERM)
        return real(session, number)

    monkeypatch.setattr(step_module, "batch_losses", batch_losses)
    done = train(settings(text, out, **three), console=silent())
    positions = []
    while done.stopped:
        positions.append(done.session.position)
        checkpoint, _ = latest_checkpoint(RunFolder(out).checkpoints)
        assert checkpoint is not None
        held = [name for name in checkpoint.arrays if name.startswith("gradient.")]
        assert bool(held) == bool(done.session.counters.micro_step)
        done = resume(RunFolder(out), {}, console=silent())
    assert positions == [(0, 2), (3, 1), (3, 2), (7, 0), (12, 0)][: len(positions)]
    assert len(positions) >= 4
    assert seen == list(range(36))  # each batch once, in order
    assert sha256(out) == sha256(whole) and losses(out) == losses(whole)


def test_an_unfinished_step_keeps_its_number_of_batches(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = step_module.batch_losses

    def batch_losses(session: Any, number: int) -> tt.Tensor:
        signal.raise_signal(signal.SIGTERM)
        return real(session, number)

    monkeypatch.setattr(step_module, "batch_losses", batch_losses)
    done = train(settings(text, tmp_path / "run", gradient_accumulation_steps=3), console=silent())
    assert done.session.position == (0, 1)
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="in the middle of a step, after 1 of 3 batches"):
        resume(
            RunFolder(tmp_path / "run"),
            {"gradient_accumulation_steps": 2},
            allow_change=["gradient_accumulation_steps"],
            console=silent(),
        )


def test_resume_from_any_checkpoint(text: Path, whole: Path, tmp_path: Path) -> None:
    """Into another folder, since the run went on; the same run comes out, and the old one stays."""
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    old = run / "checkpoints" / "step-00000010"
    assert train_command.main(["--resume", str(old)]) == 2  # newer ones are there
    out = tmp_path / "branch"
    for _ in range(2):  # any number of times
        flags = ["--resume", str(old), "--out", str(out), "--overwrite"]
        assert train_command.main(flags) == 0
        assert sha256(out) == sha256(whole) and losses(out) == losses(whole)
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before
    # The newest goes on in its place, and so does the best, in another.
    (run / "model.safetensors").unlink()
    newest = run / "checkpoints" / f"step-{ITERS:08d}"
    assert train_command.main(["--resume", str(newest)]) == 0
    (best,) = (run / "best").iterdir()
    assert train_command.main(["--resume", str(best), "--out", str(out), "--overwrite"]) == 0
    assert sha256(run) == sha256(out) == sha256(whole)


def test_what_may_change_is_said(text: Path, whole: Path, tmp_path: Path) -> None:
    """A rate, the number of steps, the text: the weights go on, the settings are the new ones."""
    run = RunFolder(whole)
    old = whole / "checkpoints" / "step-00000010"
    out = str(tmp_path / "run")
    with pytest.raises(ConfigError, match="unknown setting 'learning_rate'"):
        resume(run, {}, allow_change=["learning_rate"], console=silent())
    changes: dict[str, Any] = {"lr": 0.01, "iters": 40, "schedule": "constant", "out": out}
    with pytest.raises(ConfigError, match=r"another iters.*--allow-change iters"):
        resume(run, changes, checkpoint=old, allow_change=["lr"], console=silent())
    done = resume(
        run, changes, checkpoint=old, allow_change=["lr", "iters", "schedule"], console=silent()
    )
    assert done.session.counters.step == 40
    rates = {m["step"]: m["lr"] for m in done.folder.read_metrics()}
    assert rates[7] < 0.01 and rates[14] == rates[40] == 0.01
    assert done.session.updates.optimizer.param_groups[0]["lr"] == 0.01
    assert RunFolder(out).read_config()["train"]["lr"] == 0.01

    other = tmp_path / "other.txt"
    other.write_text(text.read_text()[::-1])
    changes = {"data": str(other), "out": str(tmp_path / "text")}
    done = resume(run, changes, checkpoint=old, allow_change=["data"], console=silent())
    assert done.session.corpus.text == other.read_text()
    assert done.session.tokenizer.characters == CharTokenizer.load(run.tokenizer).characters
    other.write_text(text.read_text() + "\u00e9")  # a character that the weights do not know
    with pytest.raises(DataError, match="\u00e9"):
        resume(run, changes, checkpoint=old, allow_change=["data"], console=silent())
    with pytest.raises(ConfigError, match=r"or start a new run, .* the weights are those of tiny"):
        resume(
            run,
            {"model": "small", "out": out},
            checkpoint=old,
            allow_change=["model"],
            overwrite=True,
            console=silent(),
        )
    assert RunFolder(out).read_config()["train"]["lr"] == 0.01  # nothing was touched


def test_resume_refuses_other_settings_and_another_text(
    text: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    with pytest.raises(ConfigError, match=r"another lr: the run has 0.002, asked for 0.5"):
        resume(RunFolder(out), {"lr": 0.5}, console=silent())
    with pytest.raises(ConfigError, match="another iters"):
        resume(RunFolder(out), {"iters": 99}, console=silent())
    other = tmp_path / "other.txt"
    # Also with other characters, where no weight would fit: the text is what is said to differ.
    for content in (text.read_text()[::-1], text.read_text() + "\u00e9"):
        other.write_text(content)
        with pytest.raises(ConfigError, match=r"with another text: .*other\.txt is now other with"):
            resume(RunFolder(out), {"data": str(other)}, console=silent())
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    # The same text elsewhere is the same text; and the run may have been moved.
    moved = tmp_path / "moved.txt"
    moved.write_bytes(text.read_bytes())
    (out / "model.safetensors").unlink()
    assert train_command.main(["--resume", str(out), "--data", str(moved)]) == 0
    assert sha256(out) == sha256(whole)


def test_weights_that_do_not_fit_change_nothing(text: Path, whole: Path, tmp_path: Path) -> None:
    """The checks come before the first assignment."""
    from tinytape.training.session import build_session

    checkpoint, _ = latest_checkpoint(whole / "checkpoints")
    assert checkpoint is not None
    session = build_session(checkpoint_config(whole))
    before = {name: tensor.numpy() for name, tensor in session.weights().items()}
    checkpoint.arrays["optimizer.state.head.bias.exp_avg"] = np.zeros(3, np.float32)
    with pytest.raises(CheckpointError, match=r"head\.bias\.exp_avg is float32 of shape \(3,\)"):
        session.restore(checkpoint)
    assert all(np.array_equal(before[n], t.numpy()) for n, t in session.weights().items())


def checkpoint_config(run: Path) -> TrainConfig:
    return TrainConfig(**RunFolder(run).read_config()["train"])


def test_resume_without_a_good_checkpoint(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    for path in (out / "checkpoints").iterdir():
        (path / "state.json").unlink()
    with pytest.raises(CheckpointError, match="no checkpoint is good"):
        resume(RunFolder(out), {}, console=silent())


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_real_signal_to_a_real_process(
    text: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    def command(*flags: str) -> list[str]:
        return [sys.executable, "-m", "tinytape.train", *flags]

    flags = ["--model", "tiny", "--data", str(text), "--iters", "150", "--batch-size", "2"]
    flags += ["--eval-interval", "50", "--checkpoint-interval", "1000", "--dropout", "0.1"]
    out, whole = tmp_path / "run", tmp_path / "whole"
    subprocess.run(command(*flags, "--out", str(whole)), check=True, capture_output=True)
    with subprocess.Popen(
        command(*flags, "--out", str(out)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        while b"step   0/150" not in process.stdout.readline():
            assert process.poll() is None
        time.sleep(0.05)
        process.send_signal(number)
        said = process.stdout.read().decode()
    assert process.returncode == code, said
    assert f"stopped by {number.name} and saved at step" in said
    assert f"python -m tinytape.train --resume {out}" in said
    assert not (out / "model.safetensors").exists()
    done = subprocess.run(command("--resume", str(out)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sha256(out) == sha256(whole) and losses(out) == losses(whole)
