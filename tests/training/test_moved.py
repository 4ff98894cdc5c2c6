"""A folder that is moved, removed or replaced while its run trains."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinytape import train as train_command
from tinytape.training import RunFolder, loop, resume, saving, train
from tinytape.training.checkpoint import list_checkpoints
from tinytape.training.errors import FolderGoneError
from tinytape.training.progress import Console

from .test_resume_places import same_as, settings, silent, text, whole

__all__ = ["text", "whole"]  # fixtures


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], None]) -> None:
    """Do something while a step is under way, once."""
    real, left = loop.train_step, [act]

    def one(session: Any, *args: Any, **named: Any) -> Any:
        if session.counters.step == step and left:
            left.pop()()
        return real(session, *args, **named)

    monkeypatch.setattr(loop, "train_step", one)


def test_a_run_goes_after_its_folder(
    text: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, moved = tmp_path / "run", tmp_path / "kept here"

    def move() -> None:
        out.rename(moved)
        out.mkdir()  # a second run may begin there
        (out / "thesis.tex").write_text("precious")

    at_step(monkeypatch, 3, move)
    output = io.StringIO()
    done = train(settings(text, out), console=Console(output))
    assert done.exit_code == 0 and done.folder.path == moved
    assert f"{out} was moved to {moved}: going on there" in output.getvalue()
    assert f"python -m tinytape.generate '{moved}'" in output.getvalue()
    assert same_as(moved, whole)
    assert [p.name for p in out.iterdir()] == ["thesis.tex"]


def test_a_folder_that_is_moved_while_a_checkpoint_is_written(
    text: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, moved = tmp_path / "run", tmp_path / "moved"
    real = saving.save_checkpoint

    def save(where: Path, step: int, **named: Any) -> Path:
        if step == 4 and out.is_dir():
            (where / ".tmp-step-00000004-1").mkdir()
            out.rename(moved)
            raise FileNotFoundError(f"{where} is gone")
        return real(where, step, **named)

    monkeypatch.setattr(saving, "save_checkpoint", save)
    assert train(settings(text, out), console=silent()).exit_code == 0
    assert same_as(moved, whole) and not out.exists()
    assert not list(moved.rglob(".tmp-*"))


@pytest.mark.parametrize("again", [False, True])
def test_a_run_without_a_folder_ends(
    text: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    again: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"

    def remove() -> None:
        shutil.rmtree(out)
        if again:
            out.mkdir()

    at_step(monkeypatch, 3, remove)
    output = io.StringIO()
    with pytest.raises(FolderGoneError, match="was removed while it trained"):
        train(settings(text, out), console=Console(output))
    assert "saved" not in output.getvalue()
    assert list(tmp_path.rglob("*")) == ([out] if again else [])


def test_what_is_removed_of_a_run_is_written_again(
    text: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = RunFolder(tmp_path / "run")

    def remove() -> None:
        shutil.rmtree(out.checkpoints)
        out.config.unlink()
        out.tokenizer.unlink()

    at_step(monkeypatch, 3, remove)
    assert train(settings(text, out.path), console=silent()).exit_code == 0
    assert same_as(out.path, whole)
    assert [p.name for p in list_checkpoints(out.checkpoints)] == ["step-00000006", "step-00000004"]
    assert resume(out, {}, console=silent()).exit_code == 0


def test_a_disk_that_goes_away_is_named(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, disk = RunFolder(tmp_path / "run"), tmp_path / "disk"
    disk.mkdir()
    out.path.mkdir()
    out.checkpoints.symlink_to(disk)
    at_step(monkeypatch, 3, lambda: disk.rename(tmp_path / "unmounted"))
    with pytest.raises(FolderGoneError, match=r"a link to .*disk, which is not there"):
        train(settings(text, out.path), console=silent())
    assert not disk.exists()
    (tmp_path / "unmounted").rename(disk)
    assert resume(out, {}, console=silent()).exit_code == 0


def test_the_working_directory_may_be_rotated_away(
    text: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--resume .`` in a checkpoint that is removed when there are newer ones."""
    out = tmp_path / "run"
    assert train(settings(text, out, iters=2), console=silent()).exit_code == 0
    monkeypatch.chdir(out / "checkpoints" / "step-00000002")
    flags = ["--resume", ".", "--iters", "6", "--keep", "1"]
    assert train_command.main(flags) == 0
    assert not (out / "checkpoints" / "step-00000002").exists()
    assert same_as(out, whole)
