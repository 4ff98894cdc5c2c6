"""Who is asked what, and in which order: A B C D A B C D, several rounds."""

from __future__ import annotations

import contextlib
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

from tqdm import tqdm

from . import cases
from .cases import Case
from .engine_process import AbsentError, Worker, WorkerError

OPS_SHARE = 0.3  # of a turn: single operations are many and short
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
    def start_workers(self, engines: Sequence[str], threads: int) -> Iterator[dict[str, Worker]]:
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


def time_cases(run: Run, chosen: Sequence[Case], rows: list[dict[str, Any]]) -> None:
    """Adds to rows: each case in each engine at each number of threads."""
    total = len(chosen) * len(run.threads)
    with tqdm(total=total, desc="timing", unit="case") as bar:
        for threads in run.threads:
            with run.start_workers([*run.engines, "floor"], threads) as workers:
                for case in chosen:
                    bar.set_postfix_str(f"{case.name}, {threads} threads")
                    rows.append(_time_one(run, case, threads, workers))
                    bar.update()
    _compare_losses(run, rows)


def _time_one(run: Run, case: Case, threads: int, workers: dict[str, Worker]) -> dict[str, Any]:
    with_roofline = case.group == "steps"
    entries: dict[str, dict[str, Any]] = {
        engine: {"rounds": []} for engine in workers if with_roofline or engine != "floor"
    }

    def attempt(engine: str, ask: Callable[[Worker], Any]) -> Any:
        """One engine that fails does not end the run."""
        if "error" in entries[engine]:
            return None
        try:
            return ask(workers[engine])
        except WorkerError as error:
            entries[engine]["error"] = _failed(run, case, threads, engine, workers, error)
            return None

    for engine, entry in entries.items():
        prepared = attempt(engine, lambda worker: worker.prepare(case.to_dict()))
        entry["first"] = prepared["first"] if prepared else []
    seconds = run.seconds * (OPS_SHARE if case.group == "ops" else 1.0)
    for _ in range(run.rounds):
        for engine, entry in entries.items():
            if engine == "floor":
                turn = attempt(engine, lambda worker: worker.turn(do="ask", what="measure"))
            else:
                turn = attempt(engine, lambda worker: worker.burst(case.name, seconds))
            if turn:
                entry["rounds"].append(turn)
    floor = entries.pop("floor", None)
    for entry in entries.values():
        if entry["rounds"]:
            entry.update(summary([s for burst in entry["rounds"] for s in burst]))
    return {
        **cases.describe(case),
        "threads": threads,
        "engines": entries,
        "floor": _floor(floor) if floor and floor["rounds"] else floor,
    }


def _failed(
    run: Run, case: Case, threads: int, engine: str, workers: dict[str, Worker], error: Exception
) -> str:
    """Says so; a process that has ended is replaced, so that the next case can be tried."""
    run.say(f"{case.name}, {engine}, {threads} threads: {error}")
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
        firsts = {e: x["first"] for e, x in row["engines"].items() if x["first"]}
        if row["group"] != "steps" or not firsts:
            continue
        ours = firsts.get("tinytape")
        if ours and bits.setdefault(row["name"], ours) != ours:
            run.say(f"{row['name']}: tinytape's losses differ at {row['threads']} threads")
        reference = ours or next(iter(firsts.values()))
        for engine, first in firsts.items():
            pairs = zip(first, reference, strict=True)
            if any(abs(a - b) > LOSS_TOLERANCE * abs(b) for a, b in pairs):
                run.say(f"{row['name']}: losses of {engine} are others: {first}, not {reference}")
    if len(run.threads) > 1 and bits and not any("losses differ" in note for note in run.notes):
        steps, counts = len(bits), ", ".join(map(str, run.threads))
        run.say(f"tinytape's first losses have the same bits at {counts} threads ({steps} cases)")
