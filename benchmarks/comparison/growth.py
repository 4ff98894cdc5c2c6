"""Memory and growth: each point in a fresh process, which does nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tqdm import tqdm

from . import cases
from .cases import Case
from .engine_process import Worker, WorkerError
from .measure import Run, summary

MEMORY_STEPS_SECONDS = 1.0
TURN_SHARE = 0.5


def peak_memory(run: Run, out: list[dict[str, Any]]) -> None:
    """Adds to out, for each engine: of a worker that trains `small` at batch 12, no more."""
    for engine in run.engines:
        with run.start_workers([engine], max(run.threads)) as workers:
            if engine not in workers:
                continue
            entry: dict[str, Any] = {"engine": engine, "base": workers[engine].base_bytes}
            try:
                workers[engine].prepare(cases.MEMORY.to_dict())
                seconds = run.seconds if run.quick else MEMORY_STEPS_SECONDS
                workers[engine].burst(cases.MEMORY.name, seconds)
                entry.update(workers[engine].ask(do="memory"))
            except WorkerError as error:
                entry["error"] = str(error)
                run.say(f"memory, {engine}: {error}")
            out.append(entry)


def growth(run: Run, series: list[dict[str, Any]]) -> None:
    """Adds to series: time and memory of `small` against context and layers, at most threads.

    The workers of all points of a series live together and take turns, as engines do elsewhere.
    """
    engines = [engine for engine in ("tinytape", "eager") if engine in run.engines]
    threads = max(run.threads)
    for what, values in (("context", cases.GROWTH_CONTEXTS), ("layers", cases.GROWTH_LAYERS)):
        points = [
            (engine, cases.growth(what, value))
            for value in (values[:3] if run.quick else values)
            for engine in engines
        ]
        measured = _points(run, points, threads, f"growth with {what}")
        for engine in engines:
            found = [
                {"value": case.sizes[what], **point}
                for (of, case), point in zip(points, measured, strict=True)
                if of == engine and "min" in point
            ]
            if found:
                one = {"what": what, "engine": engine, "threads": threads, "points": found}
                series.append({**one, **_fit(what, engine, found)})


def _points(
    run: Run, points: list[tuple[str, Case]], threads: int, title: str
) -> list[dict[str, Any]]:
    """Each of them in a process of its own; one that fails is said, and has no time."""
    out: list[dict[str, Any]] = []
    workers: list[Worker | None] = []

    def attempt(i: int, ask: Callable[[Worker], Any]) -> Any:
        worker, (engine, case) = workers[i], points[i]
        if worker is None:
            return None
        try:
            return ask(worker)
        except WorkerError as error:
            run.say(f"{case.name}, {engine}: {error}")
            worker.close()
            workers[i] = None
            return None

    try:
        for i, (engine, case) in enumerate(tqdm(points, desc=title)):
            workers.append(run.start(engine, threads))
            tokens = case.sizes["batch"] * case.sizes["context"]
            out.append({"tokens": tokens, "rounds": []})
            attempt(i, lambda worker, case=case: worker.prepare(case.to_dict()))
        share = run.seconds * TURN_SHARE
        for _ in range(run.rounds):
            for i, (_, case) in enumerate(points):
                burst = attempt(i, lambda worker, case=case: worker.burst(case.name, share))
                out[i]["rounds"] += [burst] if burst else []
        for i, point in enumerate(out):
            memory = attempt(i, lambda worker: {"base": worker.base_bytes, **_memory(worker)})
            if memory:
                point.update(summary([s for burst in point["rounds"] for s in burst]))
                point["added_bytes"] = memory["peak"] - memory["base"]
                if "step_high_water" in memory:
                    arenas = memory["step_high_water"] + memory["scratch_high_water"]
                    point["arena_bytes"] = arenas
    finally:
        for worker in workers:
            if worker is not None:
                worker.close()
    return out


def _memory(worker: Worker) -> dict[str, int]:
    answer: dict[str, int] = worker.ask(do="memory")
    return answer


def _fit(what: str, engine: str, points: list[dict[str, Any]]) -> dict[str, float]:
    """Adds the fitted values to the points; returns how far the furthest is from them.

    Time is c0 + c1 x + c2 x^2 of the context x, whose square is attention's own, and c0 + c1 x of
    the layers; memory is c0 + c1 x of both. Errors count relative to the value.
    """
    off: dict[str, float] = {}
    x = np.array([p["value"] for p in points], float)
    spare = len(points) - 2  # with no point to spare, everything fits
    times = np.array([p["min"] for p in points])
    degree = max(0, min(2 if what == "context" else 1, spare))
    c, fitted, off["time_off"] = _relative_fit(x, times, degree)
    square = c[2] * x**2 if degree == 2 else 0 * x
    key = "arena_bytes" if engine == "tinytape" else "added_bytes"
    taken = np.array([p[key] for p in points], float)
    _, fitted_bytes, off["bytes_off"] = _relative_fit(x, taken, max(0, min(1, spare)))
    for i, p in enumerate(points):
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
