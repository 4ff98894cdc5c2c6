"""Memory and growth: each point in a fresh process, which has done nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
from tqdm import tqdm

from . import works
from .crew import WorkerError
from .measure import Run, summary
from .works import Work

MEMORY_STEPS_SECONDS = 1.0


def peak_memory(run: Run, out: list[dict[str, Any]]) -> None:
    """Adds to out, for each engine: of a worker that trains `small` at batch 12, no more."""
    for engine in run.engines:
        with run.crew([engine], max(run.threads)) as workers:
            if engine not in workers:
                continue
            entry: dict[str, Any] = {"engine": engine, "base": workers[engine].base_bytes}
            try:
                workers[engine].prepare(works.MEMORY.to_dict())
                seconds = run.seconds if run.quick else MEMORY_STEPS_SECONDS
                workers[engine].burst(works.MEMORY.name, seconds)
                entry.update(workers[engine].ask(do="memory"))
            except WorkerError as error:
                entry["error"] = str(error)
                run.say(f"memory, {engine}: {error}")
            out.append(entry)


def growth(run: Run, series: list[dict[str, Any]]) -> None:
    """Adds to series: time and memory of `small` against context and layers, at most threads."""
    engines = [e for e in ("tinytape", "eager") if e in run.engines]
    threads = max(run.threads)
    for what, values in (("context", works.GROWTH_CONTEXTS), ("layers", works.GROWTH_LAYERS)):
        if run.quick:
            values = values[:3]
        found: dict[str, list[dict[str, Any]]] = {engine: [] for engine in engines}
        for value in tqdm(values, desc=f"growth with {what}"):
            for engine, point in _point(run, works.growth(what, value), engines, threads).items():
                found[engine].append({"value": value, **point})
        for engine, points in found.items():
            if not any("min" in point for point in points):
                continue  # it was said why
            one = {"what": what, "engine": engine, "threads": threads, "points": points}
            series.append({**one, **_fit(what, engine, points)})


def _point(run: Run, work: Work, engines: list[str], threads: int) -> dict[str, dict[str, Any]]:
    out: dict[str, dict[str, Any]] = {}
    with run.crew(engines, threads) as workers:
        for engine, worker in workers.items():
            out[engine] = {"tokens": work.sizes["batch"] * work.sizes["context"], "rounds": []}
            try:
                worker.prepare(work.to_dict())
            except WorkerError as error:
                out[engine]["error"] = str(error)
        for _ in range(run.rounds):
            for engine, worker in workers.items():
                point = out[engine]
                try:
                    if "error" not in point:
                        point["rounds"].append(worker.burst(work.name, run.seconds * 0.5))
                except WorkerError as error:
                    point["error"] = str(error)
        for engine, worker in workers.items():
            point = out[engine]
            if "error" in point:
                run.say(f"{work.name}, {engine}: {point['error']}")
                continue
            try:
                memory = worker.ask(do="memory")
            except WorkerError as error:
                run.say(f"{work.name}, {engine}: {error}")
                continue
            point.update(summary([s for burst in point["rounds"] for s in burst]))
            point["added_bytes"] = memory["peak"] - worker.base_bytes
            if "step_high_water" in memory:
                point["arena_bytes"] = memory["step_high_water"] + memory["scratch_high_water"]
    return out


def _fit(what: str, engine: str, points: list[dict[str, Any]]) -> dict[str, float]:
    """Adds the fitted values to the points; returns how far the furthest is from them.

    Time is c0 + c1 x + c2 x^2 of the context x, whose square is attention's own, and c0 + c1 x of
    the layers; memory is c0 + c1 x of both. Errors count relative to the value.
    """
    good = [p for p in points if "min" in p]
    off: dict[str, float] = {}
    x = np.array([p["value"] for p in good], float)
    degree = max(0, min(2 if what == "context" else 1, len(good) - 2))
    times = np.array([p["min"] for p in good])
    c, fitted, off["time_off"] = _relative_fit(x, times, degree)
    square = c[2] * x**2 if degree == 2 else 0 * x
    key = "arena_bytes" if engine == "tinytape" else "added_bytes"
    taken = np.array([p[key] for p in good], float)
    _, fitted_bytes, off["bytes_off"] = _relative_fit(x, taken, max(0, min(1, len(good) - 2)))
    for i, p in enumerate(good):
        p["fitted_seconds"] = float(fitted[i])
        p["linear_seconds"] = float(times[i] - square[i])
        p["fitted_bytes"] = float(fitted_bytes[i])
    return off


def _relative_fit(
    x: np.ndarray, y: np.ndarray, degree: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Coefficients from the lowest, fitted values, and the largest relative distance."""
    powers = x[:, None] ** np.arange(degree + 1)
    c = np.linalg.lstsq(powers / y[:, None], np.ones(len(y)), rcond=None)[0]
    fitted = powers @ c
    return c, fitted, float(np.max(np.abs(y - fitted) / y))
