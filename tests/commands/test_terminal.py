"""Nothing from outside commands the terminal: names, paths, arrays, tokenizers, samples."""

from __future__ import annotations

import io
import json
import shutil
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from tinytape import checkpoint, generate, plot, study, train
from tinytape._terminal import printable
from tinytape.training.checkpoint import load_checkpoint, save_checkpoint

ESCAPE = "\x1b]0;title\x07\x9b2J\x7f\u202e\udc80"
SAFE = "\\x1b]0;title\\x07\\x9b2J\\x7f\\u202e\\udc80"
BIDIRECTIONAL = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def commands(character: str) -> bool:
    """Whether Unicode says that a character controls something."""
    return (
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(character) in BIDIRECTIONAL
        or character in "\u200e\u200f\u061c"
    )


def test_what_commands_a_terminal_becomes_an_escape() -> None:
    for number in range(sys.maxunicode + 1):
        character = chr(number)
        shown = printable(character)
        if commands(character):
            assert shown.startswith("\\") and shown.isascii() and shown.isprintable(), number
        elif shown != character:
            assert not character.isprintable(), number
    assert printable(ESCAPE) == SAFE
    assert printable("a\tb\nc\r\x0b", keep="\n\t") == "a\tb\nc\\r\\x0b"
    words = "Zürich, 東京, می‌خواهم, 👩‍🚀, 1 000"
    assert printable(words) == words


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose text, environment and arrays have names that would command a terminal."""
    folder = tmp_path_factory.mktemp("escapes")
    (folder / "t.txt").write_text("to be\x1b[2J or \x9b not\x07 to be, \u202ethat is\x7f\n" * 30)
    out = folder / "run\x1b[2J"
    flags = ["--data", str(folder / "t.txt"), "--out", str(out), "--model", "tiny"]
    assert train.main([*flags, "--iters", "1", "--batch-size", "1", "--context", "8"]) == 0
    for path in (*(out / "checkpoints").iterdir(), *(out / "best").iterdir()):
        old = load_checkpoint(path)
        save_checkpoint(
            path.parent,
            old.step,
            model=old.model,
            arrays=old.arrays,
            state=old.state,
            config=old.config,
            env={**old.env, "blas": ESCAPE, ESCAPE: ESCAPE},
        )
    return out


def said_by(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    return captured.out + captured.err


def assert_harmless(said: str) -> None:
    assert said and not any(commands(character) for character in said.replace("\n", "")), said


def test_train_and_resume(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / run.name
    shutil.copytree(run, copy)
    assert train.main(["--resume", str(copy)]) == 0
    said = said_by(capsys)
    assert "\\x1b]0;title" in said and "the environment is not that" in said
    assert_harmless(said)


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--resume", "no\x1b[2J\nrun"],
        ["train", "--data", "no\x9bfile"],
        ["train", "--it\x1b[2Jers", "3"],
        ["train", "--model", "\x1b[2J"],
        ["train", "--config", "\u202e.toml"],
        ["generate", "no\x1b[2Jrun"],
        ["generate", "RUN", "--prompt", "\x1b\x06"],
        ["plot", "no\x1b[2Jrun"],
        ["checkpoint", "list", "no\x1b[2Jrun"],
        ["study", "delta", "--out", "\x1b[2J", "--data", "no\x9bfile"],
    ],
)
def test_errors(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    name, *rest = (str(run) if word == "RUN" else word for word in arguments)
    modules = {"train": train, "generate": generate, "plot": plot, "study": study}
    try:
        code = {**modules, "checkpoint": checkpoint}[name].main(rest)
    except SystemExit as error:
        code = int(error.code or 0)
    errors = capsys.readouterr().err
    assert code and errors.startswith("error: ") and errors.count("\n") == 1
    assert_harmless(errors)


@pytest.mark.parametrize("action", ["list", "show", "verify"])
def test_checkpoint(run: Path, capsys: pytest.CaptureFixture[str], action: str) -> None:
    checkpoint.main([action, str(run)])
    assert_harmless(said_by(capsys))
    checkpoint.main([action, str(run), "--json"])
    said = capsys.readouterr().out
    assert_harmless(said)
    record = json.loads(said)
    if action == "show":
        assert record["environment"]["blas"] == ESCAPE


def test_arrays_of_a_stranger(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    old = load_checkpoint(copy / "checkpoints" / "step-00000001")
    name = ESCAPE.replace("\udc80", "")  # which is no text for a file
    save_checkpoint(
        old.path.parent,
        1,
        model={**old.model, name: np.zeros(1, np.float32)},
        arrays=old.arrays,
        state=old.state,
        config=old.config,
        env=old.env,
    )
    (copy / "model.safetensors").unlink()
    for main, arguments in (
        (train.main, ["--resume", str(copy)]),
        (generate.main, [str(copy)]),
        (checkpoint.main, ["verify", str(copy)]),
    ):
        assert main(arguments) != 0
        said = said_by(capsys)
        assert "\\x1b]0;title" in said
        assert_harmless(said)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "shown"), [(Terminal, "\\x1b[2J"), (io.StringIO, "\x1b[2J")])
def test_a_sample_is_escaped_on_a_terminal_and_raw_elsewhere(
    run: Path, monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO], shown: str
) -> None:
    output = stream()
    monkeypatch.setattr("sys.stdout", output)
    prompt = "\x1b[2J\n"
    assert generate.main([str(run), "--prompt", prompt, "--tokens", "200", "--seed", "1"]) == 0
    said = output.getvalue()
    assert said.startswith(shown + "\n")
    escaped = not any(commands(character) for character in said.replace("\n", ""))
    assert escaped == (stream is Terminal)
