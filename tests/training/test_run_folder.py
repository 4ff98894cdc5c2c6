"""Run folders: who may write where, and metrics that survive a kill."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tinytape.data import CharTokenizer
from tinytape.training import run_folder
from tinytape.training.errors import FolderGoneError, RunError
from tinytape.training.run_folder import RunFolder, run_of


def test_a_file_is_no_run_folder(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RunError, match="this is a file"), RunFolder(tmp_path / "thesis.tex").held():
        pass
    (tmp_path / "link").symlink_to("nowhere")
    missing = "link to nowhere, which is not there"
    with pytest.raises(RunError, match=missing), RunFolder(tmp_path / "link").held():
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "thesis.tex"]


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nothing is not there"):
        RunFolder(tmp_path / "nothing").read_config()
    with pytest.raises(RunError, match=r"holds no config\.json"):
        RunFolder(tmp_path).read_config()


def test_no_file_is_written_through_a_link(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    for file in folder.files:
        file.symlink_to(tmp_path / "mine")
    (tmp_path / "mine").write_text("precious")
    for write in (
        lambda: folder.append_metrics({"step": 0}),
        lambda: folder.write_metrics([]),
        lambda: folder.write_config({}),
        lambda: CharTokenizer("ab").save(folder.tokenizer),
    ):
        with pytest.raises(OSError):
            write()
    assert (tmp_path / "mine").read_text() == "precious"
    assert all(file.is_symlink() for file in folder.files)


def test_metrics_come_back_and_can_be_replaced(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.read_metrics() == []
    records = [{"step": step, "val_loss": 1 / (step + 3)} for step in (0, 10, 20, 30)]
    for record in records:
        folder.append_metrics(record)
    assert folder.read_metrics() == records
    folder.write_metrics(records[:3])
    assert folder.read_metrics() == records[:3]
    folder.write_metrics([])
    assert folder.read_metrics() == []


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.append_metrics({"step": 0})
    with open(folder.metrics, "a") as file:
        file.write('{"step": 10, "val_')
    assert folder.read_metrics() == [{"step": 0}]
    folder.write_metrics(folder.read_metrics())
    folder.append_metrics({"step": 10})
    assert folder.read_metrics() == [{"step": 0}, {"step": 10}]


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk_adds_no_half_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    folder = RunFolder(tmp_path)
    folder.append_metrics({"step": 0})
    before = folder.metrics.read_bytes()
    real = os.write

    def full(descriptor: int, *data: bytes) -> int:
        if data and len(data[0]) > 3:
            return real(descriptor, data[0][:3])  # as much as there is room for
        raise OSError(errno.ENOSPC, "planted")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="planted") as error:
        folder.append_metrics({"step": 10})
    monkeypatch.undo()
    assert error.value.filename == str(folder.metrics)
    assert folder.metrics.read_bytes() == before


def test_damage_in_the_middle_of_the_metrics_is_named(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.metrics.write_text('{"step": 0}\nrubbish\n{"step": 2}\n')
    with pytest.raises(RunError, match=r"metrics\.jsonl line 2"):
        folder.read_metrics()


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    (folder.checkpoints / ".tmp-step-00000009-1").mkdir(parents=True)
    (folder.checkpoints / ".tmp-step-00000009-1" / "model.safetensors").write_text("half")
    (folder.best / ".tmp-step-00000009-1").mkdir(parents=True)
    (tmp_path / ".tmp-config.json-1").write_text("half")
    (tmp_path / ".tmp-mine-1").write_text("not a run's")
    (folder.checkpoints / ".tmp-mine").mkdir()
    folder.write_config({})
    folder.remove_leftovers()
    assert sorted(p.name for p in tmp_path.rglob("*")) == [
        ".tmp-mine",
        ".tmp-mine-1",
        "best",
        "checkpoints",
        "config.json",
    ]


def test_metrics_nested_without_end_are_an_error(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.append_metrics({"step": 1})
    with open(folder.metrics, "ab") as file:
        file.write(b'{"step": 2, "a": ' + b"[" * 100_000 + b"\n" + b'{"step": 3}\n')
    with pytest.raises(RunError, match="line 2"):
        folder.read_metrics()


def test_a_folder_is_one_process_s_at_a_time(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    code = (
        "import sys; from tinytape.training import RunFolder, RunError\n"
        "try:\n"
        "    with RunFolder(sys.argv[1]).held(): print('held')\n"
        "except RunError as error: print(error)"
    )

    def elsewhere() -> str:
        command = [sys.executable, "-c", code, str(folder)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    with folder.held():
        assert elsewhere() == f"{folder}: another process is training in this folder"
    assert elsewhere() == "held"
    with pytest.raises(ZeroDivisionError), folder.held():
        raise ZeroDivisionError
    assert elsewhere() == "held"


def test_a_folder_on_another_disk_is_held_too(tmp_path: Path) -> None:
    """Two runs whose checkpoints lead to one place."""
    (tmp_path / "disk").mkdir()
    folders = [RunFolder(tmp_path / name) for name in ("one", "two")]
    for folder in folders:
        folder.path.mkdir()
        folder.checkpoints.symlink_to(tmp_path / "disk")
    with folders[0].held(), pytest.raises(RunError, match="another process"), folders[1].held():
        pass
    with folders[1].held():
        pass


def test_a_folder_that_is_moved_is_followed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "runs" / "a")
    with folder.held():
        folder.append_metrics({"step": 0})
        assert folder.follow() is None
        (tmp_path / "runs").rename(tmp_path / "done")
        assert "runs/a was moved to " in (folder.follow() or "")
        assert folder.path == tmp_path / "done" / "a" and folder.follow() is None
        folder.append_metrics({"step": 1})
        # Another folder with the name, and a second run in it, are none of this one's business.
        second = RunFolder(tmp_path / "done" / "a")
        (tmp_path / "done").rename(tmp_path / "kept")
        with second.held():
            assert folder.follow() is not None
            folder.append_metrics({"step": 2})
            assert second.read_metrics() == []
        assert [m["step"] for m in RunFolder(tmp_path / "kept" / "a").read_metrics()] == [0, 1, 2]
        with pytest.raises(RunError, match="another process"), folder.held():
            pass


@pytest.mark.parametrize("again", [False, True])
def test_a_folder_that_is_removed_is_noticed(tmp_path: Path, again: bool) -> None:
    folder = RunFolder(tmp_path / "a")
    with folder.held():
        shutil.rmtree(folder.path)
        if again:
            folder.path.mkdir()
        said = "another folder has its name now" if again else "removed while it trained"
        with pytest.raises(FolderGoneError, match=said):
            folder.follow()


def test_what_is_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = tmp_path / "run" / "checkpoints" / "step-00000005"
    step.mkdir(parents=True)
    assert run_of(step) == (tmp_path / "run", step)
    assert run_of(tmp_path / "run") == (tmp_path / "run", None)
    assert run_of("a/checkpoints/step-00000005")[0] == Path("a")
    (step / "MANIFEST.json").write_text("{}")
    named = step.rename(step.with_name("backup"))
    assert run_of(named) == (tmp_path / "run", named)
    monkeypatch.chdir(named)
    assert run_of(".") == (tmp_path / "run", named)
    monkeypatch.chdir(named.parent)
    assert run_of("backup") == (tmp_path / "run", Path("backup"))


def test_a_line_whose_name_cannot_be_synced_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written again, so it would be there twice."""
    folder = RunFolder(tmp_path)

    def fail(path: Path) -> None:
        raise FileNotFoundError(errno.ENOENT, "planted", str(path))

    with monkeypatch.context() as patched, pytest.raises(OSError, match="planted"):
        patched.setattr(run_folder, "sync_folder", fail)
        folder.append_metrics({"step": 0})
    folder.append_metrics({"step": 0})
    assert folder.read_metrics() == [{"step": 0}]
