"""``python -m tinytape.checkpoint``: what is saved, whether it is good, what is in it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from tinytape import checkpoint, train
from tinytape.training.checkpoint import load_checkpoint

from ..soak._miniature import forge

pytestmark = pytest.mark.slow

TEXT = "Speak, speak.\nFirst, you know Caius Marcius is chief enemy to the people.\n" * 10


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    (folder / "rome.txt").write_text(TEXT)
    flags = ["--model", "tiny", "--batch-size", "2", "--iters", "6", "--eval-interval", "2"]
    flags += ["--checkpoint-interval", "2", "--data", str(folder / "rome.txt")]
    assert train.main([*flags, "--out", str(folder / "rome")]) == 0
    return folder / "rome"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A run with checkpoints of steps 2, 4 and 6, that of step 4 being the best."""
    copy = tmp_path / "rome"
    shutil.copytree(finished, copy)
    shutil.rmtree(copy / "best")
    shutil.copytree(copy / "checkpoints" / "step-00000004", copy / "best" / "step-00000004")
    return copy


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[str]]:
    code = checkpoint.main([str(argument) for argument in arguments])
    return code, capsys.readouterr().out.splitlines()


def record_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    checkpoint.main([*map(str, arguments), "--json"])
    return json.loads(capsys.readouterr().out)


