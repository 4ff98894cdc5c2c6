"""Studies: what is planned, what comes of it, and that one that was stopped goes on."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest

from tinytape import study as command
from tinytape.studies import STUDIES, Study, Variant, markdown, run_study, runs, summary
from tinytape.training import RunFolder, TrainConfig, resolve

DOCS = Path(__file__).parents[2] / "docs"
SINGLE_RUNS = ("hour", "minute")  # of some configurations of a study, with other numbers of steps
COMMITTED = sorted(path.stem for path in (DOCS / "studies").glob("*.json"))
TINY = {"model": "tiny", "iters": 4, "batch_size": 2, "eval_interval": 2}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "words.txt"
    path.write_text("nobody knows why the cat sat on the mat\n" * 40)
    return path


@pytest.mark.parametrize("name", STUDIES)
def test_every_configuration_is_one_of_training(name: str, tmp_path: Path) -> None:
    study = STUDIES[name]
    planned = runs.planned(study, tmp_path, data="x.txt", seeds=3, settings={"iters": 20})
    assert len(planned) == 3 * len(study.variants)
    assert len({run.folder for run in planned}) == len(planned)
    for run in planned:
        settings = resolve(TrainConfig(**run.settings, out=str(run.folder)))
        assert (settings.seed, settings.iters) == (run.seed, 20)
    assert [run.seed for run in planned] == sorted(run.seed for run in planned)


@pytest.mark.parametrize("settings", [{}, {"context": 16, "batch_size": 4}])
def test_twice_the_sequence_is_half_the_rows(tmp_path: Path, settings: dict[str, int]) -> None:
    planned = runs.planned(
        STUDIES["persistent"], tmp_path, data="x.txt", seeds=1, settings=settings
    )
    sizes = {
        run.variant.label: (run.settings["context"], run.settings["batch_size"]) for run in planned
    }
    context, rows = sizes["states last"]
    assert (context, rows) == (tuple(settings.values()) or (128, 32))
    assert sizes["states last, twice the sequence"] == (2 * context, rows // 2)


def test_a_study_that_was_stopped_goes_on(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study("Which?", (Variant("a", dict(TINY)), Variant("b", {**TINY, "lr": 0.01})))
    own = tmp_path / "own.txt"
    own.write_bytes(text.read_bytes())
    options: dict[str, Any] = {"data": str(own), "seeds": 1, "settings": {}, "say": print}
    first = next(run_study(study, tmp_path, **options))
    assert first[0].variant.label == "a" and first[1][-1]["step"] == 4
    trained: list[str] = []
    real = runs._train

    def train(run: runs.Run, **more: Any) -> None:
        trained.append(run.variant.label)
        real(run, **more)

    monkeypatch.setattr(runs, "_train", train)
    finished = list(run_study(study, tmp_path, **options))
    assert trained == ["b"]
    # A run that lost its end is resumed, and comes out as it was, also where the text has moved.
    folder = RunFolder(finished[1][0].folder)
    weights = folder.model.read_bytes()
    folder.model.unlink()
    moved = own.rename(tmp_path / "moved.txt")
    finished = list(run_study(study, tmp_path, **{**options, "data": str(moved)}))
    assert trained == ["b", "b"] and folder.model.read_bytes() == weights

    rows = summary(study, finished)
    assert [row["label"] for row in rows] == ["a", "b"]
    for row, (_, metrics) in zip(rows, finished, strict=True):
        assert row["held_out_perplexity"] == {"mean": metrics[-1]["val_perplexity"], "spread": None}
        assert row["training_perplexity"]["mean"] == math.exp(metrics[-1]["train_loss"])
    table = markdown("Which?", study, rows)
    assert table.count("\n| ") == 4 and "| a | " in table


def test_a_run_that_was_asked_for_otherwise_is_refused(text: Path, tmp_path: Path) -> None:
    study = Study("Which?", (Variant("a", dict(TINY)),))
    options: dict[str, Any] = {"data": str(text), "seeds": 1, "settings": {}, "say": print}
    list(run_study(study, tmp_path, **options))
    list(run_study(study, tmp_path, **{**options, "settings": {"threads": 1}}))
    for changes, words in (
        ({"settings": {"iters": 6}}, r"runs/a-1: the run that is there has --iters 4, not 6; say"),
        ({"settings": {"eval_interval": 1}}, "--eval-interval 2, not 1"),
        ({"settings": {"lr": 0.5}}, r"--lr 0\.002, not 0\.5, --min-lr"),
    ):
        with pytest.raises(runs.StudyError, match=words):
            list(run_study(study, tmp_path, **{**options, **changes}))
    text_2 = tmp_path / "other.txt"
    text_2.write_text(text.read_text() + "dog\n")
    cut_elsewhere = tmp_path / "parts"
    cut_elsewhere.mkdir()
    (cut_elsewhere / "train.txt").write_text(text.read_text()[:1000])
    (cut_elsewhere / "valid.txt").write_text(text.read_text()[1000:])
    for other in (text_2, cut_elsewhere):
        with pytest.raises(runs.StudyError, match=f"another text than {other}"):
            list(run_study(study, tmp_path, **{**options, "data": str(other)}))


def test_mean_and_spread_are_over_seeds(tmp_path: Path) -> None:
    study = Study("Which?", (Variant("a"),), milestones=(10,))
    finished = [
        (
            runs.Run(study.variants[0], seed, tmp_path, {}),
            [
                {
                    "step": step,
                    "val_perplexity": value * step,
                    "val_bits_per_character": 1.0,
                    "train_loss": 0.0,
                    "elapsed_s": 2.0,
                    "rss_mb": 3.0,
                }
                for step in (5, 10)
            ],
        )
        for seed, value in ((1, 1.0), (2, 2.0), (3, 6.0))
    ]
    (row,) = summary(study, finished)
    assert row["held_out_perplexity"]["mean"] == 30.0
    assert row["held_out_perplexity"]["spread"] == statistics.stdev([10.0, 20.0, 60.0])
    assert [seed["milestones"] for seed in row["seeds"]] == [{"10": 10}, {"10": 20}, {"10": 60}]
    assert "| 30.000 ± 26.458 |" in markdown("Which?", study, [row])


@pytest.mark.parametrize("name", COMMITTED)
def test_the_tables_of_the_documents_are_those_of_the_results(name: str) -> None:
    record = json.loads((DOCS / "studies" / f"{name}.json").read_text())
    study, rows = STUDIES[record["study"]], record["rows"]
    labels = [row["label"] for row in rows]
    if name in SINGLE_RUNS:
        study = dataclasses.replace(study, milestones=record["milestones"])
        assert set(labels) <= {v.label for v in study.variants}
    else:
        assert labels == [v.label for v in study.variants]
        assert {len(row["seeds"]) for row in rows} == {3}
    _, table = markdown(name, study, rows).split("\n\n")
    assert f"{table}\n![](studies/{name}.png)\n" in (DOCS / "nested-results.md").read_text()
    assert (DOCS / "studies" / f"{name}.png").is_file()


def test_every_study_has_results_in_the_documents() -> None:
    assert set(STUDIES) <= set(COMMITTED)


def test_a_run_that_fails_is_named(tmp_path: Path) -> None:
    study = Study("Which?", (Variant("a", dict(TINY)),))
    options: dict[str, Any] = {"seeds": 1, "settings": {}, "say": print}
    with pytest.raises(runs.StudyError, match=r"runs/a-1: error: .*nowhere\.txt"):
        list(run_study(study, tmp_path, data="nowhere.txt", **options))


def test_a_study_writes_through_no_link(text: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    study = Study("Which?", (Variant("a", dict(TINY)),))
    options: dict[str, Any] = {"data": str(text), "seeds": 1, "settings": {}, "say": print}
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "a-1.log").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match=r"a-1\.log"):
        list(run_study(study, tmp_path, **options))
    assert (tmp_path / "mine").read_text() == "precious"


def test_the_random_text_is_the_same_every_time() -> None:
    text = runs.random_text()
    assert len(text) == runs.RANDOM_CHARACTERS and text == runs.random_text()
    assert len(set(text)) == len(runs._ALPHABET)


def test_the_command_writes_numbers_a_table_and_a_picture(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "long"
    (tmp_path / "words").mkdir()
    for part, characters in (("valid", 1200), ("test", 400)):
        (tmp_path / "words" / f"{part}.txt").write_text(text.read_text()[:characters])
    data = str(tmp_path / "words")
    flags = ["long", "--quick", "--data", data, "--out", str(out), "--seeds", "1"]
    assert command.main(flags) == 0
    said = capsys.readouterr().out
    record = json.loads((out / "results.json").read_text())
    assert record["corpus"]["cut"] == 1200 and record["corpus"]["parts"] == [
        "valid.txt",
        "test.txt",
    ]
    assert "; words: trained on valid.txt, test.txt held out\n" in said
    variants = [variant.label for variant in STUDIES["long"].variants]
    assert [row["label"] for row in record["rows"]] == variants
    assert record["rows"][0]["seeds"][0]["steps"] == 6
    assert (out / "table.md").read_text() in said
    assert (out / "picture.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit):
        command.main(["length"])
    assert "invalid choice: 'length'" in capsys.readouterr().err
