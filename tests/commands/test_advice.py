"""Advice in errors is followed: what a message says to do is read from it, done, and works."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tinytape import checkpoint, generate, plot, train
from tinytape.training import RunFolder, loop, report

from ..support.small_presets import make_presets_small

TEXT = "Speak, speak.\nFirst, you know Caius Marcius is chief enemy to the people.\n" * 12
QUICK = ["--model", "tiny", "--batch-size", "2", "--iters", "2", "--checkpoint-interval", "1"]
COMMANDS = {"train": train, "generate": generate, "plot": plot, "checkpoint": checkpoint}


@pytest.fixture(scope="module", autouse=True)
def small_models() -> Iterator[None]:
    """Presets in a size that trains at once, and a short sample at the end."""
    with pytest.MonkeyPatch.context() as patched:
        make_presets_small(patched, context=8)
        patched.setattr(report, "SAMPLE_TOKENS", 1)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a text and a finished run on it."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "my text.txt").write_text(TEXT)
    where = ["--data", str(folder / "my text.txt"), "--out", str(folder / "my run")]
    assert train.main([*QUICK, *where]) == 0
    return folder


@pytest.fixture
def work(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, as the working directory."""
    shutil.copytree(finished, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / "work"


def code_of(command: list[str]) -> object:
    """The exit code of ``train ...`` and so on."""
    try:
        return COMMANDS[command[0]].main(command[1:])
    except SystemExit as error:
        return error.code


def nothing() -> None: ...


def stopped(out: str = "stopped", data: str = "my text.txt", more: Sequence[str] = ()) -> None:
    """A run that was stopped after its first step."""
    real = loop.train_step

    def step(*args: Any, **named: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return real(*args, **named)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "train_step", step)
        command = ["train", "--data", data, "--out", out, *QUICK, *more]
        assert code_of(command) == 128 + signal.SIGINT


def trained_here() -> None:
    assert train.main(["--overwrite", "--out", "my run", *START[1:]]) == 0


def other_text() -> None:
    trained_here()
    Path("my text.txt").write_text(TEXT[::-1])


def folder_of_two() -> None:
    Path("two").mkdir()
    for name in ("a.txt", "b.txt"):
        Path("two", name).write_text(TEXT)


def home_of_nobody() -> None:
    Path("~nobody-here").mkdir()
    Path("~nobody-here", "a.txt").write_text(TEXT)


def moved_text() -> None:
    trained_here()
    Path("my text.txt").rename("moved.txt")


def add(command: list[str], words: str) -> list[str]:
    """The same command with more at its end."""
    return [*command, *shlex.split(words)]


def instead(command: list[str], words: str) -> list[str]:
    """The same command with the flag, and its value where one is said, in the place of the old."""
    new = shlex.split(words)
    at = next((i for i, word in enumerate(command) if word.startswith("--")), len(command))
    at = command.index(new[0]) if new[0] in command else at
    return [*command[:at], *new, *command[at + len(new) :]]


def value(command: list[str], words: str) -> list[str]:
    """The same command with another value at its end."""
    return [*command[:-1], *shlex.split(words)]


START = ["train", "--data", "my text.txt", *QUICK]
RESUME = ["train", "--resume", "my run"]

# What was done before, the command, what of the message is the advice, how it is taken.
# Not formatted by ruff: with one element a line the table is hard to compare by eye.
ROWS: dict[str, tuple[Callable[[], object], list[str], str, Callable[..., list[str]]]] = {
    "resume": (nothing, [*START, "--out", "my run"], r"add (--resume) to go on", add),
    "overwrite": (nothing, [*START, "--out", "my run"], r"(--overwrite) to start it again", add),
    "unknown flag": (nothing, ["train", "--steps", "3"], r"did you mean (\S+)\?", instead),
    "context": (nothing, ["train", "--max-seq-len", "3"], r"did you mean (\S+)\?", instead),
    "underscore": (nothing, ["train", "--batch_size", "3"], r"did you mean (\S+)\?", instead),
    "length": (
        nothing, ["generate", "my run", "--max-new-tokens", "3"], r"did you mean (\S+)\?", instead,
    ),
    "top p": (nothing, ["generate", "my run", "--top-p", "3"], r"(--top-k) is what there", instead),
    "lower rate": (nothing, [*RESUME, "--lr", "1e-5"], r"or add (--allow-change lr)$", add),
    "iters": (nothing, [*RESUME, "--iters", "3"], r"or add (--allow-change iters)$", add),
    "fewer iters": (
        stopped,
        ["train", "--resume", "stopped", "--iters", "1"], r"or add (--allow-change iters)$", add,
    ),
    "another text": (other_text, RESUME, r"or add (--allow-change data)$", add),
    "moved text": (
        moved_text, RESUME, r"say with (--data)$", lambda c, words: [*c, words, "moved.txt"],
    ),
    "two texts": (folder_of_two, [*START, "--data", "two"], r"choose one: --data (\S+)", value),
    "the other": (folder_of_two, [*START, "--data", "two"], r" or --data (\S+)$", value),
    "home": (
        home_of_nobody, [*START, "--data", "~nobody-here"], r"of that name is (\S+) \(see", value,
    ),
    "separator": (
        nothing, [*START, "--model", "nested-state", "--separator", "."], r"say (--reset.*)$", add,
    ),
    "surprise": (
        nothing,
        [*START, "--model", "nested-state", "--surprise-every", "2"], r"say (--surprise.*)$", add,
    ),
    "steps": (
        nothing, [*START, "--reset", "3", "--model", "nested"], r"those of (\S+) go on", value,
    ),
    "memory": (
        nothing, [*START, "--level-memory", "3,4", "--model", "nested"], r"; (\S+) rem", value,
    ),
    "model": (nothing, [*START, "--model", "tny"], r"expected one of (\w+), ", value),
    "optimizer": (nothing, [*START, "--optimizer", "lion"], r"expected one of (\w+), ", value),
    "unknown corpus": (
        nothing, [*START, "--data", "my-text.tx"], r"did you mean (.*)\?", value,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_what_a_message_advises_works(
    name: str, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare, command, pattern, take = ROWS[name]
    prepare()
    capsys.readouterr()
    assert code_of(command) == 2
    said = capsys.readouterr().err.strip()
    found = re.search(pattern, said)
    assert found and "\n" not in said, said
    followed = take(command, found[1])
    if "--data" not in followed and "--resume" not in followed and followed[0] == "train":
        followed += START[1:]
    assert code_of(followed) == 0, (said, followed, capsys.readouterr().err)


def test_a_finished_run_prints_commands_that_work(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("one line").write_text("without a new line " * 20)
    for data in ("my text.txt", "one line"):
        out = f"run of {data}"
        assert code_of(["train", "--data", data, "--out", out, *QUICK]) == 0
        commands = re.findall(r"python -m tinytape\.(\w+) (.*)", capsys.readouterr().out)
        assert [module for module, _ in commands] == ["generate", "plot"]
        for module, words in commands:
            assert out in shlex.split(words)
            assert code_of([module, *shlex.split(words)]) == 0


def test_a_stopped_run_prints_the_command_that_goes_on(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped("a 'run'")
    said = capsys.readouterr().out
    found = re.search(r"go on with: .*python -m tinytape\.train (.*)$", said, re.MULTILINE)
    assert found, said
    assert code_of(["train", *shlex.split(found[1])]) == 0
    assert RunFolder("a 'run'").model.is_file()


def test_a_text_of_a_relative_path_is_found_again_from_elsewhere(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (work / "corp").mkdir()
    (work / "corp" / "book.txt").write_text(TEXT)
    for data in ("my text.txt", "corp"):
        monkeypatch.chdir(work)
        stopped(f"run of {data}", data)
        monkeypatch.chdir(tmp_path)
        assert code_of(["train", "--resume", str(work / f"run of {data}")]) == 0


def test_a_run_that_was_fed_line_ends_goes_on_with_them(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Earlier versions read a text as it lies there."""
    from tinytape.data import corpora

    Path("dos.txt").write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    with monkeypatch.context() as patched:
        patched.setattr(corpora, "as_text", lambda data, path, where: (data.decode(), []))
        stopped("old", "dos.txt")
    assert "\r" in RunFolder("old").tokenizer.read_text().encode().decode("unicode_escape")
    capsys.readouterr()
    assert code_of(["train", "--resume", "old"]) == 0
    assert "line ends are read as they are" in capsys.readouterr().out
    assert code_of(["train", "--data", "dos.txt", "--out", "new", *QUICK]) == 0
    assert "the line ends 24 CR LF are read as new lines" in capsys.readouterr().out


def without_checkpoints() -> None:
    """What there is: evaluations and the final weights."""
    shutil.rmtree("my run/checkpoints")
    shutil.rmtree("my run/best")


def renamed() -> None:
    """The steps have names of their own now, and a folder of them another place."""
    stopped("my run 2")
    shutil.rmtree("my run")
    Path("my run 2").rename("my run")
    shutil.rmtree("my run/best")
    Path("my run/checkpoints/step-00000001").rename("my run/checkpoints/the last one")
    shutil.rmtree("my run/checkpoints/step-00000000")


def damaged() -> None:
    """The best one is good."""
    for path in Path("my run/checkpoints").iterdir():
        (path / "state.json").write_text("{}")


# What was done to a run; each command that the message then prints is run.
STATES = {"without": without_checkpoints, "renamed": renamed, "damaged": damaged}


@pytest.mark.parametrize("name", STATES)
def test_each_command_for_what_is_left_of_a_run_works(
    name: str, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    STATES[name]()
    capsys.readouterr()
    assert code_of(RESUME) == 2
    said = capsys.readouterr().err
    commands = re.findall(r"python -m tinytape\.(\w+) (.*?)(?=;|$)", said, re.MULTILINE)
    assert commands, said
    for module, words in commands:
        assert code_of([module, *shlex.split(words)]) == 0, (said, capsys.readouterr().err)
        shutil.rmtree("my run-2", ignore_errors=True)


def test_an_older_checkpoint_is_gone_on_from_as_the_message_says(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained_here()
    capsys.readouterr()
    assert code_of(["train", "--resume", "my run/checkpoints/step-00000001"]) == 2
    said = capsys.readouterr().err
    found = re.search(r"python -m tinytape\.train (.*)$", said, re.MULTILINE)
    assert found and "add --out" in said
    assert code_of(["train", *shlex.split(found[1])]) == 0


def test_a_text_with_other_characters_is_not_offered(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained_here()
    Path("my text.txt").write_text(TEXT + "é")
    capsys.readouterr()
    assert code_of(RESUME) == 2
    said = capsys.readouterr().err
    assert "--allow-change" not in said
    assert "of this one the run does not know the characters 'é'" in said


def test_a_home_folder_is_one_in_every_command(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A shell leaves ``~`` alone in ``--out=~/x`` and in quotes."""
    shutil.copy("my text.txt", tmp_path)
    Path(tmp_path / "run.toml").write_text('data = "~/my text.txt"\nout = "~/from toml"\n')
    for command in (
        ["train", *QUICK, "--data=~/my text.txt", "--out=~/from flags"],
        ["train", *QUICK, "--config=~/run.toml"],
        ["train", "--resume", "~/from flags"],
        ["train", "--resume", "~/from toml", "--out=~/branch"],
        ["generate", "~/branch", "--tokens", "1"],
        ["plot", "~/branch"],
        ["checkpoint", "verify", "~/branch"],
    ):
        assert code_of(command) == 0, (command, capsys.readouterr().err)
    assert not Path("~").exists()
    assert {"from flags", "from toml", "branch"} <= {p.name for p in tmp_path.iterdir()}


LARGEST, MOST = str(2**63 - 1), "1.7976931348623157e308"


@pytest.mark.parametrize(
    "flags",
    [
        ["--seed", str(2**64 - 1), "--clip", MOST, "--lr", "5e-324", "--beta1", "0.9999999999"],
        ["--eval-interval", LARGEST, "--keep", LARGEST, "--skip-nonfinite", LARGEST],
        ["--model", "nested-state", "--level-memory", f"5e-324,{MOST}", "--reset", "9" * 15],
        ["--model", "nested-state", "--chunk-sizes", f"1,{'9' * 15},1", "--chunk-unit", "tokens"],
        ["--model", "nested-surprise", "--surprise-every", LARGEST],
    ],
)
def test_a_run_with_the_largest_of_everything_goes_on(flags: list[str], work: Path) -> None:
    stopped("extreme", more=flags)
    assert code_of(["train", "--resume", "extreme"]) == 0
    assert code_of(["generate", "extreme", "--tokens", "1", "--seed", str(2**64 - 1)]) == 0


def test_a_run_that_broke_goes_on_with_a_lower_rate(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rate of its last step was never given: it follows."""
    broken = ["--optimizer", "sgd", "--lr", "1e30", "--iters", "3", "--warmup", "0", "--clip", "0"]
    late = ["--checkpoint-interval", "9"]  # not when it has gone wrong already
    assert code_of([*START, *broken, *late, "--out", "broken run"]) == 1
    said = capsys.readouterr().err
    found = re.search(r"do\): \S+ -m tinytape\.train (.* --lr X --allow-change lr);", said)
    assert found, said
    assert code_of(["train", *shlex.split(found[1].replace(" X ", " 1e-3 "))]) == 0
    kept = RunFolder("broken run").read_config()["train"]
    assert (kept["lr"], kept["min_lr"]) == (1e-3, 1e-3 / 10)
