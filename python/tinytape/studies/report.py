"""The results of a study, as numbers and as a table.

>>> from tinytape.studies.report import in_parts
>>> in_parts({"name": "novel", "parts": ["train.txt", "valid.txt"]})
'; novel: trained on train.txt, valid.txt held out'
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from ..models.spec import Study, perplexity
from ..training.run_folder import RunFolder
from .runs import Run

Finished = Sequence[tuple[Run, list[dict[str, Any]]]]

#: Results of a run of which a study gives the mean and the spread.
_AVERAGED = (
    "held_out_perplexity",
    "training_perplexity",
    "bits_per_character",
    "seconds",
    "resident_mb",
)


def summary(study: Study, finished: Finished) -> list[dict[str, Any]]:
    """For each variant its seeds, and mean and spread over them.

    Perplexities are exp of the loss in nats per character: held out with carried states at the last
    step, in training over the last interval. Seconds are those of training with its evaluations,
    ``resident_mb`` is the process's memory at the last one. The spread is the sample standard
    deviation; None for a single seed.
    """
    rows = []
    for variant in study.variants:
        runs = [(run, metrics) for run, metrics in finished if run.variant == variant]
        if not runs:
            continue
        seeds = [_results(run, metrics, study.milestones) for run, metrics in runs]
        row: dict[str, Any] = {
            "label": variant.label,
            "original": variant.original,
            "settings": {k: v for k, v in runs[0][0].settings.items() if k not in ("data", "seed")},
            "seeds": seeds,
        }
        for key in _AVERAGED:
            values = [seed[key] for seed in seeds if seed[key] is not None]
            row[key] = _mean_and_spread(values)
        rows.append(row)
    return rows


def text_of(finished: Finished) -> dict[str, Any]:
    """The runs' own records of the text; of a variant's text only where all have one."""
    run, _ = min(finished, key=lambda done: done[0].variant.text is not None)
    record = RunFolder(run.folder).read_config()["corpus"]
    return {key: record[key] for key in ("name", "sha256", "cut", "parts") if key in record}


def in_parts(corpus: dict[str, Any]) -> str:
    """For a title: which parts of the text were taken, where it is in parts."""
    if "parts" not in corpus:
        return ""
    train, held_out = corpus["parts"]
    return f"; {corpus['name']}: trained on {train}, {held_out} held out"


def markdown(title: str, study: Study, rows: list[dict[str, Any]]) -> str:
    """The table, with the figures of the documents beside it."""
    marks = [
        m for m in study.milestones if any(str(m) in r["seeds"][0]["milestones"] for r in rows)
    ]
    head = [
        "configuration",
        "held-out perplexity",
        "bits per character",
        "training perplexity",
        *[f"after {m:,}" for m in marks],
        "time",
        "memory",
        "original (training)",
    ]
    lines = [f"### {title}", "", f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for row in rows:
        cells = [
            row["label"],
            _spread(row["held_out_perplexity"], 3),
            _spread(row["bits_per_character"], 3),
            _spread(row["training_perplexity"], 3),
        ]
        for m in marks:
            values = [s["milestones"][str(m)] for s in row["seeds"] if str(m) in s["milestones"]]
            cells.append(_spread(_mean_and_spread(values), 2))
        cells += [_spread(row["seconds"], 0) + " s", _spread(row["resident_mb"], 0) + " MB"]
        lines.append(f"| {' | '.join([*cells, row['original'] or '-'])} |")
    return "\n".join(lines) + "\n"


def _results(run: Run, metrics: list[dict[str, Any]], milestones: Sequence[int]) -> dict[str, Any]:
    last = metrics[-1]
    train = last["train_loss"]
    return {
        "seed": run.seed,
        "steps": last["step"],
        "held_out_perplexity": last["val_perplexity"],
        "best_held_out_perplexity": min(m["val_perplexity"] for m in metrics),
        "bits_per_character": last["val_bits_per_character"],
        "training_perplexity": None if train is None else perplexity(train),
        "seconds": last["elapsed_s"],
        "resident_mb": last["rss_mb"],
        "milestones": {
            str(m["step"]): m["val_perplexity"] for m in metrics if m["step"] in milestones
        },
    }


def _mean_and_spread(values: Sequence[float]) -> dict[str, float | None]:
    if not values:
        return {"mean": None, "spread": None}
    spread = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "spread": spread}


def _spread(value: dict[str, float | None], digits: int) -> str:
    if value["mean"] is None:
        return "-"
    text = f"{value['mean']:,.{digits}f}"
    return text if value["spread"] is None else f"{text} ± {value['spread']:.{digits}f}"
