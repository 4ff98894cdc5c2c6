"""What a training step of a nested model costs, with each surprise loss and each optimiser.

    python benchmarks/nested_step.py [--rounds 3] [--steps 20] [--threads 1] [--json FILE]

Every configuration is a process of its own that trains on a text without order (a step costs the
same on any text); they take turns, round by round. A time is the least and the median of all steps
of all rounds but the first five of each; memory is what the process held at the end, the most of
all rounds. Evaluations are not in it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WARM_UP = 5
EVERY_STEP = {"model": "nested-state", "chunk_sizes": "1,1,1"}
SURPRISED = {"model": "nested-surprise", "chunk_sizes": "1,1,1", "surprise_weights": "0.3,0.1"}
# The first is what the others are compared with.
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "no surprise": EVERY_STEP,
    "detached": SURPRISED,
    "detached, exact": {**SURPRISED, "exact": True},
    "second_order": {**SURPRISED, "surprise": "second_order"},
    "teach": {**SURPRISED, "surprise": "teach"},
    "Muon": {**EVERY_STEP, "optimizer": "muon"},
    "1, 4, 16": {**EVERY_STEP, "chunk_sizes": "1,4,16"},
    "the original": {"model": "nested-original"},
}


def measure(settings: dict[str, Any], steps: int) -> dict[str, Any]:
    """Train in this process, and return the seconds of each step and the resident bytes."""
    import tinytape as tt
    from tinytape.training import RunFolder, TrainConfig, resolve
    from tinytape.training.environment import resident_mb
    from tinytape.training.session import build_session
    from tinytape.training.step import train_step

    exact = settings.pop("exact", False)
    tt.set_num_threads(settings["threads"])
    session = build_session(resolve(TrainConfig(iters=1000, **settings)))
    if exact:
        session.task.surprise.exact = True
    folder, seconds = RunFolder(Path(settings["data"]).parent), []
    for _ in range(WARM_UP + steps):
        begun = time.perf_counter()
        train_step(session, folder)
        seconds.append(time.perf_counter() - begun)
    return {"seconds": seconds[WARM_UP:], "resident_mb": resident_mb()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="(default: 3)")
    parser.add_argument("--steps", type=int, default=20, metavar="N", help="(default: 20)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="(default: 1)")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="(default: 32)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all times")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(measure(json.loads(arguments.worker), arguments.steps)))
        return
    from tinytape.studies.runs import random_text

    found: dict[str, list[dict[str, Any]]] = {name: [] for name in CONFIGURATIONS}
    with tempfile.TemporaryDirectory() as scratch:
        text = Path(scratch) / "text.txt"
        text.write_text(random_text())
        shared = {"threads": arguments.threads, "batch_size": arguments.batch_size}
        for round in range(arguments.rounds):
            for name, settings in CONFIGURATIONS.items():
                print(f"round {round + 1} of {arguments.rounds}: {name}", file=sys.stderr)
                asked = json.dumps({**settings, **shared, "data": str(text)})
                command = [sys.executable, __file__, "--worker", asked]
                command += ["--steps", str(arguments.steps)]
                worker = subprocess.run(command, check=True, stdout=subprocess.PIPE)
                found[name].append(json.loads(worker.stdout))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    report(found)


def report(found: dict[str, list[dict[str, Any]]]) -> None:
    """Print the table."""
    least, median, memory = {}, {}, {}
    for name, rounds in found.items():
        seconds = [s for each in rounds for s in each["seconds"]]
        least[name], median[name] = min(seconds), statistics.median(seconds)
        memory[name] = max(each["resident_mb"] for each in rounds)
    print("| | least | median | over | memory | over |\n|---|---|---|---|---|---|")
    base = next(iter(found))
    for name in found:
        times = f"{least[name] / least[base]:.2f}" if name != base else ""
        sizes = f"{memory[name] / memory[base]:.2f}" if name != base else ""
        print(
            f"| {name} | {least[name] * 1e3:.0f} ms | {median[name] * 1e3:.0f} ms | {times} "
            f"| {memory[name]:.0f} MB | {sizes} |"
        )


if __name__ == "__main__":
    main()
