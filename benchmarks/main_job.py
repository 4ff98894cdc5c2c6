"""Runs the main job as a user would and measures it: held-out loss, time, peak memory, flatness.

    python benchmarks/main_job.py [--out RUN] [further arguments of tinytape.train]

Prints one JSON object. Peak memory is the kernel's own figure for the finished process.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

import tinytape as tt


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="runs/benchmark", help="run folder (default: %(default)s)")
    parser.add_argument(
        "--iters", type=int, default=10000, help="iterations (default: %(default)s)"
    )
    args, rest = parser.parse_known_args()
    command = [
        sys.executable,
        "-m",
        "tinytape.train",
        "--model",
        "small",
        "--iters",
        str(args.iters),
    ]
    command += ["--eval-interval", "200", "--out", args.out, *rest]
    began = time.perf_counter()
    status = subprocess.run(command, check=False).returncode
    elapsed = time.perf_counter() - began
    if status:
        return status
    peak_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # on Linux
    run = Path(args.out)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    early = next(row for row in rows if row["step"] >= 200)
    late = rows[-1]
    losses = [row["val_loss"] for row in rows]
    flat = ("arena_bytes", "system_bytes", "system_allocations")
    print(
        json.dumps(
            {
                "command": " ".join(["python", *command[1:]]),
                "machine": f"{platform.machine()}, {os.cpu_count()} cores",
                "config": tt.get_config(),
                "held_out_loss": losses[-1],
                "best_held_out_loss": min(losses),
                "seconds": round(elapsed, 1),
                "peak_mb": round(peak_kib * 1024 / 1e6, 1),
                "flat": {name: [early[name], late[name]] for name in flat},
                "steps_compared": [early["step"], late["step"]],
                "model_sha256": hashlib.sha256(
                    (run / "model.safetensors").read_bytes()
                ).hexdigest(),
            },
            indent=2,
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
