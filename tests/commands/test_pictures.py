"""Pictures: of any names and few points, without a warning, with texts that can be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

pytest.importorskip("matplotlib")

from matplotlib.text import Text

from tinytape import _pictures, plot
from tinytape._pictures import picture, plain, set_title
from tinytape.studies import STUDIES, Study, Variant, drawing
from tinytape.studies.runs import Run
from tinytape.training import curve
from tinytape.training.errors import RunError

# Not formatted by ruff: with one element a line the table is hard to compare by eye.
ODD = ("a $b$ c_d^e", "$", "$\\frac{$", "\\$x\\$", "_hidden", "%", "W" * 300, "東京 😀", "\u202ee",
       "\x1b[2J\n", "\udc80", "", " ")  # fmt: skip
NAMES = st.sampled_from(ODD) | st.text(st.characters() | st.sampled_from("$\\{}_^&#"), max_size=90)
LOSSES = st.floats(0, 20) | st.sampled_from([0.0, 1e-9, 700.0, 1e30])


def texts(figure: Any) -> Iterator[tuple[str, Any]]:
    """Each text that is drawn, and where."""
    renderer = figure.canvas.get_renderer()
    ticks = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if axes.axison and low <= tick.get_loc() <= high:
                    yield tick.label1.get_text(), tick.label1.get_window_extent(renderer)
                ticks |= {tick.label1, tick.label2}
    for text in figure.findobj(Text):
        if text.get_text() and text.get_visible() and text not in ticks:
            yield text.get_text(), text.get_window_extent(renderer)


def assert_readable(figure: Any) -> None:
    """All texts are in the picture, and none lies on another."""
    figure.draw_without_rendering()
    found = [(text, box) for text, box in texts(figure) if text and box.width > 0]
    assert len(found) > 4
    for text, box in found:
        assert box.x0 >= -1 and box.y0 >= -1, text
        assert box.x1 <= figure.bbox.width + 1 and box.y1 <= figure.bbox.height + 1, text
    for (one, box), (other, area) in combinations(found, 2):
        apart = box.x1 <= area.x0 + 1 or area.x1 <= box.x0 + 1
        assert apart or box.y1 <= area.y0 + 1 or area.y1 <= box.y0 + 1, (one, other)


def tick_labels(axis: Any) -> list[str]:
    low, high = axis.get_view_interval()
    labels = zip(
        axis.get_majorticklocs(),
        axis.get_major_formatter().format_ticks(axis.get_majorticklocs()),
        strict=True,
    )
    return [label for place, label in labels if low <= place <= high]


def run_of(
    name: str, steps: list[int], losses: list[float], iters: int, entropies: dict[str, float]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    record = {
        "train": {"model": "tiny", "iters": iters},
        "corpus": {"name": name, "entropy_nats": entropies},
    }
    metrics = [
        {"step": step, "val_loss": loss, "train_loss": None if i == 0 else 0.9 * loss}
        for i, (step, loss) in enumerate(zip(steps, losses, strict=True))
    ]
    return record, metrics


@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(data=st.data(), name=NAMES, few=st.integers(1, 4), every=st.sampled_from([1, 7, 250, 10**6]))
def test_a_curve_of_any_run_can_be_read(
    tmp_path_factory: pytest.TempPathFactory, data: Any, name: str, few: int, every: int
) -> None:
    losses = data.draw(st.lists(LOSSES, min_size=few, max_size=few))
    entropies = {"unigram": data.draw(LOSSES), "bigram": data.draw(LOSSES)}
    steps = [every * i for i in range(few)]
    record, metrics = run_of(name, steps, losses, max(1, steps[-1]), entropies)
    with picture(tmp_path_factory.getbasetemp() / "curve.png", 8, 4.8) as figure:
        figure.dpi = 50
        curve._draw(figure, record, metrics)
    assert_readable(figure)
    labels = tick_labels(figure.axes[1].xaxis)
    assert len(set(labels)) == len(labels) >= 2, labels


def test_labels_of_few_steps_are_whole_numbers(tmp_path: Path) -> None:
    """They were rounded to 0 0 0 1 1 1."""
    with picture(tmp_path / "curve.png", 8, 4.8) as figure:
        curve._draw(
            figure, *run_of("x", [0, 1, 2], [3.0, 2.0, 1.0], 2, {"unigram": 2.5, "bigram": 1.5})
        )
        assert tick_labels(figure.axes[1].xaxis) == ["0", "1", "2"]


def finished(study: Study, seeds: int, steps: list[int], values: list[float]) -> Any:
    return [
        (
            Run(variant, seed, Path(), {}),
            [
                {"step": s, "val_perplexity": v * (1 + 0.1 * place)}
                for s, v in zip(steps, values, strict=True)
            ],
        )
        for place, variant in enumerate(study.variants)
        for seed in range(seeds)
    ]


def drawn(folder: Path, title: str, study: Study, done: Any) -> Any:
    """The figure of a study."""
    figures = []

    @contextmanager
    def coarse(*arguments: Any) -> Iterator[Any]:
        with picture(*arguments) as figure:
            figure.dpi = 50
            figures.append(figure)
            yield figure

    with patch.object(drawing, "picture", coarse):
        drawing.draw(folder / "picture.png", title, study, done)
    return figures[0]


@pytest.mark.parametrize("name", STUDIES)
def test_a_picture_of_every_study_can_be_read(name: str, tmp_path: Path) -> None:
    study = STUDIES[name]
    steps, values = [0, 50, 100, 500], [60.0, 20.0, 12.0, 5.0]
    figure = drawn(tmp_path, study.question, study, finished(study, 3, steps, values))
    assert_readable(figure)
    (legend,) = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    shown = [text.get_text() for text in legend.get_texts()]
    assert shown == [v.label for v in study.variants if v.text == study.variants[0].text]


@settings(max_examples=4, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(data=st.data(), title=NAMES, few=st.integers(1, 3), count=st.integers(1, 12))
def test_a_picture_of_any_study_can_be_read(
    tmp_path_factory: pytest.TempPathFactory, data: Any, title: str, few: int, count: int
) -> None:
    study = Study("?", tuple(Variant(f"{i} $x$") for i in range(count)))
    values = data.draw(
        st.lists(st.floats(1, 100) | st.sampled_from([1.0, 1e304]), min_size=few, max_size=few)
    )
    done = finished(study, 2, list(range(few)), values)
    assert_readable(drawn(tmp_path_factory.getbasetemp(), title, study, done))


def test_a_title_of_any_name(tmp_path: Path) -> None:
    with picture(tmp_path / "title.png", 4, 1) as figure:
        for name in ODD:
            set_title(figure, f"tiny on {name}")
            figure.draw_without_rendering()
            (title,) = texts(figure)
            assert title[0].startswith("tiny on ") and title[1].x1 <= figure.bbox.width


def test_text_is_shown_as_it_is() -> None:
    text = Text(text=plain("a $b$ \\$c \\alpha"))
    assert text._preprocess_math(text.get_text()) == ("a $b$ \\$c \\alpha", False)
    assert plain("\x1b東\udc80") == "\\x1b\\u6771\\udc80"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    record, metrics = run_of("x", [0, 2], [3.0, 2.0], 2, {"unigram": 2.5, "bigram": 1.5})
    folder = tmp_path / "run"
    folder.mkdir()
    record = {"format": "tinytape-run", "version": 1, **record}
    (folder / "config.json").write_text(json.dumps(record))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(m) + "\n" for m in metrics))
    return folder


def test_a_link_is_not_followed(run: Path) -> None:
    mine = run.parent / "mine.png"
    mine.write_text("mine")
    (run / "curve.png").symlink_to(mine)
    with pytest.raises(OSError, match="a link to"):
        curve.draw_curve(run)
    assert mine.read_text() == "mine" and (run / "curve.png").is_symlink()


def test_a_picture_that_cannot_be_written_leaves_the_old_one(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    curve.draw_curve(run)
    before = (run / "curve.png").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_pictures, "replace_file", full)
    assert plot.main([str(run)]) == 1
    assert "No space left" in capsys.readouterr().err
    assert (run / "curve.png").read_bytes() == before


@pytest.mark.parametrize(
    "line",
    [
        '{"step": 0}',
        '{"step": 0, "val_loss": "x", "train_loss": null}',
        '{"step": 0, "val_loss": NaN, "train_loss": null}',
        '{"step": 1' + "0" * 400 + ', "val_loss": 1, "train_loss": null}',
    ],
)
def test_metrics_that_no_run_wrote_are_refused(run: Path, line: str) -> None:
    (run / "metrics.jsonl").write_text(line + "\n")
    with pytest.raises(RunError):
        curve.draw_curve(run)
    assert not (run / "curve.png").exists()


def test_texts_are_not_made_by_latex(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    monkeypatch.setitem(matplotlib.rcParams, "text.usetex", True)
    with pytest.MonkeyPatch.context() as path:
        path.setenv("PATH", "")
        assert curve.draw_curve(run).is_file()
