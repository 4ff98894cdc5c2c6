"""Where a run goes on, and that nothing is lost where it cannot."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinytape import train as train_command
from tinytape.training import (
    CheckpointError,
    RunError,
    RunFolder,
    TrainConfig,
    load_checkpoint,
    loop,
    resume,
    train,
)
from tinytape.training.checkpoint import list_checkpoints
from tinytape.training.curve import _best
from tinytape.training.progress import Console

ITERS = 6


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(1)
    path = tmp_path_factory.mktemp("corpus") / "noise.txt"
    path.write_text("".join(chr(97 + int(i)) for i in rng.integers(0, 20, 1500)))
    return path


def settings(text: Path, out: Path, **changes: Any) -> TrainConfig:
    given = {
        "model": "tiny",
        "data": str(text),
        "out": str(out),
        "iters": ITERS,
        "batch_size": 1,
        "schedule": "constant",
        "warmup": 0,
        "eval_interval": 2,
        "checkpoint_interval": 2,
        "keep": 9,
        **changes,
    }
    return TrainConfig(**given)


def silent() -> Console:
    return Console(io.StringIO())


@pytest.fixture(scope="module")
def whole(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing happened to."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert train(settings(text, out), console=silent()).exit_code == 0
    return out


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> RunFolder:
    """One to do something to."""
    shutil.copytree(whole, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def sha256(run: Path) -> str:
    return hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()


def losses(run: Path) -> list[tuple[int, float]]:
    return [(m["step"], m["val_loss"]) for m in RunFolder(run).read_metrics()]


def tree(path: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(p.relative_to(path)): (p.lstat().st_mtime_ns, p.read_bytes() if p.is_file() else b"")
        for p in path.rglob("*")
    }


def same_as(run: Path, whole: Path) -> bool:
    return sha256(run) == sha256(whole) and losses(run) == losses(whole)


# A run that never came to a checkpoint


def test_a_run_of_which_nothing_is_there_begins(run: RunFolder, whole: Path) -> None:
    for directory in run.checkpoint_folders:
        shutil.rmtree(directory)
    run.model.unlink()
    run.metrics.unlink()
    assert train_command.main(["--resume", str(run)]) == 0
    assert same_as(run.path, whole)


def test_the_best_serves_where_nothing_comes_after_it(run: RunFolder, whole: Path) -> None:
    """A kill between the first evaluation and the first checkpoint leaves this."""
    shutil.rmtree(run.best)
    run.best.mkdir()
    (run.checkpoints / "step-00000000").rename(run.best / "step-00000000")
    shutil.rmtree(run.checkpoints)
    run.model.unlink()
    first = run.metrics.read_text().splitlines(True)[0]
    run.metrics.write_text(first)
    done = resume(run, {}, console=silent())
    assert done.exit_code == 0 and same_as(run.path, whole)
    assert run.metrics.read_text().startswith(first)


# One whose checkpoints are lost


def test_a_run_whose_checkpoints_are_gone_is_left_alone(run: RunFolder) -> None:
    shutil.rmtree(run.best)
    (run.checkpoints / "step-00000002").rename(run.path / "best")
    (run.best / "step-00000002").mkdir()
    for path in list(run.best.iterdir()):
        if path.is_file():
            path.rename(run.best / "step-00000002" / path.name)
    shutil.rmtree(run.checkpoints)
    before = tree(run.path)
    with pytest.raises(RunError, match="no checkpoint to go on from") as error:
        resume(run, {}, console=silent())
    said = str(error.value)
    out = f"{run}-2"
    assert f"python -m tinytape.train --resume {run.best / 'step-00000002'} --out {out}" in said
    assert f"python -m tinytape.generate {run}" in said
    assert f"evaluations up to step {ITERS}" in said
    assert tree(run.path) == before


def test_renamed_checkpoints_are_named(
    run: RunFolder, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in list_checkpoints(run.checkpoints):
        path.rename(run.checkpoints / f"copy of {path.name}")
    before = tree(run.path)
    assert train_command.main(["--resume", str(run)]) == 2
    assert tree(run.path) == before
    said = capsys.readouterr().err
    for step in (0, 2, 4, ITERS):
        assert f"copy of step-{step:08d}, of step {step}: " in said
    for command in re.findall("python -m tinytape.train [^;]*", said):
        assert train_command.main(shlex.split(command)[3:]) == 0
        assert sha256(Path(f"{run}-2")) == sha256(whole)
        shutil.rmtree(f"{run}-2")
    assert tree(run.path) == before


def test_a_link_to_nothing_is_said(run: RunFolder, tmp_path: Path) -> None:
    run.checkpoints.rename(tmp_path / "disk")
    run.checkpoints.symlink_to(tmp_path / "not mounted")
    before = tree(tmp_path)
    with pytest.raises(RunError, match=r"is a link to .*not mounted, which is not there"):
        resume(run, {}, console=silent())
    assert tree(tmp_path) == before
    (tmp_path / "disk").rename(tmp_path / "not mounted")
    assert resume(run, {}, console=silent()).exit_code == 0


def test_damaged_checkpoints_beside_a_good_best(run: RunFolder) -> None:
    for path in list_checkpoints(run.checkpoints):
        (path / "state.json").unlink()
    before = tree(run.path)
    with pytest.raises(CheckpointError, match=r"no checkpoint is good .* --resume \S*/best/step"):
        resume(run, {}, console=silent())
    assert tree(run.path) == before


def test_inside_of_a_checkpoint(
    run: RunFolder, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = run.checkpoints / f"step-{ITERS:08d}"
    run.model.unlink()
    monkeypatch.chdir(newest)
    assert train_command.main(["--resume", "."]) == 0
    assert same_as(run.path, whole)
    assert {p.name for p in newest.iterdir()} == {
        p.name for p in (whole / "checkpoints" / newest.name).iterdir()
    }


def test_a_checkpoint_alone_goes_on_elsewhere(run: RunFolder, whole: Path, tmp_path: Path) -> None:
    alone = (run.checkpoints / "step-00000004").rename(tmp_path / "step-00000004")
    (tmp_path / "metrics.jsonl").write_text("somebody's, not JSON\nat all\n")
    assert train_command.main(["--resume", str(alone)]) == 2
    out = tmp_path / "branch"
    assert train_command.main(["--resume", str(alone), "--out", str(out)]) == 0
    assert sha256(out) == sha256(whole)


# Others


def test_a_branch_saves_before_it_goes_on(run: RunFolder, monkeypatch: Any) -> None:
    """Killed right after it began, it is no run of nothing."""
    out = run.path.with_name("branch")
    old = run.checkpoints / "step-00000004"
    with monkeypatch.context() as patched:
        patched.setattr(loop, "_run", lambda *args, **named: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            resume(run, {"out": str(out)}, checkpoint=old, console=silent())
    assert json.loads((out / "config.json").read_text())["origin"] == str(old)
    before = tree(out)
    with pytest.raises(RunError, match=f"its origin, {old}, to begin with again"):
        resume(RunFolder(out), {}, console=silent())
    assert tree(out) == before
    with monkeypatch.context() as patched:
        patched.setattr(loop, "train_step", lambda *args, **named: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            resume(run, {"out": str(out)}, checkpoint=old, overwrite=True, console=silent())
    assert [p.name for p in list_checkpoints(RunFolder(out).checkpoints)] == ["step-00000004"]
    resume(RunFolder(out), {}, console=silent())
    assert losses(out) == losses(run.path)


def test_another_text_has_a_best_of_its_own(run: RunFolder, text: Path, tmp_path: Path) -> None:
    """Its losses are higher than any before; what was best stays, under another name."""
    other = tmp_path / "other.txt"
    rng = np.random.default_rng(2)
    other.write_text(text.read_text()[::7] + "".join(rng.permutation(list(text.read_text()))))
    before = losses(run.path)
    (best,) = list_checkpoints(run.best)
    record = load_checkpoint(run.checkpoints / f"step-{ITERS:08d}").state["counters"]
    changes = {"data": str(other), "iters": ITERS + 4}
    output = io.StringIO()
    done = resume(run, changes, allow_change=["data"], console=Console(output))
    counters, after = done.session.counters, losses(run.path)
    assert after[: len(before)] == before
    new = after[len(before) :]
    assert [step for step, _ in new] == [ITERS, ITERS + 2, ITERS + 4]
    assert counters.best_loss == min(loss for _, loss in new) != record["best_loss"]
    assert counters.best_step in {step for step, _ in new}
    (now,) = list_checkpoints(run.best)
    assert load_checkpoint(now).state["data"]["sha256"] == done.session.corpus.sha256
    kept = run.path / "best-noise" / best.name
    assert load_checkpoint(kept).state["counters"]["best_loss"] == record["best_loss"]
    assert str(kept) in output.getvalue()
    metrics = run.read_metrics()
    assert metrics[_best(metrics)]["val_loss"] == counters.best_loss
    # Into another folder, what was best stays where it is.
    shutil.rmtree(run.best)
    done = resume(
        run,
        {**changes, "out": str(tmp_path / "branch")},
        allow_change=["data"],
        checkpoint=run.checkpoints / f"step-{ITERS:08d}",
        console=silent(),
    )
    assert done.session.counters.best_loss == counters.best_loss


def test_settings_that_change_the_result_take_nothing_away(run: RunFolder) -> None:
    """The newest checkpoint is gone: what came after the one before would not come again."""
    shutil.rmtree(run.checkpoints / f"step-{ITERS:08d}")
    before = tree(run.path)
    with pytest.raises(RunError, match=r"evaluations up to step 6 .*final weights.*add --out"):
        resume(run, {"lr": 0.1}, allow_change=["lr"], console=silent())
    assert tree(run.path) == before


# Overwriting


def test_the_run_before_is_kept_until_there_is_a_checkpoint(
    run: RunFolder, text: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = run.path / "before-overwrite-1"
    before = {name: about[1] for name, about in tree(run.path).items()}
    with monkeypatch.context() as patched:
        patched.setattr(loop, "_run", lambda *args, **named: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(settings(text, run.path, seed=2), overwrite=True, console=silent())
    assert {name: about[1] for name, about in tree(old).items()} == before
    # Again, since it has not come to anything: both are kept.
    output = io.StringIO()
    with monkeypatch.context() as patched:
        patched.setattr(loop, "_evaluate", lambda *args, **named: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(settings(text, run.path, seed=2), overwrite=True, console=Console(output))
    assert f"kept in {run.path}/before-overwrite-2 until" in output.getvalue()
    assert {name: about[1] for name, about in tree(old).items()} == before
    with pytest.raises(RunError, match="is kept until the run in"):
        resume(RunFolder(old), {}, console=silent())
    away = {"out": str(run.path.with_name("away"))}  # a run like any other until then
    assert resume(RunFolder(old), away, console=silent()).exit_code == 0
    resume(run, {}, console=silent())
    assert sorted(p.name for p in run.path.iterdir()) == sorted(p.name for p in whole.iterdir())
    assert not same_as(run.path, whole)


def test_a_link_stays_a_link(run: RunFolder, text: Path, tmp_path: Path) -> None:
    """The old steps are higher than any of the new run."""
    run.checkpoints.rename(tmp_path / "disk")
    run.checkpoints.symlink_to("../disk")
    done = train(settings(text, run.path, iters=3, keep=1), overwrite=True, console=silent())
    assert run.checkpoints.is_symlink()
    assert [p.name for p in (tmp_path / "disk").iterdir()] == ["step-00000003"]
    assert resume(run, {}, console=silent()).session.counters.step == 3 and done.exit_code == 0


def test_what_came_later_is_not_overwritten_from_far_back(run: RunFolder) -> None:
    """All but an early checkpoint are gone: more than a kill, or one damaged disk, explains."""
    for step in (4, ITERS):
        shutil.rmtree(run.checkpoints / f"step-{step:08d}")
    before = tree(run.path)
    with pytest.raises(RunError, match=r"evaluations up to step 6 .*add --out"):
        resume(run, {}, console=silent())
    assert tree(run.path) == before


def test_a_later_best_stays_until_the_run_comes_there_again(
    run: RunFolder, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two damaged checkpoints: the run goes on from the one before, and is stopped on its way."""
    (best,) = list_checkpoints(run.best)
    step = int(best.name[5:])
    for path in list_checkpoints(run.checkpoints)[:2]:
        (path / "state.json").unlink()
    real = loop.train_step

    def one(session: Any, *args: Any, **named: Any) -> Any:
        if session.counters.step == 3:
            raise ZeroDivisionError
        return real(session, *args, **named)

    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr(loop, "train_step", one)
        resume(run, {}, console=silent())
    if step >= 3:
        assert best in list_checkpoints(run.best)
    resume(run, {}, console=silent())
    assert same_as(run.path, whole)
    assert [p.name for p in list_checkpoints(run.best)] == [best.name]


def test_good_checkpoints_without_settings_are_named(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    run.config.unlink()
    before = tree(run.path)
    assert train_command.main(["--resume", str(run)]) == 2
    assert tree(run.path) == before
    command = capsys.readouterr().err.split("python -m tinytape.train ")[1]
    assert train_command.main(shlex.split(command)) == 0
    assert sha256(Path(f"{run}-2")) == sha256(run.path)
