"""The process of one engine: reads a request a line from stdin, answers a line to stdout.

    python -m comparison.worker ENGINE THREADS IDS.npy CPU,CPU

Started by engine_process.py, which also sets the environment that an engine reads when it is
imported.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import re
import resource
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Engine -> module, and whether it compiles.
ENGINES = {
    "tinytape": ("in_tinytape", False),
    "eager": ("in_torch", False),
    "compile": ("in_torch", True),
    "jax": ("in_jax", False),
    "floor": ("roofline", False),
}
CHECKED_STEPS = 3  # whose losses are compared between engines and thread counts
WARM_SECONDS = 0.2
CLOCK_SECONDS = 100e-6  # a shorter unit of work is timed several at a time


def peak_bytes() -> int:
    """The most resident memory this process has had."""
    try:  # ru_maxrss would count what the parent had when it forked
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        if found:
            return 1024 * int(found[1])
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


class Task:
    """A prepared case, which knows how many units make a sample."""

    def __init__(self, step: Callable[[], Any]) -> None:
        self.step = step
        made = [step() for _ in range(CHECKED_STEPS)]
        self.first = [value for value in made if isinstance(value, float)]  # losses
        self.inner = 1
        self.seconds = self._warm()

    def _warm(self) -> float:
        """Run for a while; returns the time of the shortest unit."""
        best, end = float("inf"), time.perf_counter() + WARM_SECONDS
        while time.perf_counter() < end:
            began = time.perf_counter()
            self.step()
            best = min(best, time.perf_counter() - began)
        if best < CLOCK_SECONDS:
            self.inner = max(1, round(2 * CLOCK_SECONDS / best))
        return best

    def burst(self, seconds: float) -> list[float]:
        """Samples in seconds a unit, for about that long; at least one."""
        if self.seconds < seconds / 4:
            self.step()  # caches and threads have gone cold while others ran
        samples = []
        end = time.perf_counter() + seconds
        units = range(self.inner)
        while not samples or time.perf_counter() < end:
            began = time.perf_counter()
            for _ in units:
                self.step()
            samples.append((time.perf_counter() - began) / self.inner)
        return samples


def answer(request: dict[str, Any], engine: Any, ids: Any, tasks: dict[str, Task]) -> Any:
    do = request["do"]
    if do == "prepare":
        case = request["case"]
        tasks.clear()
        gc.collect()
        step = getattr(engine, case["kind"])(case["sizes"], ids)
        task = tasks[case["name"]] = Task(step)
        return {"first": task.first, "inner": task.inner}
    if do == "burst":
        return {"samples": tasks[request["name"]].burst(request["length"])}
    if do == "ask":  # something that only one engine can say
        return getattr(engine, request["what"])(**request.get("with", {}))
    if do == "memory":
        return {"peak": peak_bytes(), **engine.stats()}
    raise ValueError(f"no such request: {do}")


def main() -> None:
    name, threads, path, cpus = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    if cpus:  # the only bound that XLA's thread pool heeds; the same for all engines
        os.sched_setaffinity(0, map(int, cpus.split(",")))
    # What libraries print to stdout must not come between the answers.
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        import numpy as np

        module, compiled = ENGINES[name]
        engine = importlib.import_module(f"comparison.{module}")
        hello = {"ok": {"versions": engine.start(threads, compiled), "peak": peak_bytes()}}
        ids = np.load(path)
    except ImportError as error:
        hello = {"absent": str(error)}
    except Exception as error:
        traceback.print_exc()
        hello = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(hello), file=pipe, flush=True)
    if "ok" not in hello:
        return
    tasks: dict[str, Task] = {}
    gc.disable()
    for line in sys.stdin:
        try:
            reply = {"ok": answer(json.loads(line), engine, ids, tasks)}
        except Exception as error:
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
        gc.collect()
        print(json.dumps(reply), file=pipe, flush=True)


if __name__ == "__main__":
    main()
