"""Every reader bounds what it takes before it believes a file."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from tinytape import _json, models
from tinytape.data import CharTokenizer, DataError
from tinytape.training import (
    CheckpointError,
    RunError,
    load_checkpoint,
    load_run,
    resume,
    run_folder,
)
from tinytape.training.json_records import RECORD_LIMIT, unpack_json
from tinytape.training.run_folder import RunFolder
from tinytape.training.verify import verify

from ..soak._miniature import SIZES, forge

MEBIBYTE = 1 << 20
HERE = Path("state.json")


@contextmanager
def at_most(mebibytes: float) -> Iterator[None]:
    """No more memory is taken within at any time."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < mebibytes * MEBIBYTE, f"{peak / MEBIBYTE:.1f} MiB"


def many(item: Callable[[int], bytes], count: int) -> bytes:
    return b",".join(map(item, range(count)))


COUNT = _json.VALUES - 10


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"a":[' + b"[]," * 5_000_000 + b"[]]}", "about 10000003 values, expected at most"),
        (b'{"a":"' + b"x" * RECORD_LIMIT + b'"}', f"expected at most {RECORD_LIMIT}"),
        (b'{"a":' + b"1" * 10_000_000 + b"}", "of 10000000 digits, expected at most 20"),
        (b'{"a":1.' + b"1" * 10_000_000 + b"}", "of 10000002 digits, expected at most 400"),
        (b'{"a":-' + b"1" * 21 + b"}", "of 22 digits, expected at most 20"),
        (b'{"a":' * 900 + b"1" + b"}" * 900, "at most 32 levels"),
        # Each key once, and the first of them again: looked up one by one, this takes an hour.
        (b"{" + many(lambda i: b'"%d":1' % (i % (COUNT - 1)), COUNT) + b"}", "'0' is given twice"),
        (b"{" + many(lambda i: b'"k":1', COUNT) + b"}", "the key 'k' is given twice"),
    ],
    ids=["lists", "long", "digits", "decimals", "negative", "deep", "twice", "always the same"],
)
def test_json_that_somebody_made_up(data: bytes, words: str) -> None:
    with at_most(80), pytest.raises(CheckpointError, match=words) as error:
        unpack_json(data, HERE)
    assert str(error.value).startswith(f"{HERE}: ") and len(str(error.value)) < 200


@pytest.mark.parametrize(
    "data",
    [
        b"{" + many(lambda i: b'"%d":0.5' % i, COUNT) + b"}",
        b'{"a":"' + b"x" * (RECORD_LIMIT - 20) + "\U0001f600".encode() + b'"}',
    ],
    ids=["keys", "text"],
)
def test_the_largest_json_is_affordable(data: bytes) -> None:
    with at_most(140):
        unpack_json(data, HERE)


