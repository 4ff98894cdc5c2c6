"""Run folders: who may write where, and metrics that survive a kill."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tinytape.training.errors import RunError
from tinytape.training.run_folder import RunFolder


def test_a_new_run_needs_an_empty_place(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "runs" / "a")
    folder.claim(overwrite=False)
    folder.claim(overwrite=False)  # empty is fine
    folder.write_config({"x": 1})
    with pytest.raises(RunError, match="holds a run already; add --resume"):
        folder.claim(overwrite=False)


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_not_a_run_is_never_touched(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RunError, match=r"holds 'thesis\.tex' and is not a run"):
        RunFolder(tmp_path).claim(overwrite=overwrite)
    with pytest.raises(RunError, match="this is a file"), RunFolder(tmp_path / "thesis.tex").held():
        pass
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_overwriting_removes_what_a_run_wrote_and_nothing_else(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for room in (folder.checkpoints, folder.best):
        (room / "step-00000001").mkdir(parents=True)
    for file in (folder.config, folder.model, folder.metrics, folder.tokenizer, folder.curve):
        file.write_text("{}")
    (tmp_path / "notes.md").write_text("mine")
    folder.claim(overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.md"]


def test_a_start_that_was_killed_before_its_config_is_no_obstacle(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.tokenizer.write_text("{}")
    (tmp_path / ".tmp-config.json-1").write_text("half")
    folder.claim(overwrite=False)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nothing is not there"):
        RunFolder(tmp_path / "nothing").read_config()
    with pytest.raises(RunError, match=r"holds no config\.json"):
        RunFolder(tmp_path).read_config()


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
    folder.write_config({})
    folder.remove_leftovers()
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["best", "checkpoints", "config.json"]


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
