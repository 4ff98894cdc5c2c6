"""The sizes of a model as settings: flags, TOML keys, fields, and what a run keeps of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tinytape import models, train
from tinytape.models.spec import SYNONYMS
from tinytape.training import ConfigError, TrainConfig, resolve
from tinytape.training.arguments import train_parser
from tinytape.training.changes import changed_for_resume
from tinytape.training.config import read_toml
from tinytape.training.load import settings_of
from tinytape.training.session import build_session

SIZES = {"context": 8, "width": 12, "layers": 1, "heads": 3}


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("the quick brown fox jumps over the lazy dog. " * 40)
    return path


def described(config: TrainConfig) -> dict[str, object]:
    return models.config_of(build_session(resolve(config)).model)


def test_settings_make_the_model(text: Path) -> None:
    model = described(TrainConfig(data=str(text), model="tiny", **SIZES))
    assert {name: model[name] for name in SIZES} == SIZES


def test_what_is_not_given_is_the_preset_s(text: Path) -> None:
    model = described(TrainConfig(data=str(text), model="tiny", layers=1))
    assert model["layers"] == 1
    assert model["width"] == models.presets()["tiny"]["width"]


def test_nested_models_have_sizes_of_their_own(text: Path) -> None:
    model = described(TrainConfig(data=str(text), model="nested", context=8, width=6, hidden=10))
    assert (model["width"], model["hidden"]) == (6, 10)


@pytest.mark.parametrize(("name", "ours"), SYNONYMS.items())
def test_names_of_other_trainers(name: str, ours: str, tmp_path: Path) -> None:
    assert getattr(TrainConfig(**{name: 6}), ours) == 6
    for flag in (name, name.replace("_", "-")):
        assert vars(train_parser().parse_args([f"--{flag}", "6"]))[ours] == 6
        file = tmp_path / "run.toml"
        file.write_text(f"{flag} = 6\n")
        assert read_toml(file) == {ours: 6}


def test_a_size_is_given_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="width is given twice"):
        TrainConfig(width=4, n_embd=4)
    (tmp_path / "run.toml").write_text("width = 4\nn_embd = 4\n")
    with pytest.raises(ConfigError, match="width is given twice"):
        read_toml(tmp_path / "run.toml")
    for words in (["--width", "4", "--n_embd=8"], ["--n-embd", "8", "--width=4"]):
        with pytest.raises(SystemExit) as ended:
            train_parser().parse_args(words)
        assert ended.value.code == 2
        assert "error: width is given twice: --n" in capsys.readouterr().err
    assert train_parser().parse_args(["--width", "4", "--width", "8"]).width == 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"model": "tiny", "heads": 5},
            "GPTConfig: expected heads to divide width, got width 64 and heads 5",
        ),
        ({"model": "nested", "heads": 4}, "heads: nested models have none, got 4"),
        ({"model": "nested", "layers": 4}, "layers: nested models have none, got 4"),
        ({"model": "tiny", "hidden": 4}, "hidden: a setting of nested models, got 4 for model 't"),
    ],
)
def test_sizes_that_do_not_fit(settings: dict[str, object], message: str, text: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        described(TrainConfig(data=str(text), **settings))


@pytest.mark.parametrize("sizes", [SIZES, {"layers": 1}, {}], ids=str)
def test_a_run_keeps_its_sizes(sizes: dict[str, int], text: Path) -> None:
    """Those of the preset do not stand in the file, which is as it was before there were others."""
    session = build_session(resolve(TrainConfig(data=str(text), model="tiny", **sizes)))
    record = json.loads(json.dumps(session.record()))
    assert {"width", "layers", "heads", "hidden"} & record["train"].keys() == sizes.keys() - {
        "context"
    }
    found = settings_of(record, Path("config.json"))
    assert found == session.config
    assert {name: getattr(found, name) for name in sizes} == sizes


def test_a_resumed_run_has_the_sizes_it_has(text: Path) -> None:
    old = build_session(resolve(TrainConfig(data=str(text), model="tiny"))).config
    assert changed_for_resume(old, {"width": 64, "heads": 4}) == old
    for allowed in ((), ("width",)):
        with pytest.raises(ConfigError, match=r"another width: the run has 64, asked for 32.*made"):
            changed_for_resume(old, {"width": 32}, allowed)


def test_the_help_has_the_sizes_of_the_presets(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train_parser().parse_args(["--help"])
    shown = capsys.readouterr().out
    for name, options in models.presets().items():
        (line,) = [x for x in shown.splitlines() if x.startswith(f"  {name} ")]
        assert f"context {options['context']}" in line and f"width {options['width']}" in line
    assert "n-embd" not in shown


def test_a_change_is_allowed_under_another_name(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "run")
    sizes = ["--n-layer", "1", "--n-embd", "4", "--n-head", "1", "--block-size", "4"]
    assert (
        train.main(["--model", "tiny", "--data", str(text), "--iters", "1", *sizes, "--out", out])
        == 0
    )
    capsys.readouterr()
    assert train.main(["--resume", out, "--n-embd", "8", "--allow-change", "n-embd"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: cannot resume with another width: the run has 4, asked for 8")
    assert len(said.splitlines()) == 1