def test_verify_says_good_of_everything(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = said(capsys, "verify", run)
    assert code == 0
    folders = ["checkpoints/step-00000006", "checkpoints/step-00000004"]
    folders += ["checkpoints/step-00000002", "best/step-00000004", "model.safetensors"]
    folders += ["config.json", "tokenizer.json"]
    assert lines == [f"good     {run / name}" for name in folders]
    assert record_of(capsys, "verify", run)["good"] is True
    one = run / "checkpoints" / "step-00000002"
    assert said(capsys, "verify", one) == (0, [f"good     {one}"])


@pytest.mark.parametrize(
    "name",
    [
        "checkpoints/step-00000004/state.json",
        "best/step-00000004/MANIFEST.json",
        "model.safetensors",
    ],
)
def test_verify_names_what_is_damaged(
    run: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    content = (run / name).read_bytes()
    (run / name).write_bytes(content[: len(content) // 2])
    code, lines = said(capsys, "verify", run)
    assert code == 1
    bad = [line for line in lines if not line.startswith("good     ")]
    assert len(bad) == 1 and bad[0].startswith("damaged  ") and str(run / name) in bad[0]
    record = record_of(capsys, "verify", run)
    assert record["good"] is False
    assert [s["problem"] for s in record["saved"] if s["problem"]] == [bad[0].split("  ", 1)[1]]


def test_verify_finds_content_that_does_not_belong_together(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each file as its manifest says, and finite: only the config tells that they do not fit."""
    path = run / "checkpoints" / "step-00000006"
    old = load_checkpoint(path)
    larger = {**old.config, "model": {**old.config["model"], "layers": 3}}
    without = {n: a for n, a in old.arrays.items() if "head.bias" not in n}
    wrong = {**old.arrays, "optimizer.state.head.bias.exp_avg": np.zeros(3, np.float32)}
    for change, words in (
        ({"config": larger}, "missing: blocks.2."),
        ({"config": {**old.config, "train": {"lr": "fast"}}}, "expected the key 'dtype'"),
        ({"arrays": without}, "state.json: refers to "),
        ({"arrays": wrong}, "size mismatch for head.bias.exp_avg"),
        ({"state": {"step": 6}}, "expected the key 'optimizer'"),
    ):
        whole = {"model": old.model, "arrays": old.arrays, "state": old.state, "config": old.config}
        forge(path, **{**whole, **change})
        code, lines = said(capsys, "verify", path)
        assert code == 1 and len(lines) == 1 and words in lines[0], lines
    forge(path, model=old.model, arrays=old.arrays, state=old.state, config=old.config)
    weights = safetensors.numpy.load_file(run / "model.safetensors")
    weights["head.bias"] = np.full_like(weights["head.bias"], np.nan)
    (run / "model.safetensors").write_bytes(safetensors.numpy.save(weights, {"format": "tinytape"}))
    code, lines = said(capsys, "verify", run)
    bad = [line for line in lines if not line.startswith("good     ")]
    assert code == 1 and len(bad) == 1, lines
    assert "model.safetensors: head.bias holds values that are not finite" in bad[0]


def test_sizes_that_somebody_made_up_are_not_built(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / "checkpoints" / "step-00000006"
    old = load_checkpoint(path)
    for change in ({"width": 2**40}, {"layers": 2**40}, {"vocab_size": 2**60}):
        forge(old.path, config={**old.config, "model": {**old.config["model"], **change}})
        code, lines = said(capsys, "verify", path)
        assert code == 1 and "describes a model of" in lines[0]


def test_list_marks_the_latest_and_the_best(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = said(capsys, "list", run)
    assert code == 0 and lines[0].split() == ["step", "size", "written", "held-out"]
    assert [line.split()[0] for line in lines[1:]] == ["6", "4", "4", "2"]
    assert lines[1].endswith("latest") and lines[3].endswith("best")
    assert not any(word in lines[2] + lines[4] for word in ("latest", "best", "damaged"))
    counters = load_checkpoint(run / "checkpoints" / "step-00000006").state["counters"]
    assert f"{counters['held_out_loss']:.4f}" in lines[1]
    (run / "checkpoints" / "step-00000006" / "env.json").unlink()
    rows = record_of(capsys, "list", run)["checkpoints"]
    assert [row["latest"] for row in rows] == [False, True, False, False]
    assert "env.json" in rows[0]["problem"]
    size = sum(p.stat().st_size for p in (run / "checkpoints" / "step-00000004").iterdir())
    assert rows[1]["bytes"] == size and rows[1]["written"].startswith("20")


def test_show_has_everything(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = said(capsys, "show", run)
    text = "\n".join(lines)
    assert code == 0 and lines[0].endswith("step-00000006")
    for words in ("next_batch", "best_loss", "train.lr", "blas_core", "model.offset"):
        assert words in text
    head = next(line for line in lines if line.split()[:1] == ["head.weight"])
    vocabulary = len(set(TEXT))
    assert head.split()[1:] == ["float32", str(vocabulary), "x", "64", f"{vocabulary * 256:,}"]
    one = run / "checkpoints" / "step-00000002"
    about = record_of(capsys, "show", one)
    assert about["step"] == 2 and about["data"]["next_batch"] == 2
    names = {array["name"] for array in about["arrays"]["train_state.safetensors"]}
    assert "optimizer.state.head.weight.exp_avg" in names


def test_show_takes_the_latest_good_one(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "checkpoints" / "step-00000006" / "env.json").unlink()
    assert checkpoint.main(["show", str(run)]) == 0
    captured = capsys.readouterr()
    assert "step-00000004" in captured.out.splitlines()[0]
    assert captured.err.startswith("skipped a checkpoint: ")


def test_a_name_in_a_checkpoint_cannot_command_the_terminal(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = load_checkpoint(run / "checkpoints" / "step-00000006")
    forge(
        old.path,
        env={**old.env, "\x1b[2J": "\x1b]0;title\x07"},
        model={**old.model, "\x1b[2J": np.zeros(1)},
    )
    for action in ("show", "verify", "list"):
        checkpoint.main([action, str(run)])
        captured = capsys.readouterr()
        assert "\x1b" not in captured.out + captured.err
        assert "\\x1b[2J" in captured.out


@pytest.mark.parametrize("action", ["verify", "list", "show"])
def test_nothing_is_changed(run: Path, capsys: pytest.CaptureFixture[str], action: str) -> None:
    (run / "checkpoints" / "step-00000004" / "env.json").unlink()
    (run / "checkpoints" / ".tmp-step-00000008-1").mkdir()
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    said(capsys, action, run)
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before
    assert (run / "checkpoints" / ".tmp-step-00000008-1").is_dir()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["verify", "nothing"], 2, "error: nothing is not there; expected the folder of a run"),
        (["list", "step-00000007"], 2, "error: step-00000007 is not there; expected a checkpoint"),
        (["show", "empty"], 2, "error: empty: there is no checkpoint yet"),
        (["show", "bad"], 2, "error: no checkpoint is good: cannot read bad"),
    ],
)
def test_wrong_use_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "bad"):
        Path(name).mkdir()
        Path(name, "config.json").write_text("{}")
    Path("bad", "checkpoints", "step-00000001").mkdir(parents=True)
    assert checkpoint.main(arguments) == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith(words), lines


def test_a_run_without_checkpoints_is_not_good(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert said(capsys, "verify", tmp_path) == (1, ["there is no checkpoint yet"])
    assert said(capsys, "list", tmp_path) == (0, ["there is no checkpoint yet"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "the following arguments are required"),
        (["verfy", "r"], "invalid choice: 'verfy'"),
        (["verify", "r", "--jsn"], "there is no option --jsn; did you mean --json"),
    ],
)
def test_bad_flags(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    with pytest.raises(SystemExit) as exit:
        checkpoint.main(arguments)
    assert exit.value.code == 2 and words in capsys.readouterr().err


def test_the_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        checkpoint.main(["--help"])
    text = capsys.readouterr().out
    assert exit.value.code == 0
    assert "python -m tinytape.checkpoint verify runs/" in text
