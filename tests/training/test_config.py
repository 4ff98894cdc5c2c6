"""Settings: defaults < TOML < flags, checks that name the setting, and what resume may change."""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path

import pytest

import tinytape as tt
from tinytape import checkpoint, generate, study
from tinytape.models.spec import learning_rate
from tinytape.training.arguments import train_parser
from tinytape.training.config import (
    SETTINGS,
    TrainConfig,
    flag,
    read_toml,
)
from tinytape.training.defaults import resolve
from tinytape.training.errors import ConfigError


def given(*flags: str) -> dict[str, object]:
    values = vars(train_parser().parse_args(flags))
    return {name: value for name, value in values.items() if name in SETTINGS}


def toml(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text)
    return path


def test_flags_beat_the_file_and_the_file_beats_the_defaults(tmp_path: Path) -> None:
    path = toml(tmp_path, 'model = "tiny"\nlr = 1e-3\nbatch-size = 3\nclip = 2\n')
    config = TrainConfig(**{**read_toml(path), **given("--lr", "0.5", "--seed", "9")})
    assert (config.model, config.batch_size, config.clip) == ("tiny", 3, 2.0)
    assert (config.lr, config.seed) == (0.5, 9)
    assert config.iters == TrainConfig().iters
    assert isinstance(config.clip, float)  # an integer is a number too


def test_every_setting_is_a_flag_and_in_the_help() -> None:
    text = train_parser().format_help()
    for name, option in SETTINGS.items():
        assert flag(name) in text
        assert option.metadata["help"].split(";")[0] in " ".join(text.split())
    for word in ("--resume", "--config", "--overwrite", "examples:"):
        assert word in text
    assert text.count("(default:") >= len(SETTINGS)


