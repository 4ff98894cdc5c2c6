"""Who is asked what, and in which order: A B C D A B C D, several rounds."""

from __future__ import annotations

import contextlib
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

from tqdm import tqdm

from . import works
from .crew import AbsentError, Worker, WorkerError
from .works import Work

LOSS_TOLERANCE = 1e-3  # relative, between engines in their first steps


@dataclass
class Run:
    """What was asked for, and what has come of it."""

    engines: Sequence[str]
    threads: Sequence[int]
    rounds: int
    seconds: float
    ids: Path
    quick: bool = False
    skipped: dict[str, str] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """A word on stderr now, and in the report."""
        if text not in self.notes:
            self.notes.append(text)
            tqdm.write(text, file=sys.stderr)

    def start(self, engine: str, threads: int) -> Worker | None:
        """A worker, or None with a word when it is absent or does not start."""
        if engine in self.skipped:
            return None
        try:
            worker = Worker(engine, threads, self.ids)
        except AbsentError as error:
            self.skipped[engine] = str(error)
            self.say(f"{engine}: skipped, not installed ({error})")
            return None
        except WorkerError as error:
            self.say(f"{engine}, {threads} threads: does not start: {error}")
            return None
        self.versions.update(worker.versions)
        return worker

    @contextlib.contextmanager
    def crew(self, engines: Sequence[str], threads: int) -> Iterator[dict[str, Worker]]:
        workers: dict[str, Worker] = {}
        try:
            for engine in engines:
                worker = self.start(engine, threads)
                if worker is not None:
                    workers[engine] = worker
            yield workers
        finally:
            for worker in workers.values():
                worker.close()


def summary(samples: Sequence[float]) -> dict[str, float]:
    return {"min": min(samples), "median": statistics.median(samples)}


def time_works(run: Run, chosen: Sequence[Work]) -> list[dict[str, Any]]:
    """Each work in each engine at each number of threads."""
    rows = []
    total = len(chosen) * len(run.threads)
    with tqdm(total=total, desc="timing", unit="work", disable=None) as bar:
        for threads in run.threads:
            with run.crew([*run.engines, "floor"], threads) as workers:
                for work in chosen:
                    bar.set_postfix_str(f"{work.name}, {threads} threads")
                    rows.append(_time_one(run, work, threads, workers))
                    bar.update()
    _compare_losses(run, rows)
    return rows


def _time_one(run: Run, work: Work, threads: int, workers: dict[str, Worker]) -> dict[str, Any]:
    row: dict[str, Any] = {**works.describe(work), "threads": threads, "engines": {}}
    row["floor"] = None
    ready: list[str] = []
    for engine, worker in list(workers.items()):
        if engine == "floor" and work.group != "steps":
            continue
        entry: dict[str, Any] = {"rounds": []}
        try:
            prepared = worker.prepare(work.to_dict())
            if engine != "floor":
                entry["first"] = prepared["first"]
            ready.append(engine)
        except WorkerError as error:
            entry["error"] = _failed(run, work, threads, engine, workers, error)
        if engine == "floor":
            row["floor"] = entry
        else:
            row["engines"][engine] = entry
    seconds = run.seconds * (0.3 if work.group == "ops" else 1.0)
    for _ in range(run.rounds):
        for engine in ready:
            entry = row["floor"] if engine == "floor" else row["engines"][engine]
            if "error" in entry:
                continue
            try:
                if engine == "floor":
                    entry["rounds"].append(workers[engine].ask(do="ask", what="measure"))
                else:
                    entry["rounds"].append(workers[engine].burst(work.name, seconds))
            except WorkerError as error:
                entry["error"] = _failed(run, work, threads, engine, workers, error)
    for entry in row["engines"].values():
        if entry["rounds"]:
            entry.update(summary([s for burst in entry["rounds"] for s in burst]))
    if row["floor"] and row["floor"]["rounds"]:
        row["floor"] = _floor(row["floor"])
    return row


def _failed(
    run: Run, work: Work, threads: int, engine: str, workers: dict[str, Worker], error: Exception
) -> str:
    """Says so; a process that has ended is replaced, so that the next work can be tried."""
    run.say(f"{work.name}, {engine}, {threads} threads: {error}")
    if "ended with status" in str(error) or "no answer" in str(error):
        workers.pop(engine).close()
        again = run.start(engine, threads)
        if again is not None:
            workers[engine] = again
    return str(error)


def _floor(entry: dict[str, Any]) -> dict[str, Any]:
    """The best products and the best bandwidth that any round saw."""
    rounds = entry["rounds"]
    products = {
        name: min(r["products"].get(name, inf) for r in rounds) for name in rounds[0]["products"]
    }
    product = min(products, key=lambda name: products[name])
    bandwidth = max(r["bandwidth"] for r in rounds)
    moved = rounds[0]["bytes"]
    return {
        **entry,
        "products": products,
        "product": product,
        "flop": rounds[0]["flop"],
        "bytes": moved,
        "bandwidth": bandwidth,
        "seconds": products[product] + moved / bandwidth,
    }


def _compare_losses(run: Run, rows: list[dict[str, Any]]) -> None:
    """All engines must do the same work; tinytape the same bits at any number of threads."""
    bits: dict[str, list[float]] = {}
    for row in rows:
        if row["group"] != "steps" and row["group"] != "generate":
            continue
        ours = row["engines"].get("tinytape", {}).get("first")
        if ours is not None and bits.setdefault(row["name"], ours) != ours:
            run.say(f"{row['name']}: tinytape's losses differ at {row['threads']} threads")
        firsts = {e: x["first"] for e, x in row["engines"].items() if x.get("first")}
        for engine, first in firsts.items():
            reference = ours or next(iter(firsts.values()))
            if any(
                abs(a - b) > LOSS_TOLERANCE * abs(b) for a, b in zip(first, reference, strict=True)
            ):
                run.say(f"{row['name']}: losses of {engine} are others: {first}, not {reference}")
