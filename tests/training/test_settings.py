"""One check of a setting for all that can give it; what it lets through can be read again."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinytape import models
from tinytape.training import (
    CheckpointError,
    ConfigError,
    TrainConfig,
    memory_need,
    resolve,
    session,
)
from tinytape.training.arguments import train_parser
from tinytape.training.checkpoint import pack_json, unpack_json
from tinytape.training.config import SETTINGS, flag, read_toml
from tinytape.training.load import settings_of

HUGE = 10**401 - 1
SIXTY_FOUR = 2**64
FILE = Path("run/config.json")


def by_library(name: str, value: Any, folder: Path) -> Any:
    return getattr(TrainConfig(**{name: value}), name)


def by_flag(name: str, value: Any, folder: Path) -> Any:
    return getattr(train_parser().parse_args([f"{flag(name)}={value}"]), name)


def by_toml(name: str, value: Any, folder: Path) -> Any:
    path = folder / "run.toml"
    text = json.dumps(value) if isinstance(value, str) else repr(value)
    path.write_text(f"{name} = {text}\n")
    return read_toml(path)[name]


def by_json(name: str, value: Any, folder: Path) -> Any:
    train = dataclasses.asdict(resolve(TrainConfig())) | {name: value}
    return getattr(settings_of(record(train), FILE), name)


WAYS: dict[str, Callable[[str, Any, Path], Any]] = {
    "library": by_library,
    "flag": by_flag,
    "toml": by_toml,
    "json": by_json,
}


def record(train: dict[str, Any]) -> dict[str, Any]:
    return {"format": "tinytape-run", "version": 1, "train": train, "model": {}, "corpus": {}}


def refusal(way: str, name: str, value: Any, folder: Path, capsys: Any) -> str:
    try:
        kept = WAYS[way](name, value, folder)
    except (CheckpointError, ConfigError) as error:
        return str(error)
    except SystemExit:
        return str(capsys.readouterr().err)
    raise AssertionError(f"{name} = {kept!r} was accepted")


@pytest.mark.parametrize("way", WAYS)
def test_every_number_has_bounds_wherever_it_is_given(
    way: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, option in SETTINGS.items():
        about = option.metadata
        if about["kind"] is int:
            high = SIXTY_FOUR - 1 if name == "seed" else 2**63 - 1
            wrong = [about["low"] - 1, high + 1, 10**20, -(10**30), HUGE, -HUGE]
        elif about["kind"] is float:
            wrong = [math.inf, -math.inf, math.nan, HUGE, -HUGE, -1e-9]
        else:
            continue
        for value in wrong:
            said = refusal(way, name, value, tmp_path, capsys)
            assert flag(name).strip("-") in said.replace("_", "-"), said
            assert "expected" in said and len(said.splitlines()) == 1 and len(said) < 300, said


@pytest.mark.parametrize("way", WAYS)
def test_the_largest_seed_is_one(way: str, tmp_path: Path) -> None:
    for seed in (0, 2**63, SIXTY_FOUR - 1):
        assert WAYS[way]("seed", seed, tmp_path) == seed


@pytest.mark.parametrize("way", WAYS)
def test_a_home_folder_is_spelled_out(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    for name in ("out", "data"):
        assert WAYS[way](name, "~/x y", tmp_path) == "/home/somebody/x y"
        assert WAYS[way](name, "~", tmp_path) == "/home/somebody"
        assert WAYS[way](name, "./~", tmp_path) == "./~"
        said = refusal(way, name, "~nobody-here/x", tmp_path, capsys)
        assert "there is no home folder '~nobody-here'" in said and "./~nobody-here" in said
        if way != "flag":
            assert "NUL" in refusal(way, name, "a\0b", tmp_path, capsys)


@pytest.mark.parametrize("arguments", [["--resume=~/r"], ["--config=~/c.toml"]])
def test_other_paths_too(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    found = vars(train_parser().parse_args(arguments))
    assert found[arguments[0][2:].split("=")[0]].startswith("/home/somebody/")


def test_a_path_may_have_bytes_of_another_encoding() -> None:
    """Such names exist, and Python gives them as lone surrogates."""
    name = os.fsdecode(b"caf\xe9")
    assert again(resolve(TrainConfig(out=name, data=name))).out == name
    for wrong in ("\ud800", "a\udfff"):
        with pytest.raises(ConfigError, match="out: no file can have the name"):
            TrainConfig(out=wrong)
    with pytest.raises(ConfigError, match="separator: expected a text, got one with half a char"):
        TrainConfig(separator=name)


def again(config: TrainConfig) -> TrainConfig:
    """The settings as a run keeps them and its reader gives them back."""
    written = pack_json(record(dataclasses.asdict(config)))
    return settings_of(unpack_json(written, FILE), FILE)


def values(name: str) -> st.SearchStrategy[Any]:
    """Whatever a setting may be, its ends included."""
    about = SETTINGS[name].metadata
    if about["choices"]:
        return st.sampled_from(about["choices"])
    if about["kind"] is int:
        ends = st.sampled_from([about["low"], about["high"]])
        return ends | st.integers(about["low"], about["high"])
    if about["kind"] is float:
        low = max(about["low"], about["above"])
        high = about["below"] if math.isfinite(about["below"]) else None
        return st.floats(
            low,
            high,
            exclude_min=low == about["above"],
            exclude_max=high is not None,
            allow_nan=False,
            allow_infinity=False,
        )
    texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
    counts, numbers = st.integers(1, 10**15 - 1), st.floats(0, allow_infinity=False)
    special: dict[str, st.SearchStrategy[Any]] = {
        "reset": st.sampled_from(["never", "document"]) | counts.map(str),
        "chunk_sizes": st.lists(counts, min_size=3, max_size=3).map(joined),
        "surprise_weights": st.lists(numbers, min_size=1, max_size=3).map(joined),
        "level_memory": st.just("off")
        | st.lists(numbers.filter(bool), min_size=2, max_size=2).map(joined),
        "model": st.sampled_from(list(models.presets())),
    }
    if about["kind"] is Path:
        return texts.map(lambda t: t.replace("\0", " ").replace("~", "-"))
    return special.get(name, texts)


def joined(parts: list[Any]) -> str:
    return ", ".join(map(str, parts))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_what_is_accepted_is_read_again(data: st.DataObject) -> None:
    names = data.draw(st.sets(st.sampled_from(list(SETTINGS)), min_size=1, max_size=6))
    chosen = {name: data.draw(values(name), name) for name in sorted(names)}
    try:
        config = resolve(TrainConfig(**chosen))
    except ConfigError as error:  # two that do not go together
        assert not str(error).startswith(tuple(f"{name}: expected" for name in SETTINGS))
        return
    assert again(config) == config
    assert resolve(config) == config


@pytest.mark.parametrize("name", list(SETTINGS))
def test_each_setting_is_read_again(name: str) -> None:
    """The same, so that each is seen at its ends whatever is drawn above."""

    @settings(max_examples=8, deadline=None)
    @given(values(name))
    def check(value: Any) -> None:
        config = TrainConfig(**{name: value, **({} if name == "iters" else {"iters": 2**63 - 1})})
        kept = getattr(config, name)
        written = pack_json(record({name: kept}))
        assert TrainConfig(**unpack_json(written, FILE)["train"]) == dataclasses.replace(
            TrainConfig(), **{name: kept}
        )

    if name in ("min_lr", "warmup"):  # bounded by others, which the test above draws
        return
    check()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"lr = {HUGE}", "lr: expected a finite number, got a whole number of 1333 bits"),
        (f"iters = {HUGE}", "iters: expected at most 9223372036854775807, got a whole number of"),
        (f"iters = {'9' * 5000}", "not TOML: "),
        ("lr = 1e400", "lr: expected a finite number, got inf"),
        ("lr = nan", "lr: expected a finite number, got nan"),
        ("iters = true", "iters: expected a whole number, got True"),
        ("iters = 2020-01-01", "iters: expected a whole number, got datetime.date"),
        ('out = ""', "out: expected some text, got none"),
        ("max_seq_len = 3", "unknown setting 'max_seq_len'; did you mean context?"),
        ("Batch-Size = 3", "unknown setting 'Batch_Size'; did you mean batch_size?"),
    ],
)
def test_a_wrong_value_in_a_file_names_the_file(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        read_toml(path)
    assert words in str(error.value) and str(path) in str(error.value)


def test_a_toml_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(b"\xef\xbb\xbfiters = 3\r\n")
    assert read_toml(path) == {"iters": 3}


def test_a_toml_file_has_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(b"#" * (1 << 21))
    with pytest.raises(ConfigError, match="2097152 bytes, expected at most 1048576"):
        read_toml(path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="not a regular file"):
        read_toml(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"context": 10**9}, "600 characters are too few; at least 1111111112 are needed"),
        ({"context": 2**63 - 1}, "600 characters are too few"),
        ({"batch_size": 2**63 - 1}, "batch_size: a batch of 9223372036854775807 x 32 characters"),
        ({"batch_size": 10**8, "model": "nested"}, "--gradient-accumulation-steps"),
    ],
)
def test_what_cannot_be_is_refused_before_memory_is_asked_for(
    changes: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "t.txt"
    text.write_text("ab cd\n" * 100)

    def no_model(*_: object, **__: object) -> None:
        raise AssertionError("a model is being made")

    monkeypatch.setattr(models, "from_config", no_model)
    monkeypatch.setattr(memory_need, "physical_memory", lambda: 8 << 30)
    config = resolve(TrainConfig(**{"model": "tiny", "data": str(text), **changes}))
    with pytest.raises(ValueError) as error:
        session.build_session(config)
    assert words in str(error.value)


def test_a_model_that_no_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    config = models.describe("small", 65, context=10**8)
    monkeypatch.setattr(memory_need, "physical_memory", lambda: 8 << 30)
    with pytest.raises(ConfigError, match="a model of 100000000 positions needs about 205 GB"):
        memory_need.require_memory(config, TrainConfig())
    wide = TrainConfig(model="tiny", width=10**8, layers=3)
    config = models.describe("tiny", 65, width=10**8, layers=3)
    with pytest.raises(ConfigError, match="width: a model of 32 positions, width 100000000, lay"):
        memory_need.require_memory(config, wide)
    monkeypatch.setattr(memory_need, "physical_memory", lambda: None)
    memory_need.require_memory(config, TrainConfig())
