"""A new run needs a place: what is somebody else's stays, and what a run left moves aside."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinytape._files import discard_folder
from tinytape.training import saving
from tinytape.training.claim import claim
from tinytape.training.errors import RunError
from tinytape.training.replaced import discard, kept, put_back
from tinytape.training.run_folder import RunFolder, is_run
from tinytape.training.run_state import link_problem

RECORD = {"format": "tinytape-run", "version": 1, "train": {"iters": 9}, "model": {}, "corpus": {}}


def say(text: str) -> None:
    pass


def a_run(path: Path) -> RunFolder:
    """All that a run writes, by the names alone, but for settings that show whose it is."""
    folder = RunFolder(path)
    for directory in folder.checkpoint_folders:
        (directory / "step-00000001").mkdir(parents=True)
        (directory / "step-00000001" / "MANIFEST.json").write_text("{}")
    for file in folder.files:
        file.write_text("{}")
    folder.metrics.write_text("")
    folder.write_config(RECORD)
    return folder


def tree(path: Path) -> dict[str, tuple[int, str]]:
    """Everything in a folder with its time and what it holds or leads to."""
    return {
        str(p.relative_to(path)): (
            p.lstat().st_mtime_ns,
            os.readlink(p) if p.is_symlink() else p.read_text() if p.is_file() else "",
        )
        for p in path.rglob("*")
    }


def test_a_new_run_needs_an_empty_place(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "runs" / "a")
    with folder.held():
        claim(folder, say, overwrite=False)
        claim(folder, say, overwrite=False)  # empty is fine
        folder.write_config(RECORD)
        with pytest.raises(RunError, match="holds a run already; add --resume"):
            claim(folder, say, overwrite=False)


def _nothing_to_write(path: Path) -> None:
    (path / "thesis.tex").write_text("precious")


def _own_names(path: Path) -> None:
    a_run(path).config.unlink()


def _gpt2(path: Path) -> None:
    a_run(path).config.write_text('{"architectures": ["GPT2LMHeadModel"], "vocab_size": 50257}')


def _damaged(path: Path) -> None:
    folder = a_run(path)
    folder.config.write_bytes(folder.config.read_bytes()[:-9])


def _later_version(path: Path) -> None:
    a_run(path).write_config({**RECORD, "version": 99})


def _settings_that_are_none(path: Path) -> None:
    a_run(path).write_config({**RECORD, "train": [1]})


def _less(path: Path) -> None:
    a_run(path).write_config({"format": "tinytape-run", "version": 1})


def _a_checkpoint(path: Path) -> None:
    a_run(path)
    (path / "MANIFEST.json").write_text("{}")


def _a_file(name: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        (path / name).write_text("precious")

    return make


def _checkpoints_of_another(path: Path) -> None:
    (path / "checkpoints").mkdir()
    (path / "checkpoints" / "epoch-3.pt").write_text("precious")


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_nothing_to_write, r"holds 'thesis\.tex' and is not a run"),
        (_own_names, "and is not a run"),
        (_gpt2, r'config\.json is not that of a run \(no "format": "tinytape-run"\)'),
        (_damaged, r"config\.json"),
        (_later_version, "version"),
        (_settings_that_are_none, "train: expected an object"),
        (_less, "no 'train'"),
        (_a_checkpoint, "is a checkpoint"),
        (_a_file("model.safetensors"), r"holds 'model\.safetensors' and is not a run"),
        (_a_file("tokenizer.json"), r"holds 'tokenizer\.json' and is not a run"),
        (_a_file("metrics.jsonl"), r"holds 'metrics\.jsonl' and is not a run"),
        (_a_file("best"), r"best is a file"),
        (_checkpoints_of_another, r"holds 'checkpoints/epoch-3\.pt' and is not a run"),
    ],
)
def test_what_is_not_a_run_is_never_touched(
    tmp_path: Path, make: Callable[[Path], None], said: str, overwrite: bool
) -> None:
    make(tmp_path)
    before = tree(tmp_path)
    with pytest.raises(RunError, match=said):
        claim(RunFolder(tmp_path), say, overwrite=overwrite)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("linked", [False, True])
def test_overwriting_moves_what_a_run_wrote_and_nothing_else(tmp_path: Path, linked: bool) -> None:
    folder = a_run(tmp_path / "run")
    if linked:
        for directory in folder.checkpoint_folders:
            directory.rename(tmp_path / f"disk-{directory.name}")
            directory.symlink_to(Path("..", f"disk-{directory.name}"))
    for path in (folder.path, *folder.checkpoint_folders):
        (path / "notes.md").write_text("mine")
        (path / ".tmp-notes-1").write_text("mine")
    before = tree(tmp_path)
    claim(folder, say, overwrite=True)
    (old,) = kept(folder)
    for name in ("config.json", "checkpoints/step-00000001/MANIFEST.json", "best/step-00000001"):
        assert (old / name).exists() and not (folder.path / name).exists()
    assert folder.checkpoints.is_symlink() == linked
    assert is_run(RunFolder(old))  # a run like any other until then
    assert put_back(folder)
    after = tree(tmp_path)
    files = {name for name in before if (tmp_path / name).is_file()}
    assert before.keys() == after.keys() and {n: before[n] for n in files} == {
        n: after[n] for n in files
    }
    claim(folder, say, overwrite=True)
    assert list(discard(folder)) == []
    left = {p.name for p in folder.path.iterdir()}
    assert left == {"notes.md", ".tmp-notes-1", "checkpoints", "best"}
    for directory in folder.checkpoint_folders:
        assert {p.name for p in directory.iterdir()} == {"notes.md", ".tmp-notes-1"}


@pytest.mark.parametrize(
    ("call", "number"),
    [*(("mkdir", n) for n in range(3)), *((c, n) for c in ("rename", "fsync") for n in range(7))],
)
def test_a_folder_that_cannot_be_written_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    folder = a_run(tmp_path)
    before = {name: about[1] for name, about in tree(tmp_path).items()}
    calls = []

    def fails(where: Any, name: str) -> Any:
        real = getattr(where, name)

        def one(*args: Any, **named: Any) -> Any:
            calls.append(args)
            if len(calls) == number + 1:
                raise PermissionError(errno.EACCES, "planted")
            return real(*args, **named)

        return one

    where: Any = Path if call == "mkdir" else os
    monkeypatch.setattr(where, call, fails(where, call))
    with pytest.raises(PermissionError, match="planted"):
        claim(folder, say, overwrite=True)
    monkeypatch.undo()
    assert {name: about[1] for name, about in tree(tmp_path).items()} == before


def test_a_start_that_was_killed_before_its_config_is_no_obstacle(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    (tmp_path / ".tmp-config.json-1").write_text("half")
    claim(folder, say, overwrite=False)
    folder.write_config(RECORD)
    folder.remove_leftovers()
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


def test_links_are_a_promise_or_a_refusal(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "run")
    other = a_run(tmp_path / "other")
    assert link_problem(folder) is None
    for name, target, said in (
        ("checkpoints", "nowhere", "a link to nowhere, which is not there"),
        ("best", "nowhere", "a link to nowhere, which is not there"),
        ("checkpoints", "../other/checkpoints", "a link into another run"),
        ("best", "../other/best", "a link into another run"),
        ("best", "checkpoints", "are one folder"),
        ("checkpoints", ".", "in which the run itself lies"),
        ("config.json", "../other/config.json", "files of its own"),
        ("metrics.jsonl", "../other/metrics.jsonl", "files of its own"),
        ("curve.png", "../other/curve.png", "files of its own"),
    ):
        path = folder.path / name
        path.rename(tmp_path / "aside")
        path.symlink_to(target)
        before = tree(tmp_path)
        assert said in (link_problem(folder) or "")
        with pytest.raises(RunError, match=said), folder.held():
            claim(folder, say, overwrite=True)
        assert tree(tmp_path) == before
        path.unlink()
        (tmp_path / "aside").rename(path)
    assert is_run(other)


def test_what_cannot_be_removed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = a_run(tmp_path / "run")
    claim(folder, say, overwrite=True)
    (folder.checkpoints / "step-00000002").mkdir(parents=True)
    (folder.checkpoints / "step-00000001").mkdir()
    monkeypatch.setattr(shutil, "rmtree", lambda *args, **named: None)
    monkeypatch.setattr(
        saving,
        "prune_checkpoints",
        lambda directory, keep: discard_folder(directory / "step-00000001"),
    )
    said: list[str] = []
    saving.rotate(folder, 1, said.append)
    assert [line.split(": ")[1] for line in said] == ["not all of it could be removed"] * 2
    assert all(Path(line.split(": ")[0]).is_dir() for line in said)