def test_what_follows_from_other_settings() -> None:
    config = resolve(TrainConfig(model="tiny", data="texts/my tale.txt"))
    assert config.out == os.path.join("runs", "tiny-my-tale")
    assert config.min_lr == config.lr / 10 and config.warmup == 100
    assert resolve(TrainConfig(iters=50)).warmup == 5
    assert resolve(TrainConfig(out="here", min_lr=0.0)).out == "here"
    assert resolve(TrainConfig(out="here", min_lr=0.0)).min_lr == 0.0
    assert resolve(TrainConfig()).weight_decay == 0.1
    assert resolve(TrainConfig(optimizer="sgd")).weight_decay == 0.0
    assert resolve(TrainConfig(optimizer="muon")).weight_decay == 0.1
    for model, optimizer, rate in (
        ("tiny", "adamw", 2e-3),
        ("nested", "adam", 6e-3),
        ("nested-original", "muon", 3e-4),
        ("tiny", "muon", 8e-3),
        ("nested-state", "muon", 1.2e-2),
        ("nested", "dgd", 0.1),
    ):
        assert resolve(TrainConfig(model=model, optimizer=optimizer)).lr == rate
    assert resolve(TrainConfig(optimizer="sgd", weight_decay=0.5)).weight_decay == 0.5
    assert resolve(resolve(TrainConfig())) == resolve(TrainConfig())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"iters": 0}, "iters: expected at least 1, got 0"),
        ({"iters": 1.5}, "iters: expected a whole number, got 1.5"),
        ({"iters": True}, "iters: expected a whole number, got True"),
        ({"iters": "9"}, "iters: expected a whole number, got '9'"),
        ({"iters": None}, "iters: expected a whole number"),
        ({"lr": 0.0}, "lr: expected more than 0, got 0.0"),
        ({"lr": math.nan}, "lr: expected a finite number"),
        ({"lr": "fast"}, "lr: expected a number"),
        ({"dropout": 1.0}, "dropout: expected less than 1, got 1.0"),
        ({"beta2": 1.0}, "beta2: expected less than 1"),
        ({"muon_momentum": 1.0}, "muon_momentum: expected less than 1, got 1.0"),
        ({"muon_momentum": -0.5}, "muon_momentum: expected at least 0, got -0.5"),
        ({"optimizer": "lion"}, "optimizer: expected one of adamw, adam, sgd, muon, "),
        ({"schedule": "Cosine"}, "schedule: expected one of"),
        ({"data": ""}, "data: expected some text, got none"),
        ({"data": {"a": 1}}, "data: expected a path"),
        ({"warmup": 10, "iters": 10}, "warmup: 10 steps"),
        ({"lr": 0.1, "min_lr": 0.2}, "min_lr: 0.2 is more than lr"),
        ({"seed": -1}, "seed: expected at least 0"),
        ({"threads": 0}, "threads: expected at least 1"),
    ],
)
def test_a_bad_value_is_named(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        TrainConfig(**settings)  # type: ignore[arg-type]
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("batchsize = 3", "unknown setting 'batchsize'; did you mean batch_size"),
        ("zzz = 3", "unknown setting 'zzz'; known: model"),
        ("lr = 1\nlr = 2", "not TOML"),
        ("batch_size = 1\nbatch-size = 2", "batch_size is given twice"),
        ("[train]\nlr = 1", "unknown setting 'train'"),
        ("\x00", "not TOML"),
        ("a = " + "[" * 10_000, "not TOML"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = toml(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        read_toml(path)
    assert words in str(error.value) and str(path) in str(error.value)


def test_an_absent_file() -> None:
    with pytest.raises(ConfigError, match="cannot read --config"):
        read_toml("nowhere.toml")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--learning-rate", "1"], "no option --learning-rate; did you mean --lr?"),
        (["--max-seq-len", "8"], "no option --max-seq-len; did you mean --context?"),
        (["-lr", "1"], "no option -lr; did you mean --lr?"),
        (["--momentum", "0.9"], "that of sgd and delta_momentum is --beta1, that of muon --muon-"),
        (["--epochs", "3"], "training is counted in steps, not in passes over the text: --iters"),
        (["--device", "cuda"], "no option --device; everything runs on the CPU"),
        (["--n-layer", "0"], "argument --n-layer: expected at least 1, got 0"),
        (["--layer", "3"], "no option --layer; did you mean --layers?"),
        (["--verbose"], "no option --verbose (see"),  # nothing is near: nothing is said
        (["--top-p", "1"], "no option --top-p (see"),
        (["--steps=5"], "no option --steps; did you mean --iters?"),
        (["--batchsize", "5"], "did you mean --batch-size"),
        (["--iter", "5"], "no option --iter; did you mean --iters"),  # no silent abbreviations
        (["--iters", "many"], "argument --iters: expected a whole number, got 'many'"),
        (["--optimizer", "lion"], "argument --optimizer: expected one of adamw, adam, "),
        (["small"], "unexpected argument 'small'"),
    ],
)
def test_a_wrong_flag_says_what_was_meant(
    flags: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit:
        train_parser().parse_args(flags)
    message = capsys.readouterr().err
    assert exit.value.code == 2
    assert words in message and message.startswith("error: ") and message.count("\n") == 1


def test_every_command_says_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    for parser in (train_parser(), generate.parser(), checkpoint.parser(), study.parser()):
        with pytest.raises(SystemExit) as exit:
            parser.parse_args(["--version"])
        assert exit.value.code == 0
        assert capsys.readouterr().out == f"tinytape {tt.__version__}\n"


@pytest.mark.parametrize(
    ("model", "pace"),
    [
        ("nested-original", ("1,16,256", "sum", "divided", 3e-4)),
        ("nested-state", ("1,4,16", "mean", "unscaled", 6e-3)),
    ],
)
def test_the_pace_of_the_levels(model: str, pace: tuple[str, str, str, float]) -> None:
    config = resolve(TrainConfig(model=model))
    assert (config.chunk_sizes, config.level_update, config.level_rates, config.lr) == pace


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
@pytest.mark.parametrize(("iters", "warmup"), [(100, 10), (100, 0), (1, 0), (2, 1), (11, 10)])
def test_the_learning_rate_rises_then_falls_to_its_end(
    schedule: str, iters: int, warmup: int
) -> None:
    config = resolve(TrainConfig(schedule=schedule, iters=iters, warmup=warmup, lr=1.0, min_lr=0.1))
    rates = [learning_rate(step, config) for step in range(iters)]
    assert rates[:warmup] == pytest.approx([(i + 1) / (warmup + 1) for i in range(warmup)])
    assert rates[warmup] == 1.0
    falling = rates[warmup:]
    assert falling == sorted(falling, reverse=True)
    if schedule == "constant":
        assert set(falling) == {1.0}
    elif len(falling) > 1:
        assert falling[-1] == pytest.approx(0.1)
    if schedule == "cosine" and (iters, warmup) == (100, 0):
        assert rates[33] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 3)))
        assert sum(rates) / 100 == pytest.approx(0.55)  # symmetric about the middle


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().lr = 1.0  # type: ignore[misc]
