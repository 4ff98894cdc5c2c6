"""Checkpoints that somebody made up: right by their manifest, and refused by what they say."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from tinytape import models
from tinytape.training import load_checkpoint, load_run
from tinytape.training.checkpoint import latest_checkpoint, verify_checkpoint
from tinytape.training.errors import CheckpointError, RunError
from tinytape.training.json_records import pack_json, unpack_json
from tinytape.training.manifest import MANIFEST
from tinytape.training.record_types import CONFIG, require_types, state_types
from tinytape.training.run_config import pack_config
from tinytape.training.run_folder import RunFolder
from tinytape.training.verify import require_usable

from ..soak._miniature import seal

ARCHITECTURES = ", ".join(spec.name for spec in models.specs())


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.fixture
def path(run: Path) -> Path:
    return run / "checkpoints" / "step-00000002"


def refused(path: Path, words: str) -> None:
    """Both readers give it up for the one before, and say why."""
    seal(path)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path)
    assert words in str(error.value), error.value
    assert len(str(error.value)) < 1000 + 2 * len(str(path))
    latest, problems = latest_checkpoint(path.parent)
    assert latest is not None and latest.step == 1 and problems == [str(error.value)]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "Expecting value"),
        (b"[]", "expected a JSON object"),
        (b'{"step": 2, "step": 2}', "the key 'step' is given twice"),
        (b'{"step": NaN}', "NaN is no number of JSON"),
        (b'{"step": -Infinity}', "-Infinity is no number"),
        (b'{"step": 1e999}', "1e999 is not finite"),
        (b'{"step": ' + b"9" * 5000 + b"}", "a whole number of 5000 digits, expected at most 20"),
        (b'{"a": ' + b"[" * 100_000, "not JSON"),
        (b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}", "at most 32 levels"),
        ('{"step": 2}'.encode("utf-16"), "'utf-8' codec can't decode"),
        (b'\xef\xbb\xbf{"step": 2}', "BOM"),
        (b'{"step": "\xed\xa0\x80"}', "'utf-8' codec can't decode"),
        (b'{"step": 2}\0', "Extra data"),
    ],
)
def test_what_is_not_json_of_ours(path: Path, data: bytes, words: str) -> None:
    for name in ("state.json", "config.json", "env.json"):
        before = (path / name).read_bytes()
        (path / name).write_bytes(data)
        refused(path, words)
        refused(path, f"{path / name}: ")
        (path / name).write_bytes(before)


def tampered(data: bytes, keys: tuple[Any, ...], value: Any) -> bytes:
    record = json.loads(data)
    node = record
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = value
    return pack_json(record)


@pytest.mark.parametrize(
    ("name", "keys", "value", "words"),
    [
        (
            "state.json",
            ("step",),
            True,
            "step: expected a whole number of at least 0, at most 2**53, got True",
        ),
        ("state.json", ("step",), 2.0, "step: expected a whole number"),
        ("state.json", ("step",), 3, "of step 3, expected 2"),
        ("state.json", ("counters",), [], "counters: expected an object, got []"),
        ("state.json", ("counters", "loss_sum"), "1", "counters.loss_sum: expected a number"),
        ("state.json", ("counters", "best_loss"), False, "expected a number or null, got False"),
        ("state.json", ("data",), "abc", "data: expected an object, got 'abc'"),
        ("state.json", ("data", "sha256"), 7, "data.sha256: expected a text, got 7"),
        ("state.json", ("generators", "model"), 1, "generators.model: expected an object"),
        ("state.json", ("generators", "model", "offset"), 2**64, "generators.model.offset: exp"),
        ("state.json", ("optimizer", "param_groups"), {}, "param_groups: expected a list, got {}"),
        ("state.json", ("optimizer", "param_groups", 0), [], "param_groups[0]: expected an obj"),
        ("state.json", ("optimizer", "param_groups", 0, "betas"), [[1]], "betas: expected a num"),
        ("state.json", ("optimizer", "state"), [], "optimizer.state: expected an object"),
        ("state.json", ("optimizer", "state", "head.bias"), 1, "head.bias: expected an object"),
        ("state.json", ("optimizer", "state", "head.bias", "step"), "2", "expected a number or"),
        (
            "state.json",
            ("optimizer", "state", "head.bias", "exp_avg"),
            {"$array": "x"},
            "refers to 'x', which train_state.safetensors does not hold",
        ),
        ("state.json", ("scheduler", "base_lrs"), 1, "scheduler.base_lrs: expected a list"),
        (
            "state.json",
            ("scheduler", "last_epoch"),
            None,
            "expected a whole number, at most 2**53, got None",
        ),
        ("config.json", ("train",), [], "train: expected an object, got []"),
        ("config.json", ("train", "lr"), {"a": 1}, "train.lr: expected a number, a text, true"),
        ("config.json", ("model", "width"), [4], "model.width: expected"),
        ("config.json", ("version",), 2, "version: expected version 1, got 2"),
        ("config.json", ("version",), True, "version: expected version 1, got True"),
        ("config.json", ("corpus", "entropy_nats"), 1, "corpus.entropy_nats: expected an object"),
        ("env.json", ("blas",), {}, "blas: expected a number, a text"),
        ("state.json", ("data", "sha256"), list(range(10**5)), "sha256: expected a text, got [0,"),
    ],
)
def test_a_value_of_another_type_is_named(
    path: Path, name: str, keys: tuple[Any, ...], value: Any, words: str
) -> None:
    (path / name).write_bytes(tampered((path / name).read_bytes(), keys, value))
    refused(path, words)
    refused(path, f"{path / name}: ")


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        (("files", "model.safetensors", "bytes"), True, "expected a whole number of at least 0"),
        (("files", "model.safetensors", "bytes"), -1, "expected a whole number of at least 0"),
        (("files", "model.safetensors", "bytes"), 2**50, "expected 1125899906842624"),
        (("files", "state.json", "bytes"), 2**50, "expected at most 16777216"),
        (("files", "model.safetensors", "sha256"), ["0"], "expected a SHA-256 in hexadecimal"),
        (("files", "model.safetensors", "sha256"), "A" * 64, "expected a SHA-256 in hexadecimal"),
        (("files", "model.safetensors"), {}, "expected bytes and sha256"),
        (("files", "model.safetensors"), None, "expected an object, got None"),
        (("files", "../../config.json"), {"bytes": 0, "sha256": "0" * 64}, "expected entries for"),
        (("files",), [], "expected entries for"),
        (("step",), 3, "of step 3, expected 2"),
        (("step",), 2.0, "step: expected a whole number of at least 0"),
        (("version",), 3, "version 3, expected 'tinytape-checkpoint' version 2 or earlier"),
        (("version",), True, "version True, expected"),
        (("format",), "zip", "format 'zip'"),
    ],
)
def test_a_manifest_that_says_something_else(
    path: Path, keys: tuple[Any, ...], value: Any, words: str
) -> None:
    (path / MANIFEST).write_bytes(tampered((path / MANIFEST).read_bytes(), keys, value))
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path)
    assert words in str(error.value)


@pytest.mark.parametrize(
    "change", [bytes.rstrip, lambda d: d + b"\n", lambda d: d.replace(b" ", b"", 1)]
)
def test_a_manifest_in_another_form_is_damaged(
    path: Path, change: Callable[[bytes], bytes]
) -> None:
    """No digest covers it: what a cut or a flip leaves may mean the same, and is noticed still."""
    data = (path / MANIFEST).read_bytes()
    changed = change(data)
    assert json.loads(changed) == json.loads(data)
    (path / MANIFEST).write_bytes(changed)
    for check in (load_checkpoint, verify_checkpoint):
        with pytest.raises(CheckpointError, match="not in the form in which manifests are written"):
            check(path)


def test_a_manifest_may_say_more(path: Path) -> None:
    (path / MANIFEST).write_bytes(tampered((path / MANIFEST).read_bytes(), ("note",), "kept"))
    assert load_checkpoint(path).step == 2


def test_keys_of_a_later_tinytape_are_let_pass(path: Path) -> None:
    for name in ("state.json", "config.json", "env.json"):
        (path / name).write_bytes(
            tampered((path / name).read_bytes(), ("later",), [1] if name != "env.json" else "x")
        )
    seal(path)
    assert load_checkpoint(path).state["later"] == [1]


def with_header(header: Any, values: bytes = b"") -> bytes:
    data = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(data)) + data + values


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"1234567",
        struct.pack("<Q", 2**63) + b"{}",
        with_header(b"{" * 10_000),
        with_header({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, b"1234"),
        with_header({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 400]}}, b"1234"),
        with_header({"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}, b"1234"),
        with_header({"w": {"dtype": "C64", "shape": [2**62, 0], "data_offsets": [0, 0]}}),
        with_header({"w": {"dtype": "U8", "shape": [2**63, 0], "data_offsets": [0, 0]}}),
        with_header({"w": {"dtype": "U8", "shape": [2**40] * 3, "data_offsets": [0, 0]}}),
    ],
)
def test_what_is_no_safetensors_file(path: Path, data: bytes) -> None:
    (path / "train_state.safetensors").write_bytes(data)
    refused(path, str(path / "train_state.safetensors"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", [MANIFEST, "state.json", "model.safetensors"])
def test_a_pipe_or_device_in_place_of_a_file_is_not_waited_for(path: Path, name: str) -> None:
    for put in (os.mkfifo, lambda p: os.symlink("/dev/zero", p), os.mkdir):
        if os.path.islink(path / name) or not (path / name).is_dir():
            (path / name).unlink()
        put(path / name)
        for check in (load_checkpoint, verify_checkpoint):
            with pytest.raises(CheckpointError, match=f"cannot read .*{name}: not a regular file"):
                check(path)


def test_a_huge_file_is_not_read(path: Path) -> None:
    for name in (MANIFEST, "state.json", "model.safetensors"):
        before = (path / name).read_bytes()
        with open(path / name, "r+b") as file:
            file.truncate(1 << 40)
        with pytest.raises(CheckpointError, match=f"{name}: 1099511627776 bytes, expected"):
            load_checkpoint(path)
        with pytest.raises(CheckpointError, match=f"{name}: 1099511627776 bytes, expected"):
            verify_checkpoint(path)
        (path / name).write_bytes(before)


# Not formatted by ruff: with one element a line the table is hard to compare by eye.
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train": []}, "train: expected an object"),
        ({"train": {}}, "expected the key 'dtype'"),
        ({"train": {"dtype": "Tensor"}}, "dtype: expected float32 or float64, got 'Tensor'"),
        ({"model": {}}, f"expected architecture to be one of {ARCHITECTURES}, got None"),
        ({"model": {"architecture": "gpt", "context": 2**60, "width": 4, "heads": 2, "layers": 1,
                    "vocab_size": 5}}, "describes a model of 18 arrays"),
        ({"model": {"architecture": "gpt", "context": 4, "width": 1, "heads": 1, "layers": 2**60,
                    "vocab_size": 5}}, "describes a model of"),
    ],
)  # fmt: skip
def test_a_config_that_somebody_made_up(run: Path, change: dict[str, Any], words: str) -> None:
    record = {**RunFolder(run).read_config(), **change}
    (run / "config.json").write_bytes(pack_config(record))
    # As an earlier version wrote it: it does not say of which model it is.
    (run / "model.safetensors").write_bytes(
        save(load_file(run / "model.safetensors"), {"format": "tinytape"})
    )
    shutil.rmtree(run / "checkpoints")
    with pytest.raises((CheckpointError, RunError)) as error:
        load_run(run)
    assert words in str(error.value)


STEP = ("optimizer", "state", "head.bias", "step")


@pytest.mark.parametrize("count", [10**20, 10**20 - 1, 2**64, 2**63, 1e20, -1, 0.5])
@pytest.mark.parametrize(
    "keys", [STEP, ("counters", "loss_count"), ("counters", "skipped"), ("data", "next_batch")]
)
def test_counts_that_no_run_comes_to(path: Path, keys: tuple[str, ...], count: float) -> None:
    """Refused, or of no consequence: never something else than a CheckpointError."""
    (path / "state.json").write_bytes(tampered((path / "state.json").read_bytes(), keys, count))
    seal(path)
    if keys != STEP:
        with pytest.raises(CheckpointError, match=r"state\.json: "):
            load_checkpoint(path)
        return
    with pytest.raises(CheckpointError, match=r"expected a count|of 21 digits"):
        require_usable(load_checkpoint(path))


def test_types_are_those_that_are_written(path: Path) -> None:
    """Every key of what is written is known, so that a new one gets a type."""
    for name, expected in (("state.json", state_types()), ("config.json", CONFIG)):
        record = unpack_json((path / name).read_bytes(), path / name)
        assert record.keys() == expected.keys() - {"levels", "task"}  # of nested models
        for key in ("counters", "data", "scheduler", "corpus"):
            if key in expected:
                in_parts = {"cut", "parts"}  # of a text in parts
                assert record[key].keys() == expected[key].keys() - in_parts
        require_types(record, expected, path)


def test_finite_is_asked_of_every_float(path: Path) -> None:
    state = load_checkpoint(path).arrays
    for value in (np.nan, np.inf):
        name = sorted(state)[-1]
        changed = {**state, name: np.full_like(state[name], value)}
        (path / "train_state.safetensors").write_bytes(save(changed))
        refused(path, f"{name} holds values that are not finite")
