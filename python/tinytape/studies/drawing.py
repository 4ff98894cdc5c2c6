"""The results of a study as a picture.

>>> from pathlib import Path
>>> from tinytape.models.spec import Study, Variant
>>> from tinytape.studies.drawing import draw
>>> from tinytape.studies.runs import Run
>>> study = Study("Does it learn?", (Variant("tiny"),))
>>> metrics = [{"step": step, "val_perplexity": 30.0 - step} for step in (0, 5, 10)]
>>> draw(Path("picture.png"), "Demo", study, [(Run(study.variants[0], 1, Path(), {}), metrics)])
>>> Path("picture.png").stat().st_size > 1000
True
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from .._pictures import (
    legend_above,
    number,
    numbers_along,
    picture,
    plain,
    set_title,
    steps_along,
)
from ..models.spec import Study
from .report import Finished

_COLOURS = (
    "#08519c",
    "#cb181d",
    "#238b45",
    "#6a51a3",
    "#d94801",
    "#636363",
    "#41b6c4",
    "#000000",
    "#c51b8a",
    "#8c6d31",
)
_MARKERS = "osDv^<>PX"
_ASTRAY = 1e5  # more than any text has characters to choose from


def draw(path: Path, title: str, study: Study, finished: Finished) -> None:
    """Held-out perplexity over steps, the mean over seeds; and each seed's at the end.

    Of a study with two texts that of the first: the perplexities of the others do not compare.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    text = study.variants[0].text
    shown = [
        (variant, runs)
        for variant in study.variants
        if variant.text == text
        if (runs := [metrics for run, metrics in finished if run.variant == variant])
    ]
    columns = 3 if max(len(variant.label) for variant, _ in shown) < 40 else 2
    above = 0.2 * -(-len(shown) // columns)  # inches, of the legend
    with picture(path, 11.5, 4.8 + above) as figure:
        grid = figure.add_gridspec(2, 2, width_ratios=[3, 2], height_ratios=[above, 4.4])
        curves, ends = figure.add_subplot(grid[1, 0]), figure.add_subplot(grid[1, 1])
        labels, learnt, last = [], [], []
        for place, (variant, runs) in enumerate(shown):
            style = {
                "color": _COLOURS[place % len(_COLOURS)],
                "marker": _MARKERS[place % len(_MARKERS)],
            }
            points = [
                (seeds[0]["step"], statistics.fmean(map(_perplexity, seeds)))
                for seeds in zip(*runs, strict=False)
            ]
            # Not from step 0, where all are at chance: the later differences would be too small to
            # see.
            points = [point for point in points if point[0] > 0] or points
            curves.plot(
                [step for step, _ in points],
                [mean for _, mean in points],
                linewidth=2,
                label=plain(variant.label),
                **style,
            )
            learnt += [mean for _, mean in points]
            values = [_perplexity(metrics[-1]) for metrics in runs]
            ends.plot(values, [place] * len(values), linestyle="", alpha=0.6, **style)
            mean = statistics.fmean(values)
            ends.plot(mean, place, "|", color=style["color"], markersize=18, markeredgewidth=2)
            last += values
            labels.append(f"{plain(variant.label)}  {number(mean)}")
        curves.set_xlabel("optimiser step")
        curves.set_ylabel("held-out perplexity per character")
        steps_along(curves, max(metrics[-1]["step"] for _, runs in shown for metrics in runs))
        legend_above(curves, figure.add_subplot(grid[0, :]), columns)
        ends.set_yticks(range(len(labels)), labels, fontsize=9)
        for place, tick in enumerate(ends.get_yticklabels()):
            tick.set_color(_COLOURS[place % len(_COLOURS)])
        ends.invert_yaxis()
        ends.margins(0.12, 0.1)
        ends.set_xlabel("at the end: each seed, and the mean")
        numbers_along(curves.yaxis, learnt)
        numbers_along(ends.xaxis, last)
        for axes in (curves, ends):
            axes.grid(color="#e5e5e5", linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
        set_title(figure, title)


def _perplexity(metrics: dict[str, Any]) -> float:
    """The held-out perplexity, bounded: a diverged run has up to 1e304, which no axis can show."""
    return float(min(metrics["val_perplexity"], _ASTRAY))
