"""Checkpoints on disk: whole or absent, every damage noticed, the last good one kept."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import tinytape as tt
from tinytape import _files
from tinytape.training.arrays import pack_arrays, require_same_arrays, unpack_arrays
from tinytape.training.checkpoint import (
    latest_checkpoint,
    list_checkpoints,
    load_checkpoint,
    prune_checkpoints,
    save_checkpoint,
    verify_checkpoint,
)
from tinytape.training.errors import CheckpointError
from tinytape.training.manifest import MANIFEST

from ..soak._miniature import seal

WEIGHTS = {
    "b.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "a.bias": np.linspace(0, 1, 5),
}
MOMENTS = {"optimizer.state.a.bias.exp_avg": np.full(5, 0.1 + 0.2)}


def save(folder: Path, step: int, **changes: Any) -> Path:
    content: dict[str, Any] = {
        "model": WEIGHTS,
        "arrays": MOMENTS,
        "state": {"counters": {"step": step, "loss": 0.1 + 0.2}},
        "config": {"train": {"lr": 1e-3}},
        "env": {"simd": "v3"},
    }
    return save_checkpoint(folder, step, **{**content, **changes})


def packed(arrays: dict[str, Any]) -> bytes:
    return pack_arrays(arrays)


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype and a[k].tobytes() == b[k].tobytes() for k in a
    )


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    path = save(tmp_path / "checkpoints", 5000)
    assert path.name == "step-00005000"
    assert sorted(p.name for p in path.iterdir()) == [
        MANIFEST,
        "config.json",
        "env.json",
        "model.safetensors",
        "state.json",
        "train_state.safetensors",
    ]
    verify_checkpoint(path)
    checkpoint = load_checkpoint(path)
    assert same(checkpoint.model, WEIGHTS) and same(checkpoint.arrays, MOMENTS)
    assert checkpoint.step == 5000
    assert checkpoint.state["counters"] == {"step": 5000, "loss": 0.1 + 0.2}  # to the last bit
    assert checkpoint.config == {"train": {"lr": 1e-3}} and checkpoint.env == {"simd": "v3"}


def test_arrays_that_are_not_contiguous_are_saved_right() -> None:
    base = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    arrays = {"t": base.T, "s": base[:, ::2, 1:3], "f": np.asfortranarray(base[0])}
    back = unpack_arrays(packed(arrays), Path("x"))
    for name, array in arrays.items():
        assert np.array_equal(back[name], array), name


def test_bytes_depend_on_the_content_alone() -> None:
    assert packed(WEIGHTS) == packed(dict(reversed(WEIGHTS.items())))
    assert packed(WEIGHTS) == packed({k: v.copy() for k, v in WEIGHTS.items()})
    assert packed(WEIGHTS) == packed(
        {k: v.astype(v.dtype.newbyteorder()) for k, v in WEIGHTS.items()}
    )


def test_every_dtype_shape_and_name_goes_through() -> None:
    """The library that reads them is not the one that wrote them."""
    arrays = {
        "scalar": np.array(7, np.int64),
        "empty": np.zeros((3, 0), np.float32),
        "flags": np.array([True, False, True]),
        "bytes": np.arange(5, dtype=np.uint8),
        'n\u00e4me with "quotes"': np.arange(6, dtype=np.int32).reshape(1, 2, 3),
        "seeds": np.array([2**64 - 1], np.uint64),
        **WEIGHTS,
    }
    data = packed(arrays)
    assert same(unpack_arrays(data, Path("x")), arrays)
    assert int.from_bytes(data[:8], "little") % 8 == 0  # the values begin aligned
    with pytest.raises(CheckpointError, match="h: safetensors has no code for complex128"):
        packed({"h": np.zeros(1, complex)})
    assert unpack_arrays(packed({}), Path("x")) == {}


def test_tensors_are_written_as_arrays_are() -> None:
    assert packed({n: tt.tensor(a) for n, a in WEIGHTS.items()}) == packed(WEIGHTS)


def test_file_modes_are_what_the_umask_says(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        path = save(tmp_path / "checkpoints", 1)
    finally:
        os.umask(old)
    assert {stat.S_IMODE(p.stat().st_mode) for p in path.iterdir()} == {0o640}
    assert stat.S_IMODE(path.stat().st_mode) == 0o750


def test_the_size_does_not_depend_on_how_long_was_trained(tmp_path: Path) -> None:
    def size(path: Path) -> int:
        return sum(p.stat().st_size for p in path.iterdir())

    first, last = size(save(tmp_path, 1)), size(save(tmp_path, 90_000_000))
    assert abs(first - last) <= 64  # the digits of the step, nothing else


@pytest.mark.parametrize("name", ["model.safetensors", "state.json", "env.json", MANIFEST])
def test_every_kind_of_damage_is_noticed_and_named(tmp_path: Path, name: str) -> None:
    good = save(tmp_path / "good", 10)
    data = (good / name).read_bytes()

    def damaged(change: Callable[[Path], object]) -> str:
        copy = tmp_path / "step-00000010"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(good, copy)
        change(copy / name)
        for check in (verify_checkpoint, load_checkpoint):
            with pytest.raises(CheckpointError) as error:
                check(copy)
        return str(error.value)

    for at in range(0, len(data), max(1, len(data) // 40)):
        flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        damaged(lambda p, flipped=flipped: p.write_bytes(flipped))
        damaged(lambda p, at=at: p.write_bytes(data[:at]))
    assert name in damaged(lambda p: p.write_bytes(data + b"x"))
    assert name in damaged(lambda p: p.unlink())
    assert name in damaged(lambda p: p.write_bytes(b""))


def test_a_folder_renamed_to_another_step_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, 10)
    path.rename(tmp_path / "step-00000011")
    with pytest.raises(CheckpointError, match="of step 10"):
        load_checkpoint(tmp_path / "step-00000011")


def test_an_unknown_version_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, 10)
    manifest = json.loads((path / MANIFEST).read_text())
    (path / MANIFEST).write_text(json.dumps({**manifest, "version": 3}))
    with pytest.raises(CheckpointError, match=r"version 3, expected .* version 2 or earlier"):
        load_checkpoint(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("part", ["model", "arrays"])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, part: str, value: float) -> None:
    path = save(tmp_path, 10)
    name = {"model": "model.safetensors", "arrays": "train_state.safetensors"}[part]
    content = {"w": np.array([1.0, value])}
    with pytest.raises(CheckpointError, match=f"{name}: w holds values that are not finite"):
        save(tmp_path, 10, **{part: content})
    load_checkpoint(path)  # what was there is still there
    (path / name).write_bytes(safetensors.numpy.save(content))
    seal(path)
    with pytest.raises(CheckpointError, match=f"{name}: w holds values that are not finite"):
        load_checkpoint(path)


def test_the_latest_is_the_newest_that_verifies(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path / "none") == (None, [])
    for step in (5, 10, 100_000_000):  # by number, not by name
        save(tmp_path, step)
    (tmp_path / ".tmp-step-00000200-1").mkdir()  # what a killed process left
    (tmp_path / "step-notes").mkdir()
    assert [p.name for p in list_checkpoints(tmp_path)] == [
        "step-100000000",
        "step-00000010",
        "step-00000005",
    ]
    newest = tmp_path / "step-100000000"
    (newest / "model.safetensors").write_bytes(b"rubbish")
    checkpoint, problems = latest_checkpoint(tmp_path)
    assert checkpoint is not None and checkpoint.step == 10
    assert len(problems) == 1 and str(newest) in problems[0]


def test_rotation_keeps_the_newest_that_verify(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        save(tmp_path, step)
    prune_checkpoints(tmp_path, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000003", "step-00000004"]
    (tmp_path / "step-00000004" / "state.json").unlink()
    prune_checkpoints(tmp_path, keep=1)
    checkpoint, _ = latest_checkpoint(tmp_path)
    assert checkpoint is not None and checkpoint.step == 3  # the last good one is still there


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_failing_disk_leaves_the_last_checkpoint_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    save(tmp_path, 1)
    before = {p: hashlib.sha256(p.read_bytes()).digest() for p in tmp_path.rglob("*.*")}
    real = getattr(os, call)
    k = 0
    while True:
        calls = 0

        def failing(*args: Any, k: int = k) -> Any:
            nonlocal calls
            calls += 1
            if calls == k + 1:
                raise OSError(errno.ENOSPC, "planted: no space left")
            return real(*args)

        monkeypatch.setattr(_files.os, call, failing)
        try:
            save(tmp_path, 2)
        except OSError as error:
            assert "planted" in str(error)
        else:
            break  # fewer calls than k: every one of them has failed once
        finally:
            monkeypatch.setattr(_files.os, call, real)
        there = {p.name for p in tmp_path.iterdir()}
        assert there <= {"step-00000001", "step-00000002"}, there
        latest = latest_checkpoint(tmp_path)
        assert latest[0] is not None and latest[1] == []
        shutil.rmtree(tmp_path / "step-00000002", ignore_errors=True)  # whole, when it is there
        k += 1
    assert k >= 1
    after = {p: hashlib.sha256(p.read_bytes()).digest() for p in before}
    assert after == before


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(_files.os, "write", lambda fd, data: real(fd, bytes(data[:7])))
    path = save(tmp_path, 1)
    monkeypatch.undo()
    assert same(load_checkpoint(path).model, WEIGHTS)


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    (path / "state.json").write_bytes(b"damaged")
    save(tmp_path, 1)
    assert load_checkpoint(path).step == 1
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]


def test_a_replacement_that_fails_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path, 1)
    real = os.rename

    def failing(source: Path, target: Path) -> None:
        if target == path and "old" not in Path(source).name:
            raise OSError(errno.EIO, "planted")
        real(source, target)

    monkeypatch.setattr(_files.os, "rename", failing)
    with pytest.raises(OSError, match="planted"):
        save(tmp_path, 1)
    monkeypatch.undo()
    assert load_checkpoint(path).step == 1
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]


def test_replace_file_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.json"
    _files.replace_file(path, b"old")

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "planted")

    monkeypatch.setattr(_files.os, "fsync", full)
    with pytest.raises(OSError, match="planted"):
        _files.replace_file(path, b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["config.json"]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({}, "missing: w; not expected: none"),
        ({"w": np.zeros(3), "v": np.zeros(1)}, "missing: none; not expected: v"),
        ({"w": np.zeros((3, 1))}, r"w is float64 of shape (3, 1), expected float64 of shape (3,)"),
        ({"w": np.zeros(3, np.float32)}, "w is float32 of shape (3,), expected float64"),
    ],
)
def test_arrays_of_another_model_are_refused(found: dict[str, np.ndarray], words: str) -> None:
    with pytest.raises(CheckpointError) as error:
        require_same_arrays(found, {"w": np.zeros(3)}, Path("model.safetensors"))
    assert words in str(error.value)
