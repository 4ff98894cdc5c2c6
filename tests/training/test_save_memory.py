"""Out of memory in a save or a load is an error that says so; what was saved before is whole."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinytape as tt
from tinytape import train
from tinytape.errors import OutOfMemoryError
from tinytape.training import arrays, load_checkpoint, loop, save_checkpoint
from tinytape.training.checkpoint import copy_checkpoint, verify_checkpoint

MEBIBYTE = 1 << 20

# Saves under a limit of address space that leaves so many bytes, from nothing up to enough.
UNDER_A_LIMIT = """
import resource, sys
from pathlib import Path
import tinytape as tt
from tinytape.training import load_checkpoint, save_checkpoint

folder, room = Path(sys.argv[1]), int(sys.argv[2])

def save(weights):
    save_checkpoint(folder, 1, model=weights, arrays={}, state={}, config={}, env={})

def address_space():
    return int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()

weights = {f"w{i}": tt.ones(16 << 18) for i in range(4)}
save({"w3": tt.zeros(1)})
resource.setrlimit(resource.RLIMIT_AS, (address_space() + room, resource.RLIM_INFINITY))
try:
    save(weights)
    print("saved")
except MemoryError as error:
    print(error)
weights.clear()
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(load_checkpoint(folder / "step-00000001").model["w3"][0])
print(sorted(path.name for path in folder.iterdir()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/statm")
@pytest.mark.parametrize(("room", "enough"), [(0, False), (4, False), (40, True)])
def test_a_save_under_a_limit_of_address_space(tmp_path: Path, room: int, enough: bool) -> None:
    """The model has 64 MiB in arrays of 16; the room is in MiB."""
    done = subprocess.run(
        [sys.executable, "-c", UNDER_A_LIMIT, str(tmp_path), str(room << 20)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    said, value, names = done.stdout.splitlines()
    assert names == "['step-00000001']"
    if enough:
        assert (said, value) == ("saved", "1.0")
    else:
        path = tmp_path / "step-00000001"
        assert said.startswith(f"out of memory while saving {path}") and value == "0.0"


def saved(folder: Path, step: int = 1) -> Path:
    """A checkpoint of 16 arrays of 1 MiB."""
    model = {f"w{i}": tt.full((MEBIBYTE // 4,), float(i)) for i in range(16)}
    return save_checkpoint(folder, step, model=model, arrays={}, state={}, config={}, env={})


@pytest.mark.parametrize("what", ["save", "verify", "copy"])
def test_memory_is_that_of_an_array(tmp_path: Path, what: str) -> None:
    path = saved(tmp_path)
    tracemalloc.start()
    try:
        if what == "save":
            saved(tmp_path)
        elif what == "verify":
            verify_checkpoint(path)
        else:
            copy_checkpoint(path, tmp_path / "copy")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * MEBIBYTE


def test_a_load_takes_the_arrays_once(tmp_path: Path) -> None:
    path = saved(tmp_path)
    tracemalloc.start()
    try:
        load_checkpoint(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 16 * MEBIBYTE < peak < 18.5 * MEBIBYTE


@pytest.mark.parametrize("k", range(5))
def test_memory_that_is_refused_anywhere_in_a_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, k: int
) -> None:
    path = saved(tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    real, calls = arrays.as_numpy, 0

    def refused(array: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 8 * k:
            raise MemoryError
        return real(array)

    monkeypatch.setattr(arrays, "as_numpy", refused)
    if k == 0:
        saved(tmp_path)
        assert calls == 32  # looked at, then written
        return
    with pytest.raises(OutOfMemoryError, match=f"out of memory while saving {path}"):
        saved(tmp_path)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_memory_that_is_refused_in_a_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path)

    def refused(*_: object, **__: object) -> Any:
        raise MemoryError

    monkeypatch.setattr(np, "empty", refused)
    with pytest.raises(OutOfMemoryError, match=f"out of memory while reading {path}$"):
        load_checkpoint(path)


@pytest.mark.parametrize("step", ["saving", "training"])
def test_the_command_says_what_ran_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], step: str
) -> None:
    (tmp_path / "text.txt").write_text("to be or not to be " * 40)

    def refused(*_: object, **__: object) -> Any:
        raise MemoryError

    if step == "saving":
        monkeypatch.setattr("tinytape.training.checkpoint.publish_folder", refused)
    else:
        monkeypatch.setattr(loop, "train_step", refused)
    flags = ["--model", "tiny", "--iters", "2", "--batch-size", "1", "--out", str(tmp_path / "run")]
    assert train.main([*flags, "--data", str(tmp_path / "text.txt")]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: out of memory"), error
    assert step != "saving" or "while saving" in error
