"""The commands as a user types them: exit codes, one-line errors, files, streams."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tinytape import generate, models, plot, train
from tinytape.training import RunFolder

pytestmark = pytest.mark.slow

TEXT = "Speak, speak.\nFirst, you know Caius Marcius is chief enemy to the people.\n" * 40
QUICK = ["--model", "tiny", "--batch-size", "2", "--iters", "4", "--eval-interval", "2"]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "rome.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def run(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished run."""
    out = tmp_path_factory.mktemp("runs") / "rome"
    assert train.main([*QUICK, "--data", str(text), "--out", str(out)]) == 0
    return out


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr."""
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), lines
    return lines[0]


def test_training_from_a_toml_file(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.toml").write_text(
        f'model = "tiny"\niters = 9\nbatch-size = 2\ndata = {json.dumps(str(text))}\n'
    )
    assert train.main(["--config", "my.toml", "--iters", "2"]) == 0
    settings = RunFolder("runs/tiny-rome").read_config()["train"]
    assert (settings["iters"], settings["batch_size"]) == (2, 2)
    said = capsys.readouterr().out
    assert "step 2/2" in said and "held-out" in said


def test_a_run_is_not_overwritten_by_accident(
    run: Path, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run / "model.safetensors").read_bytes()
    arguments = [*QUICK, "--data", str(text), "--out", str(run)]
    assert train.main([*arguments, "--seed", "5"]) == 2
    message = error_of(capsys)
    assert "--resume" in message and "--overwrite" in message and "--out" in message
    assert (run / "model.safetensors").read_bytes() == before
    assert train.main([*arguments, "--overwrite"]) == 0
    assert (run / "model.safetensors").read_bytes() == before  # same seed, same weights


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            ["--model", "huge"],
            f"model: expected one of {', '.join(models.presets())}; got 'huge'",
        ),
        (["--data", "nothing.txt"], "cannot read corpus nothing.txt"),
        (["--resume", "~nobody-here/run"], "argument --resume: there is no home folder"),
        (["--lr", "-1"], "argument --lr: expected more than 0, got -1"),
        (["--batch-size", str(2**63)], f"--batch-size: expected at most {2**63 - 1}"),
        (["--seed", "123456789012345678901"], f"--seed: expected at most {2**64 - 1}"),
        (["--seed", "9" * 5000], "--seed: expected a whole number, got '999"),
        (["--lr", "1e400"], "--lr: expected a finite number, got inf"),
        (["--config", "nothing.toml"], "cannot read --config nothing.toml"),
        (["--resume", "nothing"], "nothing is not there; expected the folder of a run"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(
    flags: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        code: object = train.main(flags)
    except SystemExit as error:  # what the parser finds
        code = error.code
    assert code == 2
    assert words in error_of(capsys)
    assert os.listdir(tmp_path) == []  # nothing was written


@pytest.mark.parametrize(("content", "words"), [(b"", "empty"), (b"short", "too few")])
def test_a_text_that_cannot_be_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, words: str
) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    assert train.main(["--model", "tiny", "--data", str(path), "--out", str(tmp_path / "r")]) == 2
    message = error_of(capsys)
    assert words in message and str(path) in message


def test_a_full_disk_is_one_line_and_exit_code_1(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tinytape.training.checkpoint.publish_folder", full)
    assert train.main([*QUICK, "--data", str(text), "--out", str(tmp_path / "r")]) == 1
    assert "No space left on device" in error_of(capsys)


def test_generate_writes_the_prompt_and_the_asked_number_of_characters(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def text_of(*flags: str) -> str:
        assert generate.main([str(run), "--prompt", "Speak", "--tokens", "70", *flags]) == 0
        return capsys.readouterr().out

    first = text_of("--seed", "3")
    assert first.startswith("Speak") and len(first) == len("Speak") + 70 + 1
    assert text_of("--seed", "3") == first != text_of("--seed", "4")
    assert text_of("--temperature", "0") == text_of("--temperature", "0", "--seed", "9")
    assert text_of("--top-k", "1") == text_of("--temperature", "0")


def test_generate_before_the_run_is_complete_takes_the_newest_checkpoint(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / "model.safetensors").unlink()
    outputs = []
    for folder in (run, copy):
        assert generate.main([str(folder), "--tokens", "30"]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    shutil.rmtree(copy / "checkpoints")
    assert generate.main([str(copy)]) == 2
    assert "there are no weights yet" in error_of(capsys)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--prompt", "Zürich"], "'Z' (U+005A) at position 0"),
        (["--prompt", "F\u2019"], "U+2019"),
    ],
)
def test_an_unknown_character_in_the_prompt(
    run: Path, capsys: pytest.CaptureFixture[str], flags: list[str], words: str
) -> None:
    assert generate.main([str(run), *flags]) == 2
    assert words in error_of(capsys)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--temperature", "-1"], "--temperature: expected at least 0"),
        (["--temperature", "nan"], "--temperature: expected a finite number"),
        (["--top-k", "0"], "--top-k: expected at least 1"),
        (["--tokens", "-1"], "--tokens: expected at least 0"),
        (["--tokens", "1e3"], "--tokens: expected a whole number, got '1e3'"),
        (["--seed", str(2**64)], f"--seed: expected at most {2**64 - 1}"),
        (["--seed", "-1"], "--seed: expected at least 0"),
        (["--threads", "9" * 30], "--threads: expected at most"),
        (["--max-new-tokens", "3"], "no option --max-new-tokens; did you mean --tokens?"),
        (["--top-p", "0.9"], "no option --top-p; --top-k is what there is"),
        (["--prompt", ""], "--prompt: expected some text"),
        (["--temp", "1"], "no option --temp; did you mean --temperature"),
    ],
)
def test_bad_flags_of_generate(
    run: Path, capsys: pytest.CaptureFixture[str], flags: list[str], words: str
) -> None:
    with pytest.raises(SystemExit) as exit:
        generate.main([str(run), *flags])
    assert exit.value.code == 2 and words in error_of(capsys)


def test_weights_of_another_model_are_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    record = json.loads((copy / "config.json").read_text())
    record["model"]["heads"] //= 2
    (copy / "config.json").write_text(json.dumps(record))
    assert generate.main([str(copy)]) == 2
    assert "config.json: damaged or edited by hand" in error_of(capsys)
    shutil.copyfile(run / "config.json", copy / "config.json")
    (copy / "model.safetensors").write_bytes(b"rubbish")
    assert generate.main([str(copy)]) == 2
    assert "not a safetensors file" in error_of(capsys)


def test_plot_draws_a_picture(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert plot.main([str(run)]) == 0
    assert capsys.readouterr().out.strip() == str(run / "curve.png")
    assert (run / "curve.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert (run / "curve.png").stat().st_size > 10_000


def test_plot_writes_through_no_link(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    (tmp_path / "mine.png").write_text("precious")
    (folder / "curve.png").unlink(missing_ok=True)
    (folder / "curve.png").symlink_to(tmp_path / "mine.png")
    assert plot.main([str(folder)]) == 1
    assert "a link to" in error_of(capsys) and (folder / "curve.png").is_symlink()
    assert (tmp_path / "mine.png").read_text() == "precious"
    assert not list(folder.glob(".tmp-*"))


def test_plot_without_matplotlib_names_the_extra(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    assert plot.main([str(run)]) == 2
    assert "pip install 'tinytape[plot]'" in error_of(capsys)


def test_plot_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plot.main([str(tmp_path)]) == 2
    assert "holds no config.json" in error_of(capsys)


@pytest.mark.parametrize("command", ["train", "generate", "plot"])
def test_help_works_as_a_module(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"tinytape.{command}", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0 and f"python -m tinytape.{command}" in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_a_reader_that_leaves_costs_nothing(text: Path, tmp_path: Path) -> None:
    """``train | head -1``: the step in hand is saved, and resuming completes the run."""
    out = tmp_path / "run"
    command = [sys.executable, "-m", "tinytape.train", *QUICK, "--data", str(text)]
    command += ["--out", str(out), "--iters", "400"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode == 141, errors
    assert errors == b""
    saved = sorted((out / "checkpoints").iterdir())
    assert saved and not (out / "model.safetensors").exists()
    assert train.main(["--resume", str(out)]) == 0
    assert (out / "model.safetensors").exists()


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_generate_into_a_reader_that_leaves_is_quiet(run: Path) -> None:
    command = [sys.executable, "-m", "tinytape.generate", str(run), "--tokens", "5000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.read(20)
        process.stdout.close()
        errors = process.stderr.read()
    assert errors == b"" and process.returncode == 141
