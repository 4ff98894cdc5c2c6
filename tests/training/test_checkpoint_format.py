"""docs/checkpoint-format.md is what is written, and what was once written can still be read."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tinytape import _json
from tinytape.data import DataError
from tinytape.models.spec import build_optimizer
from tinytape.training import TrainConfig, json_records, load_run, resolve
from tinytape.training.checkpoint import load_checkpoint, verify_checkpoint
from tinytape.training.json_records import pack_json
from tinytape.training.record_types import CONFIG, state_types
from tinytape.training.run_folder import RunFolder
from tinytape.training.session import build_session
from tinytape.training.step import train_step
from tinytape.training.verify import require_usable, verify

from ..soak._miniature import session_of, write_run

ROOT = Path(__file__).parents[2]
GOLDEN = [ROOT / "tests" / "golden" / f"checkpoint-v{n}" / "step-00000003" for n in (1, 2)]
GOLDEN_RUN = ROOT / "tests" / "golden" / "run-v2"
LOSS_OF_STEP_4 = 1.6100294589996338  # when it was written
DOCUMENT = " ".join((ROOT / "docs" / "checkpoint-format.md").read_text().split())


@pytest.mark.parametrize("golden", GOLDEN)
def test_a_checkpoint_of_every_version_still_loads(golden: Path, tmp_path: Path) -> None:
    """Saved in the middle of step 4, after one of its two batches."""
    verify_checkpoint(golden)
    checkpoint = load_checkpoint(golden)
    require_usable(checkpoint)
    session = session_of(tmp_path)
    session.restore(checkpoint)
    assert dataclasses.asdict(session.counters) | checkpoint.state["counters"] == (
        dataclasses.asdict(session.counters)
    )
    assert session.counters.step == 3 and session.next_batch == 7
    assert session.generator.get_state() == {"seed": 1, "stream": 0, "offset": 873}
    for name, weight in session.weights().items():
        assert weight.numpy().tobytes() == checkpoint.model[name].tobytes()
    bias = dict(session.model.named_parameters())["head.bias"]
    assert session.updates.optimizer.state[bias]["step"] == 3
    assert bias.grad is not None
    assert bias.grad.numpy().tobytes() == checkpoint.arrays["gradient.head.bias"].tobytes()
    # What it goes on to is what it went on to when it was written, but for the last bits.
    loss = train_step(session, RunFolder(tmp_path))
    assert loss is not None and math.isclose(loss, LOSS_OF_STEP_4, rel_tol=1e-4)


def test_one_of_version_2_can_write_by_itself(tmp_path: Path) -> None:
    """Under any name; what is of version 1 needs the tokenizer of the run that it lies in."""
    first, second = (Path(shutil.copytree(g, tmp_path / g.parent.name)) for g in GOLDEN)
    model, tokenizer = load_run(second)
    assert tokenizer.characters == tuple("\nabcd")
    assert model.config.vocab_size == tokenizer.vocab_size
    with pytest.raises(DataError, match="cannot read tokenizer"):
        load_run(first)
    inside = tmp_path / "run" / "checkpoints" / "step-00000003"
    shutil.copytree(first, inside)
    tokenizer.save(tmp_path / "run" / "tokenizer.json")
    assert load_run(inside)[1].characters == tokenizer.characters


def test_the_final_weights_of_version_2_are_still_verified() -> None:
    """They lie where there is no checkpoint beside them, and are those of the golden one."""
    model, tokenizer = load_run(GOLDEN_RUN)
    newest = load_checkpoint(GOLDEN[1])
    assert newest.tokenizer is not None and tokenizer.characters == newest.tokenizer.characters
    for name, weight in model.state_dict().items():
        assert weight.numpy().tobytes() == newest.model[name].tobytes()
    found = list(verify(GOLDEN_RUN))
    assert {saved.kind: saved.problem for saved in found} == dict.fromkeys(
        ("weights", "config", "tokenizer")
    )
    assert found[0].step == 3


def test_a_checkpoint_with_fewer_counters_and_settings_loads(tmp_path: Path) -> None:
    """As an earlier writer made it: what is absent has a default."""
    checkpoint = load_checkpoint(GOLDEN[0])
    for name in ("skipped", "skipped_in_a_row"):
        del checkpoint.state["counters"][name]
    del checkpoint.config["train"]["skip_nonfinite"]
    session_of(tmp_path).restore(checkpoint)
    require_usable(checkpoint)


def keys(tree: Any) -> Iterator[str]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield key
            yield from keys(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from keys(value)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("miniature")
    write_run(folder)
    return folder / "checkpoints" / "step-00000002"


def test_every_key_is_in_the_document(written: Path, tmp_path: Path) -> None:
    weights = set(load_checkpoint(written).model)
    found = {
        name: json.loads((written / name).read_bytes())
        for name in os.listdir(written)
        if name.endswith(".json")
    }
    assert len(found) == 5
    settings = set(found["config.json"]["train"])  # all of the flags; the document says so
    model = session_of(tmp_path).model
    config = session_of(tmp_path).config
    for kind in ("adam", "adamw", "sgd", "muon"):
        optimizer = build_optimizer(
            list(model.named_parameters()),
            dataclasses.replace(config, optimizer=kind),
            model=model,
        )
        found[kind] = optimizer.state_dict()
    for name, record in found.items():
        for key in set(keys(record)) - weights - settings:
            words = (f"`{key}`", f".{key}`", f'"{key}"')
            assert any(word in DOCUMENT for word in words), f"{key} of {name}"


def test_every_key_of_a_nested_model_is_in_the_document(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("abcd " * 60)
    for optimizer in ("adamw", "muon", "delta_rule", "dgd"):
        session = build_session(
            resolve(
                TrainConfig(
                    model="nested-surprise",
                    wiring="nested",
                    context=4,
                    batch_size=2,
                    data=str(text),
                    optimizer=optimizer,
                    chunk_sizes="1,2,4",
                )
            )
        )
        train_step(session, RunFolder(tmp_path))
        tree, arrays = session.state()
        tree |= {"model": session.model.config.to_dict()}
        named = {name for name, _ in session.model.named_parameters()}
        for key in set(keys(tree)) - named:
            words = (f"`{key}`", f".{key}`", f'"{key}"')
            levels = ("level1_fast", "level2_medium", "level3_slow")
            assert key in levels or any(word in DOCUMENT for word in words), key
        for name in arrays:
            assert any(f"`{part}." in DOCUMENT for part in (name.split(".")[0],)), name


def test_every_key_that_has_a_type_is_in_the_document() -> None:
    for record in (state_types(), CONFIG):
        for key, inner in record.items():
            assert f"`{key}`" in DOCUMENT or f"`{key}." in DOCUMENT, key
            if isinstance(inner, dict):
                for name in inner:
                    assert f"`{key}.{name}`" in DOCUMENT or f"`{name}`" in DOCUMENT, name


def test_every_file_and_limit_is_in_the_document(written: Path) -> None:
    for name in os.listdir(written):
        assert f"| `{name}` |" in DOCUMENT
    assert f"{json_records.RECORD_LIMIT >> 20} MiB of another JSON file" in DOCUMENT
    assert f"about {_json.VALUES:,} values" in DOCUMENT
    assert f"at most {_json.DEPTH} levels" in DOCUMENT
    assert f"at most {_json.DIGITS} digits" in DOCUMENT


def test_what_the_document_says_of_arrays(written: Path) -> None:
    arrays = load_checkpoint(written).arrays
    weights = load_checkpoint(written).model
    for name, array in arrays.items():
        parameter = name.removeprefix("gradient.").removeprefix("optimizer.state.")
        if not name.startswith("gradient."):
            parameter = parameter.rpartition(".")[0]
        assert array.shape == weights[parameter].shape, name


def test_the_files_in_the_run_folder_are_the_same(written: Path) -> None:
    """But for the digest that the config there has of itself."""
    run = written.parents[1]
    record = json.loads((run / "config.json").read_bytes())
    assert len(record.pop("sha256")) == 64
    assert pack_json(record) == (written / "config.json").read_bytes()
    assert (run / "tokenizer.json").read_bytes() == (written / "tokenizer.json").read_bytes()


@pytest.mark.parametrize("golden", GOLDEN)
def test_the_golden_checkpoints_are_small_and_of_no_machine(golden: Path) -> None:
    assert sum(p.stat().st_size for p in golden.iterdir()) < 30_000
    text = b"".join(p.read_bytes() for p in golden.iterdir()).decode("latin-1")
    assert "/tmp" not in text and "/home" not in text
