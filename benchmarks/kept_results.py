"""What a result costs that is kept from each step, against the size of the step.

    python benchmarks/kept_results.py [--steps 200]

A network is trained while a list keeps one result of each step that its backward does not reach:
a norm, a copy, a penalty over all weights. A row shows the bytes of one step's arena, those that
the list grows by in a step, and those of the result itself. The second and third should not follow
the first, but for what the graph of the result needs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import tinytape as tt
from tinytape import nn, optim
from tinytape.nn import functional as F

WIDTH = 256
KEPT: dict[str, Callable[[nn.Module], tt.Tensor]] = {
    "m[0].bias.norm()": lambda m: m[0].bias.norm(),
    "m[0].bias.clone()": lambda m: m[0].bias.clone(),
    "m[0].weight.mean()": lambda m: m[0].weight.mean(),
    "sum((p * p).sum())": lambda m: sum((p * p).sum() for p in m.parameters()),
}


def measure(what: Callable[[nn.Module], tt.Tensor], rows: int, steps: int) -> tuple[int, int, int]:
    """The step's bytes, the growth of a step, the bytes of a result."""
    tt.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, WIDTH), nn.GELU(), nn.Linear(WIDTH, 10))
    optimizer = optim.SGD(model.parameters(), lr=0.01)
    x, y = tt.randn(rows, 64), tt.tensor([i % 10 for i in range(rows)])
    kept: list[tt.Tensor] = []
    sizes = []
    for step in range(steps + 10):
        loss = F.cross_entropy(model(x), y)
        kept.append(what(model))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step in (9, steps + 9):
            stats = tt.memory_stats()
            sizes.append(stats["step_used"] + stats["kept_used"])
    size = 4 * kept[0].numel()
    return tt.memory_stats()["step_high_water"], (sizes[1] - sizes[0]) // steps, size


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200, help="default: %(default)s")
    steps = parser.parse_args().steps
    print(f"{'kept from each step':<22}{'step, bytes':>14}{'growth a step':>16}{'result':>10}")
    for name, what in KEPT.items():
        for rows in (256, 1024, 4096):
            step, growth, size = measure(what, rows, steps)
            print(f"{name:<22}{step:>14,}{growth:>16,}{size:>10,}")
            tt.empty_cache()
    return 0


if __name__ == "__main__":
    sys.exit(main())
