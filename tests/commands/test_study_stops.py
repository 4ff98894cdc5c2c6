"""A study that is stopped, however: its training ends with it, and the same command goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tinytape import study as command
from tinytape.studies import Study, Variant, run_study, runs
from tinytape.studies.child import how_it_ended
from tinytape.studies.folder import StudyFolder
from tinytape.training import RunFolder
from tinytape.training.checkpoint import list_checkpoints
from tinytape.training.errors import RunError
from tinytape.training.lock import held
from tinytape.training.signals import StopSignals

pytestmark = pytest.mark.slow

STUDY = """
import sys
from tinytape import study, studies
tiny = {"model": "tiny", "context": 8, "batch_size": 1, "threads": 1}
studies.STUDIES["two"] = studies.Study(
    "Which?", (studies.Variant("a", tiny), studies.Variant("b", {**tiny, "lr": 0.01}))
)
sys.exit(study.main(["two", "--seeds", "1", *sys.argv[1:]]))
"""


class Started:
    """A study in a process group of its own."""

    def __init__(self, folder: Path, *, iters: int = 600) -> None:
        self.out = folder / "study"
        self.run = RunFolder(self.out / "runs" / "a-1")
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                STUDY,
                "--data",
                str(folder / "text.txt"),
                "--out",
                self.out,
                "--iters",
                str(iters),
                "--eval-interval",
                "300",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def until_it_trains(self) -> None:
        """Until the first run is past its first evaluation."""
        deadline = time.monotonic() + 60
        while not self.run.metrics.is_file():
            assert time.monotonic() < deadline and self.process.poll() is None
            time.sleep(0.01)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def end(self) -> tuple[int, str]:
        said, _ = self.process.communicate(timeout=120)
        return self.process.returncode, said


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text("nobody knows why the cat sat on the mat\n" * 40)
    return tmp_path


def is_free(folder: Path) -> bool:
    try:
        with held(folder):
            return True
    except RunError:
        return False


@pytest.mark.parametrize(
    ("number", "to_all"),
    [(signal.SIGTERM, False), (signal.SIGHUP, False), (signal.SIGINT, True)],
)
def test_the_training_ends_with_the_study(folder: Path, number: int, to_all: bool) -> None:
    """Ctrl-C reaches all processes of the group."""
    begun = Started(folder)
    begun.until_it_trains()
    (os.killpg if to_all else os.kill)(begun.process.pid, number)
    code, said = begun.end()
    assert code == 128 + number
    assert f"stopped by {signal.Signals(number).name}" in said and "Traceback" not in said
    assert is_free(begun.run.path)  # it was waited for
    assert list_checkpoints(begun.run.checkpoints) and not begun.run.model.exists()
    log = (begun.out / "runs" / "a-1.log").read_text()
    assert "and saved at step" in log


def test_a_training_that_was_left_alone_ends(folder: Path) -> None:
    """That such a study goes on is tried in tests/soak."""
    begun = Started(folder, iters=10**6)
    begun.until_it_trains()
    begun.kill()
    deadline = time.monotonic() + 60
    while not is_free(begun.run.path):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert list_checkpoints(begun.run.checkpoints)


def test_two_at_once_are_one_too_many(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "study"
    with StudyFolder(out, "delta").held():
        arguments = ["delta", "--quick", "--data", str(folder / "text.txt"), "--out", str(out)]
        assert command.main(arguments) == 2
    errors = capsys.readouterr().err
    assert errors == f"error: {out}: another study is under way in this folder\n"
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("results.json", '{"study": "memory"}', "results.json there is of the study memory"),
        ("results.json", '{"accuracy": 1}', "results.json there is of something else"),
        ("results.json", "[" * 10**6, "results.json there is of something else"),
        ("table.md", "mine", "the folder holds 'table.md' and no results of a study"),
        ("picture.png", "mine", "the folder holds 'picture.png' and no results of a study"),
    ],
)
def test_what_is_not_of_the_study_is_not_replaced(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, words: str
) -> None:
    (folder / name).write_text(content)
    before = sorted(folder.iterdir())
    arguments = ["delta", "--quick", "--data", str(folder / "text.txt"), "--out", str(folder)]
    assert command.main(arguments) == 2
    assert words in capsys.readouterr().err
    assert (folder / name).read_text() == content and sorted(folder.iterdir()) == before


def test_another_random_text_is_not_replaced(folder: Path) -> None:
    study = Study("Which?", (Variant("a", dict(TINY), text="random"),))
    (folder / "random.txt").write_text("mine")
    with pytest.raises(runs.StudyError, match=r"random\.txt is not the text"):
        list(run_study(study, folder, **options(folder)))
    assert (folder / "random.txt").read_text() == "mine"


def options(folder: Path, **more: Any) -> dict[str, Any]:
    return {"data": str(folder / "text.txt"), "seeds": 1, "settings": {}, "say": print, **more}


TINY = {"model": "tiny", "iters": 2, "batch_size": 2, "eval_interval": 2}
ONE = Study("Which?", (Variant("a", dict(TINY)), Variant("b", dict(TINY))))


def test_a_stop_between_two_runs_begins_no_other(folder: Path) -> None:
    stop = StopSignals()
    done = []
    for run, _ in run_study(ONE, folder, **options(folder, stop=stop)):
        done.append(run.variant.label)
        stop.request("SIGTERM", 143)
    assert done == ["a"] and not (folder / "runs" / "b-1").exists()


def test_a_training_that_somebody_else_began_is_waited_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_PATIENCE", 0.2)
    path = folder / "runs" / "a-1"
    path.mkdir(parents=True)
    said: list[str] = []
    with held(path), pytest.raises(runs.StudyError, match="not a run that this study began"):
        list(run_study(ONE, folder, **options(folder, say=said.append)))
    assert said == [f"waiting for the training that is under way in {path} ..."]


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_log_is_written_through_nothing(folder: Path, kind: str) -> None:
    log = folder / "runs" / "a-1.log"
    log.parent.mkdir()
    mine = folder / "mine"
    mine.write_text("mine")
    if kind == "link":
        log.symlink_to(mine)
    else:
        os.mkfifo(log)
    with pytest.raises(OSError, match=r"a-1\.log"):
        list(run_study(ONE, folder, **options(folder)))
    assert mine.read_text() == "mine"


def test_how_a_training_ended_is_said(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("step 1/2\nerror: the disk is full\n")
    assert how_it_ended(1, log) == "error: the disk is full"
    assert how_it_ended(-signal.SIGKILL, log) == "was killed by SIGKILL"
    assert how_it_ended(128 + signal.SIGTERM, log) == "was stopped by SIGTERM"
    log.write_text("")
    assert how_it_ended(3, log) == "failed with exit code 3"


def test_a_run_without_its_figures_is_named(folder: Path) -> None:
    list(run_study(ONE, folder, **options(folder)))
    metrics = folder / "runs" / "b-1" / "metrics.jsonl"
    metrics.write_text('{"step": 2, "val_perplexity": "low"}\n')
    with pytest.raises(runs.StudyError, match="val_perplexity is not a number"):
        list(run_study(ONE, folder, **options(folder)))
    metrics.unlink()
    with pytest.raises(runs.StudyError, match="b-1: there are weights and no evaluation"):
        list(run_study(ONE, folder, **options(folder)))


def test_matplotlib_is_asked_for_before_the_first_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    out = folder / "study"
    assert command.main(["delta", "--data", str(folder / "text.txt"), "--out", str(out)]) == 2
    errors = capsys.readouterr().err
    assert "pip install 'tinytape[plot]'" in errors and errors.count("\n") == 1
    assert not out.exists()
