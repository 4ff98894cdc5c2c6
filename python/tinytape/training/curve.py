"""The loss curve of a run as a picture."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

from .._pictures import new_figure, save_figure
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
    figure = new_figure(8, 4.8)
    try:
        _draw(figure.add_subplot(), record, metrics)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise RunError(
            f"{folder.metrics} and {folder.config}: not what a run writes ({error!r})"
        ) from error
    save_figure(figure, folder.curve)
    return folder.curve


def _best(metrics: list[dict[str, Any]]) -> int:
    """Which evaluation was the best: as the run says, which knows what can be compared."""
    step = metrics[-1].get("best_step")
    same = [i for i, record in enumerate(metrics) if record["step"] == step]
    return same[-1] if same else min(range(len(metrics)), key=lambda i: metrics[i]["val_loss"])


def _draw(axes: Any, record: dict[str, Any], metrics: list[dict[str, Any]]) -> None:
    corpus, train = record["corpus"], record["train"]
    # A training loss is the mean since the evaluation before: it belongs to the middle of the two.
    middles, losses = [], []
    for before, after in pairwise(metrics):
        if after["train_loss"] is not None:
            middles.append((before["step"] + after["step"]) / 2)
            losses.append(after["train_loss"])
    steps = [m["step"] for m in metrics]
    held_out = [m["val_loss"] for m in metrics]
    axes.plot(
        middles, losses, color="#9ecae1", linewidth=2, label="training (mean of each interval)"
    )
    axes.plot(steps, held_out, color="#08519c", linewidth=2, label="held out", marker=".")
    last = max(train["iters"], steps[-1])
    for name, value in corpus["entropy_nats"].items():
        axes.axhline(value, color="#969696", linewidth=1, linestyle="--")
        axes.annotate(
            f"{name} entropy {value:.2f}", (last, value), xytext=(0, 3),
            textcoords="offset points", ha="right", color="#636363", fontsize=9,
        )  # fmt: skip
    best = _best(metrics)
    axes.annotate(
        f"best {held_out[best]:.3f} at {steps[best]:,}", (steps[best], held_out[best]),
        xytext=(0, 8), textcoords="offset points", ha="right", color="#08519c", fontsize=9,
    )  # fmt: skip
    low = min([*held_out, *losses])
    high = max([*held_out, *corpus["entropy_nats"].values()])
    axes.set_ylim(low - 0.12 * (high - low), high + 0.06 * (high - low))
    axes.set_xlim(-0.01 * last, 1.01 * last)
    axes.set_xlabel("optimiser step")
    axes.set_ylabel("loss (nats per character)")
    axes.set_title(f"{train['model']} on {corpus['name']}", loc="left")
    axes.grid(color="#e5e5e5", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
    axes.legend(frameon=False, loc="upper right")
