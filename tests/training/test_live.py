"""Readers of a run that goes on: its rotation removes what they were about to read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinytape import checkpoint as command
from tinytape import generate
from tinytape._files import discard_folder, publish_folder
from tinytape.training import CheckpointError, RunError, load_checkpoint, load_run
from tinytape.training import checkpoint as module
from tinytape.training.checkpoint import ATTEMPTS, latest_checkpoint, list_checkpoints
from tinytape.training.run_folder import RunFolder
from tinytape.training.run_state import look_at
from tinytape.training.starting_point import find_start
from tinytape.training.verify import listed, verify

from ..soak._miniature import write_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("miniature")
    write_run(folder, (1, 2, 3, 4))
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> RunFolder:
    """A run that goes on, with checkpoints of steps 1 and 2; those of 3 and 4 are still to come."""
    folder = RunFolder(shutil.copytree(made, tmp_path / "run"))
    folder.model.unlink()
    for step in (3, 4):
        discard_folder(folder.checkpoints / f"step-{step:08d}")
    return folder


class GoesOn:
    """The run saves its next checkpoints and removes those before, whenever a reader comes to a
    file of this name."""

    def __init__(self, run: RunFolder, made: Path, name: str, steps: list[int]) -> None:
        self.run, self.made, self.name, self.steps = run, made, name, steps
        self.real: Callable[..., Any] = os.open

    def save(self) -> None:
        new = self.made / "checkpoints" / f"step-{self.steps.pop(0):08d}"
        publish_folder(
            self.run.checkpoints / new.name, {p.name: p.read_bytes() for p in new.iterdir()}
        )
        for old in list_checkpoints(self.run.checkpoints)[1:]:
            discard_folder(old)

    def __call__(self, path: Any, flags: int, *rest: Any, **named: Any) -> int:
        here = str(path).startswith(f"{self.run.checkpoints}{os.sep}step-")
        if here and Path(path).name == self.name and self.steps:
            names, self.name = self.name, ""  # what is saved now is not to be noticed
            self.save()
            self.name = names
        return self.real(path, flags, *rest, **named)


READ = ("MANIFEST.json", "state.json", "model.safetensors", "train_state.safetensors")


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("steps", [[3], [3, 4]])
def test_a_reader_goes_on_with_what_is_the_newest_by_then(
    run: RunFolder, made: Path, monkeypatch: pytest.MonkeyPatch, name: str, steps: list[int]
) -> None:
    last = steps[-1]
    monkeypatch.setattr(os, "open", GoesOn(run, made, name, list(steps)))
    found, problems = latest_checkpoint(run.checkpoints)
    assert found is not None and found.step == last and problems == []


@pytest.mark.parametrize("name", READ)
def test_generate_verify_and_list(
    run: RunFolder,
    made: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for again in (
        lambda: generate.main([str(run.path), "--prompt", "a", "--tokens", "3"]),
        lambda: command.main(["verify", str(run.path)]),
        lambda: command.main(["list", str(run.path)]),
        lambda: command.main(["show", str(run.path)]),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", GoesOn(run, made, name, [3, 4]))
            assert again() == 0
        captured = capsys.readouterr()
        assert captured.err == "" and "damaged" not in captured.out, captured


@pytest.mark.parametrize("name", READ)
def test_a_branch_begins_at_what_is_the_newest_by_then(
    run: RunFolder, made: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """``--resume RUN --out OTHER``, while RUN goes on."""
    state = look_at(run)
    monkeypatch.setattr(os, "open", GoesOn(run, made, name, [3, 4]))
    start = find_start(state)
    assert start.checkpoint is not None and start.checkpoint.step == 4 and not start.problems


def test_what_was_removed_is_left_out(
    run: RunFolder, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is removed between the listing and the first look at it."""
    real = module.list_checkpoints
    first = [True]

    def listing(folder: Path) -> list[Path]:
        paths = real(folder)
        if first and folder == run.checkpoints:
            first.clear()
            GoesOn(run, made, "", [3]).save()
        return paths

    monkeypatch.setattr("tinytape.training.verify.list_checkpoints", listing)
    rows = listed(list(verify(run.path)))
    assert [(row["step"], row["problem"], row["latest"]) for row in rows] == [(3, None, True)]
    first.append(True)
    monkeypatch.setattr(module, "list_checkpoints", listing)
    found, problems = latest_checkpoint(run.checkpoints)
    assert found is not None and found.step == 3 and problems == []


def test_one_that_is_written_anew_is_not_called_damaged(
    run: RunFolder, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest of the old one, the files of the new."""
    path = run.checkpoints / "step-00000002"
    other = load_checkpoint(path)
    other.state["counters"]["seconds"] += 1.0
    real, again = os.open, [True]

    def opening(name: Any, *rest: Any, **named: Any) -> int:
        if again and name == os.fspath(path / "state.json"):
            again.clear()
            module.save_checkpoint(
                run.checkpoints,
                2,
                model=other.model,
                arrays=other.arrays,
                state=other.state,
                config=other.config,
                env=other.env,
                tokenizer=other.tokenizer,
            )
        return real(name, *rest, **named)

    monkeypatch.setattr(os, "open", opening)
    found, problems = latest_checkpoint(run.checkpoints)
    assert problems == [] and found is not None and not again
    assert found.state["counters"] == other.state["counters"]


def test_there_is_an_end_to_it(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that saves faster than anybody reads: no endless loop, and no "no weights yet"."""
    calls = []

    def removed(path: Path) -> Any:
        calls.append(path)
        path.rename(path.with_name(".aside"))
        shutil.copytree(path.with_name(".aside"), path)
        shutil.rmtree(path.with_name(".aside"))
        raise CheckpointError("planted")

    monkeypatch.setattr(module, "load_checkpoint", removed)
    with pytest.raises(CheckpointError, match="was removed by the run that writes there"):
        load_run(run.path)
    assert len(calls) == ATTEMPTS


def test_what_is_damaged_is_still_said(run: RunFolder) -> None:
    (run.checkpoints / "step-00000002" / "state.json").write_bytes(b"{}")
    found, problems = latest_checkpoint(run.checkpoints)
    assert found is not None and found.step == 1 and len(problems) == 1
    shutil.rmtree(run.checkpoints)
    with pytest.raises(RunError, match="there are no weights yet"):
        load_run(run.path)
    run.checkpoints.symlink_to("/nowhere/at/all")
    with pytest.raises(RunError, match="checkpoints is a link to /nowhere/at/all, which is not"):
        load_run(run.path)