def test_a_tokenizer_keeps_the_same_rules(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    for data, words in (
        (b'{"kind":"character","kind":"character"}', "the key 'kind' is given twice"),
        (b"[" + b"[]," * 5_000_000 + b"[]]", "values, expected at most"),
    ):
        path.write_bytes(data)
        with at_most(80), pytest.raises(DataError, match=words):
            CharTokenizer.load(path)


@pytest.fixture
def run(made: Path, tmp_path: Path) -> RunFolder:
    return RunFolder(shutil.copytree(made, tmp_path / "run"))


def grown(path: Path, size: int) -> None:
    with open(path, "r+b") as file:
        file.truncate(size)  # holes, which take no room


def with_an_array_of(path: Path, count: int) -> None:
    """A file with one array of so many bytes, by its header and by its size."""
    header = {"w": {"dtype": "U8", "shape": [count], "data_offsets": [0, count]}}
    start = json.dumps(header).encode()
    path.write_bytes(len(start).to_bytes(8, "little") + start)
    grown(path, 8 + len(start) + count)


def test_weights_of_gigabytes_are_not_read(run: RunFolder) -> None:
    """Once with a header that is right, once with nothing but the old one."""
    config = run.read_config()["model"]
    for spoil in (lambda: with_an_array_of(run.model, 4 << 30), lambda: grown(run.model, 4 << 30)):
        spoil()
        shutil.rmtree(run.checkpoints, ignore_errors=True)
        with at_most(8), pytest.raises(CheckpointError, match=r"model\.safetensors: "):
            load_run(run.path)
        with at_most(8):
            found = {saved.kind: saved.problem for saved in verify(run.path)}
        assert found["weights"] and "model.safetensors" in found["weights"]
    assert config["layers"] == 1


@pytest.mark.parametrize("name", ["model.safetensors", "train_state.safetensors"])
def test_arrays_of_gigabytes_in_a_checkpoint_are_not_read(run: RunFolder, name: str) -> None:
    path = run.checkpoints / "step-00000002"
    manifest = json.loads((path / "MANIFEST.json").read_bytes())
    with_an_array_of(path / name, 1 << 32)
    manifest["files"][name]["bytes"] = (path / name).stat().st_size
    (path / "MANIFEST.json").write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    with (
        mock.patch("tinytape.training.manifest.verify_part", side_effect=AssertionError),
        at_most(8),
        pytest.raises(CheckpointError, match=f"{name}: .* values"),
    ):
        load_checkpoint(path)


def test_metrics_of_gigabytes_are_not_read(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    run.write_metrics({"step": step, "val_loss": 1.0} for step in range(3))
    assert [record["step"] for record in run.read_metrics()] == [0, 1, 2]
    grown(run.metrics, 1 << 32)
    with at_most(4), pytest.raises(RunError, match="4294967296 bytes, expected at most 67108864"):
        run.read_metrics()
    grown(run.metrics, 32 << 20)
    with at_most(4), pytest.raises(RunError, match=r"line 4: .* expected at most 65536"):
        run.read_metrics()
    run.metrics.write_bytes((b'{"step":0,"a":[' + b"[]," * 2_000 + b"0]}\n") * 30)
    monkeypatch.setattr(run_folder, "_METRICS_VALUES", 50_000)
    with at_most(10), pytest.raises(RunError, match="more than 50000 values"):
        run.read_metrics()
    run.metrics.write_bytes(b'{"step":0,"step":1}\n{"step":2}\n')
    with pytest.raises(RunError, match="line 1: the key 'step' is given twice"):
        run.read_metrics()


def test_metrics_are_read_a_line_at_a_time(run: RunFolder) -> None:
    line = json.dumps({"step": 1, "x": "y" * 60_000})
    run.metrics.write_text(f"{line}\n" * 200)
    with at_most(14):  # 200 records of 60 kB, and no copy of the file
        assert len(run.read_metrics()) == 200
    run.metrics.write_text(f"{line}\n" + line[:100])  # a kill cut the last line short
    assert len(run.read_metrics()) == 1


class Made(Exception):
    """A model was made."""


@pytest.mark.parametrize(
    "change",
    [{"context": 10**9}, {"context": 2**53}, {"context": 30, "model": "medium"}],
    ids=str,
)
def test_nothing_is_made_of_sizes_that_do_not_fit(
    run: RunFolder, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By settings in a checkpoint that its weights disagree with."""
    path = run.checkpoints / "step-00000002"
    old = load_checkpoint(path)
    train = {**old.config["train"], **change}
    forge(path, config={**old.config, "train": train})
    monkeypatch.setattr(models, "from_config", mock.Mock(side_effect=Made))
    with (
        mock.patch.dict(models.gpt.PRESETS, {"miniature": SIZES}),
        at_most(16),
        pytest.raises((CheckpointError, DataError), match=r"too (few|short)|describes a model of"),
    ):
        resume(run, {})


@pytest.mark.parametrize("field", ["context", "width", "layers", "vocab_size", "heads"])
@pytest.mark.parametrize("size", [10**9, 2**52])
def test_no_model_is_made_of_a_config_that_the_weights_do_not_fit(
    run: RunFolder, field: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (run.checkpoints / "step-00000001", run.checkpoints / "step-00000002"):
        old = load_checkpoint(path)
        forge(path, config={**old.config, "model": {**old.config["model"], field: size}})
    record = run.read_config()
    run.write_config({**record, "model": {**record["model"], field: size}})
    monkeypatch.setattr(models, "from_config", mock.Mock(side_effect=Made))
    run.model.unlink()
    words = "no checkpoint|there are no weights yet|heads to divide width"
    with at_most(8), pytest.raises((CheckpointError, RunError), match=words):
        load_run(run.path)
    with at_most(8):
        assert all(saved.problem for saved in verify(run.path) if saved.kind == "checkpoint")
