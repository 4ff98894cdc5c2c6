"""The loss curve of a run as a picture.

>>> from tinytape.training.curve import draw_curve
>>> draw_curve("runs/demo").name
'curve.png'
"""

from __future__ import annotations

import math
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

from .._pictures import legend_above, number, picture, set_title, steps_along
from .errors import RunError
from .run_folder import RunFolder


def draw_curve(run: str | os.PathLike[str]) -> Path:
    """Draw training and held-out loss over steps, and the entropies to beat, to ``curve.png``.

    Raises:
        MissingExtraError: matplotlib is not installed.
        RunError: no run there, or no evaluation yet.
    """
    folder = RunFolder(run)
    record = folder.read_config()
    metrics = folder.read_metrics()
    if not metrics:
        raise RunError(f"{folder.metrics}: there is no evaluation to draw yet")
    try:
        with picture(folder.curve, 8, 4.8) as figure:
            _draw(figure, record, metrics)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise RunError(
            f"{folder.metrics} and {folder.config}: not what a run writes ({error!r})"
        ) from error
    return folder.curve


def _best(metrics: list[dict[str, Any]]) -> int:
    """The best evaluation by the run's record, which knows which losses can be compared."""
    step = metrics[-1].get("best_step")
    same = [i for i, record in enumerate(metrics) if record["step"] == step]
    return same[-1] if same else min(range(len(metrics)), key=lambda i: metrics[i]["val_loss"])


def _draw(figure: Any, record: dict[str, Any], metrics: list[dict[str, Any]]) -> None:
    corpus, train = record["corpus"], record["train"]
    legend_axes, axes = figure.subplots(2, 1, height_ratios=[1, 10])
    # A training loss is the mean since the evaluation before: it belongs to the middle of the two.
    middles, losses = [], []
    for before, after in pairwise(metrics):
        if after["train_loss"] is not None:
            middles.append((before["step"] + after["step"]) / 2)
            losses.append(after["train_loss"])
    steps = [m["step"] for m in metrics]
    held_out = [m["val_loss"] for m in metrics]
    if not all(map(math.isfinite, [*held_out, *losses])):
        raise ValueError("losses that are not finite")
    if losses:
        axes.plot(
            middles,
            losses,
            ".-",
            color="#9ecae1",
            linewidth=2,
            label="training (mean of each interval)",
        )
    axes.plot(steps, held_out, ".-", color="#08519c", linewidth=2, label="held out")
    best = _best(metrics)
    axes.plot(
        steps[best],
        held_out[best],
        "o",
        color="#08519c",
        markersize=9,
        fillstyle="none",
        label=f"best: {number(held_out[best])} at {steps[best]:,}",
    )
    for name, dashes in (("unigram", "--"), ("bigram", ":")):
        value = corpus["entropy_nats"][name]
        axes.axhline(
            value,
            color="#969696",
            linewidth=1.2,
            linestyle=dashes,
            label=f"{name} entropy {number(value)}",
        )
    axes.margins(y=0.08)
    axes.set_xlabel("optimiser step")
    axes.set_ylabel("loss (nats per character)")
    axes.grid(color="#e5e5e5", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    steps_along(axes, max(train["iters"], steps[-1]))
    legend_above(axes, legend_axes, columns=3)
    set_title(figure, f"{train['model']} on {corpus['name']}")
