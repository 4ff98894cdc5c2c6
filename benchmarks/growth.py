"""What a write, a look-up and a kept value cost, against how large the tensor or how long the run.

    python benchmarks/growth.py [--rows 1000] [--repeats 200]

Writes and look-ups touch as many elements whatever the size of the tensor: 1, 10 and 100 times
``--rows`` rows of 128. For each: the least time of a call, and the memory that it asks for, of the
system and of numpy. A step that keeps a value of its own should hold that value and no more.
Numbers that grow along a line are the fault to look for.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

import tinytape as tt
from tinytape import nn
from tinytape.nn import functional as F

WIDTH = 128
FACTORS = (1, 10, 100)
STEPS = (10, 100, 1000)
Make = Callable[[int], Callable[[], object]]


def write(index: Any, value: Any, kind: tt.dtype = tt.float32) -> Make:
    def make(rows: int) -> Callable[[], object]:
        x = tt.zeros(rows, WIDTH, dtype=kind)
        return lambda: x.__setitem__(index, value)

    return make


def add_to(index: Any) -> Make:
    def make(rows: int) -> Callable[[], object]:
        x = tt.zeros(rows, WIDTH)

        def add() -> None:
            x[index] += 1

        return add

    return make


def look_up(pick: Callable[[tt.Tensor], object], kind: tt.dtype = tt.float32) -> Make:
    """In a table of ``rows`` columns: the axis that is picked from is not the first."""

    def make(rows: int) -> Callable[[], object]:
        x = tt.zeros(WIDTH, rows, dtype=kind)
        return lambda: pick(x)

    return make


ROW = tt.ones(WIDTH)
IDS = tt.tensor(np.arange(64) * 7 % 1000)
CASES: dict[str, Make] = {
    "x[i] = number": write(7, 1.5),
    "x[i] = row": write(7, ROW),
    "x[i] += 1": add_to(7),
    "x[[64 rows]] = row": write(IDS, ROW),
    "x[[64 rows]] += 1": add_to(IDS),
    "x[i] = 3, uint8": write(7, 3, tt.uint8),
    "x[:, [64]]": look_up(lambda x: x[:, IDS]),
    "x[:, [64]], uint8": look_up(lambda x: x[:, IDS], tt.uint8),
    "index_select(1, [64])": look_up(lambda x: x.index_select(1, IDS)),
    "index_select(1, [64]), int16": look_up(lambda x: x.index_select(1, IDS), tt.int16),
    "x.T[[64]], transposed": look_up(lambda x: x.t()[IDS]),
    "embedding of int32": look_up(lambda x: F.embedding(IDS, x.t()), tt.int32),
    "x[a, b]": look_up(lambda x: x[IDS % 128, IDS]),
}


def measure(call: Callable[[], object], repeats: int) -> tuple[float, int]:
    """Microseconds at best, and the most bytes that a call asked for."""
    call()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    tt.empty_cache()
    before = tt.memory_stats()["system_bytes"]
    tracemalloc.start()
    call()
    of_numpy = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # What was given back waits in the cache, and so still counts.
    return 1e6 * min(times), tt.memory_stats()["system_bytes"] - before + of_numpy


def kept_bytes(keep: Callable[[nn.Module], object], steps: int) -> int:
    """What the values hold that each of some training steps kept."""
    model = nn.Sequential(nn.Linear(256, 256), nn.Linear(256, 256))
    x = tt.ones(512, 256)
    kept = []

    def held() -> int:
        gc.collect()
        stats = tt.memory_stats()
        return sum(stats[f"{pool}_bytes"] for pool in ("data", "meta")) + stats["step_capacity"]

    for step in range(steps + 2):
        if step == 2:  # gradients and arenas are there
            kept.clear()
            before = held()
        model(x).sum().backward()
        kept.append(keep(model))
        model.zero_grad(set_to_none=False)
    return held() - before


KEPT: dict[str, Callable[[Any], object]] = {
    "bias.norm()": lambda m: m[0].bias.norm(),
    "bias.clone()": lambda m: m[0].bias.clone(),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1000, help="at 1x (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=200, help="calls (default: %(default)s)")
    args = parser.parse_args()
    head = " | ".join(f"{f}x, us | KiB" for f in FACTORS)
    print(f"| {args.rows} rows of {WIDTH} at 1x | {head} |")
    print("|---|" + "---:|" * (2 * len(FACTORS)))
    for name, make in CASES.items():
        found = [measure(make(args.rows * f), args.repeats) for f in FACTORS]
        print(f"| {name} | " + " | ".join(f"{us:.1f} | {b / 1024:.0f}" for us, b in found) + " |")
    print()
    print("| a step keeps | " + " | ".join(f"KiB a step, {n} steps" for n in STEPS) + " |")
    print("|---|" + "---:|" * len(STEPS))
    for name, keep in KEPT.items():
        sizes = [kept_bytes(keep, n) / n / 1024 for n in STEPS[:1]]
        for n in STEPS[1:]:
            if sizes[-1] * n > 1 << 20:  # a GiB is enough to see it
                break
            sizes.append(kept_bytes(keep, n) / n / 1024)
        print(f"| {name} | " + " | ".join(f"{size:.1f}" for size in sizes) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
