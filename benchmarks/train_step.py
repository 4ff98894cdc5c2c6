"""The time of one whole training step: batch, forward, backward, clip, AdamW, zero_grad.

    python benchmarks/train_step.py [--model small] [--batch-size 12] [--threads N] [--steps N]

Compare builds in pairs on one machine, and quote minima and ratios.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import tinytape as tt
from tinytape import models, nn, optim
from tinytape.nn import functional as F

VOCABULARY = 65


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="small", help="preset (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=12, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=tt.get_num_threads(), help="default: all")
    parser.add_argument("--steps", type=int, default=100, help="default: %(default)s")
    args = parser.parse_args()
    tt.set_num_threads(args.threads)
    model = models.create(args.model, VOCABULARY)
    optimizer = optim.AdamW(model.parameters(), lr=1e-3)
    shape = (args.batch_size, model.config.context)
    count = shape[0] * shape[1]
    times = []
    for step in range(args.steps + 5):
        began = time.perf_counter()
        text = tt.random.philox_u64(1, 0, 2 * step * count, 2 * count) % VOCABULARY
        x, y = text.astype("int64").reshape(2, *shape)
        logits = model(tt.tensor(x))
        loss = F.cross_entropy(logits.reshape(-1, VOCABULARY), tt.tensor(y).reshape(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        times.append(1e3 * (time.perf_counter() - began))
    times = times[5:]
    tokens = count / min(times) * 1e3
    print(
        f"{args.model}, batch {args.batch_size} x {shape[1]}, {args.threads} threads: "
        f"min {min(times):.2f} ms, median {statistics.median(times):.2f} ms, "
        f"{tokens:,.0f} tokens/s at best"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
