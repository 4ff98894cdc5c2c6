"""What may differ when a run goes on: what is offered works, and what follows from it follows."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tinytape import models, train
from tinytape.training import ConfigError, RunFolder, TrainConfig, loop, report, resolve
from tinytape.training.changes import changed_for_resume
from tinytape.training.config import SETTINGS, flag

from ..support.small_presets import make_presets_small


def test_resume_may_change_what_does_not_shape_the_result() -> None:
    old = resolve(TrainConfig(iters=100))
    new = changed_for_resume(old, {"threads": 2, "eval_interval": 7, "keep": 1, "data": "x.txt"})
    assert (new.threads, new.eval_interval, new.keep, new.data) == (2, 7, 1, "x.txt")
    assert changed_for_resume(old, {"iters": 100, "lr": old.lr}) == old


@pytest.mark.parametrize(
    "name", [n for n, o in SETTINGS.items() if not o.metadata["may_change"] and n != "iters"]
)
def test_resume_refuses_what_shapes_the_result(name: str) -> None:
    old = resolve(TrainConfig(model="nested-state", context=64))
    value = getattr(old, name)
    # Not formatted by ruff: with one element a line the table is hard to compare by eye.
    texts = {
        "model": "tiny", "dtype": "float64", "optimizer": "sgd", "schedule": "linear",
        "reset": "8", "level_memory": "4,16", "separator": "*", "surprise": "teach",
        "surprise_weights": "1", "chunk_sizes": "1,2,3", "chunk_unit": "tokens",
        "level_update": "sum", "level_rates": "divided", "wiring": "nested",
    }  # fmt: skip
    other = {str: texts.get(name), int: 7, float: 0.001}[SETTINGS[name].metadata["kind"]]
    assert other != value
    with pytest.raises(ConfigError, match=f"cannot resume with another {name}"):
        changed_for_resume(old, {name: other})


def test_iters_may_change_only_where_the_schedule_does_not_look_at_them() -> None:
    with pytest.raises(ConfigError, match=r"another iters .the schedule depends on it"):
        changed_for_resume(resolve(TrainConfig(iters=100)), {"iters": 200})
    constant = resolve(TrainConfig(iters=100, schedule="constant"))
    assert changed_for_resume(constant, {"iters": 200}).iters == 200


def test_what_follows_from_a_setting_follows_its_change() -> None:
    old = resolve(TrainConfig(iters=1000))
    assert (old.lr, old.min_lr, old.warmup) == (2e-3, 2e-3 / 10, 100)
    for lr in (1e-4, 1e-5, 1.0):  # below the rate at the end of the run as it was planned, too
        new = changed_for_resume(old, {"lr": lr}, ["lr"])
        assert (new.lr, new.min_lr, new.warmup) == (lr, lr / 10, 100)
    short = changed_for_resume(old, {"iters": 50}, ["iters"])
    assert (short.iters, short.warmup, short.lr) == (50, 5, old.lr)
    nested = resolve(TrainConfig(model="nested-state"))
    original = changed_for_resume(nested, {"model": "nested-original"}, ["model"])
    assert original == resolve(TrainConfig(model="nested-original", out=nested.out))


def test_what_was_given_does_not_follow() -> None:
    old = resolve(TrainConfig(min_lr=1e-4, warmup=7, iters=1000))
    new = changed_for_resume(old, {"lr": 1e-3, "iters": 50}, ["lr", "iters"])
    assert (new.min_lr, new.warmup) == (1e-4, 7)
    with pytest.raises(ConfigError, match=r"leave --lr out .min_lr: 0.0001 is more than lr"):
        changed_for_resume(old, {"lr": 1e-5})
    with pytest.raises(ConfigError, match=r"min_lr: 0.0001 is more than lr"):
        changed_for_resume(old, {"lr": 1e-5}, ["lr"])
    both = changed_for_resume(old, {"lr": 1e-5, "min_lr": 0.0}, ["lr", "min_lr"])
    assert (both.lr, both.min_lr) == (1e-5, 0.0)


def test_a_longer_constant_run_keeps_its_warm_up() -> None:
    old = resolve(TrainConfig(iters=100, schedule="constant"))
    assert old.warmup == 10
    assert changed_for_resume(old, {"iters": 1000}).warmup == 10
    assert changed_for_resume(old, {"threads": 1, "keep": 9, "data": "else.txt"}).out == old.out


OTHER = {
    "model": "small", "context": "16", "dtype": "float64", "dropout": "0.1", "iters": "9",
    "batch_size": "3", "gradient_accumulation_steps": "2", "seed": "5", "optimizer": "adam",
    "lr": "1e-5", "min_lr": "0", "schedule": "linear", "warmup": "1", "clip": "0.5",
    "weight_decay": "0.01", "beta1": "0", "beta2": "0.5", "muon_momentum": "0.5", "reset": "8",
    "separator": "d", "level_memory": "4,16", "surprise": "teach", "surprise_weights": "1",
    "surprise_every": "2", "chunk_sizes": "1,2,3", "chunk_unit": "tokens", "level_update": "sum",
    "level_rates": "divided", "wiring": "nested", "eval_interval": "1", "checkpoint_interval": "2",
    "skip_nonfinite": "3", "threads": "1", "keep": "2", "width": "12", "layers": "3",
    "heads": "1", "hidden": "9",
}  # fmt: skip
RUNS = {
    "sgd": ["--model", "tiny", "--optimizer", "sgd"],
    "muon": ["--model", "tiny", "--optimizer", "muon", "--schedule", "constant"],
    "nested": [
        "--model",
        "nested-surprise",
        "--level-memory",
        "4,8",
        "--optimizer",
        "sgd",
        "--reset",
        "document",
        "--separator",
        ".",
    ],
}


@pytest.fixture(scope="module", autouse=True)
def small_models() -> Iterator[None]:
    """The presets in a size that trains at once."""
    with pytest.MonkeyPatch.context() as patched:
        make_presets_small(patched)
        patched.setattr(report, "SAMPLE_TOKENS", 1)
        yield


def stop_at_once(patched: pytest.MonkeyPatch) -> None:
    """A run stops after its first step."""
    real = loop.train_step

    def step(*args: Any, **named: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return real(*args, **named)

    patched.setattr(loop, "train_step", step)


@pytest.fixture(scope="module", params=RUNS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "t.txt").write_text("ab cd.\nefg hij\n" * 30)
    quick = ["--iters", "2", "--batch-size", "2", "--context", "8", "--checkpoint-interval", "1"]
    where = ["--data", str(folder / "t.txt"), "--out", str(folder / "run")]
    with pytest.MonkeyPatch.context() as patched:
        stop_at_once(patched)
        assert train.main([*RUNS[request.param], *quick, *where]) == 128 + signal.SIGINT
    return folder / "run"


def test_what_is_advised_about_each_setting_works(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is changed; then whatever the error says is done, until there is no error."""
    assert {*OTHER, "data", "out"} == {*SETTINGS}
    own = models.spec_of_preset(RunFolder(run).read_config()["train"]["model"])
    others = {name for spec in models.specs() if spec is not own for name in spec.own_settings()}
    left_out = 0
    for name, value in OTHER.items():
        if name in others:
            continue
        copy = tmp_path / name
        shutil.copytree(run, copy)
        command = ["--resume", str(copy), flag(name), value]
        capsys.readouterr()
        code = train.main(command)
        if code:
            said = capsys.readouterr().err
            offered = re.search(r"leave (--\S+) out(?:, or add (--allow-change \S+)$)?", said)
            assert code == 2 and offered and offered[1] == flag(name), said
            if offered[2]:
                command += offered[2].split()
            else:
                left_out += 1
                command = command[:2]
            if offered[2] or left_out == 1:  # one of those that come to the same
                assert train.main(command) == 0, (command, said, capsys.readouterr().err)
        kept = RunFolder(copy).read_config()["train"]
        assert "--allow-change" not in command or str(kept[name]) == str(type(kept[name])(value))
        shutil.rmtree(copy)
