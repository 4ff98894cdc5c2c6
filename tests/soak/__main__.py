"""``python -m tests.soak [NAME ...]``: try the promises at full length and write the figures."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import tinytape as tt

from .promise import Outcome, Promise, promises

BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"


def machine() -> str:
    """The machine and versions in one line."""
    config = tt.get_config()
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            model = next(x.split(":")[1].strip() for x in file if x.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return (
        f"{model}, {config['threads']} threads, SIMD {config['simd']}, {platform.system()}, "
        f"Python {platform.python_version()}, tinytape {config['version']}"
    )


def try_promise(name: str, promise: Promise, count: int, seed: int) -> tuple[Outcome, float]:
    begun = time.perf_counter()
    outcome = promise.run(count, seed, lambda text: print(f"  {name}: {text}", flush=True))
    return outcome, time.perf_counter() - begun


def table(record: dict) -> str:
    """The figures as docs/reliability.md shows them."""
    lines = [
        "| promise | how it is tried | wanted | last figure | when | time |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in record["promises"].values():
        failed = len(row["failures"])
        figure = f"{row['tried'] - failed:,} of {row['tried']:,}"
        figure += "".join(f"; {k} {v}" for k, v in row["figures"].items())
        when = row["date"]
        if row.get("machine", record["machine"]) != record["machine"]:
            when += f", {row['machine']}"
        cells = [row["words"], row["how"], row["wanted"], figure, when]
        cells.append(f"{row['seconds']:.0f} s")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def replace_figures(document: Path, record: dict) -> None:
    """Put the table between the two marks of the document."""
    before, rest = document.read_text().split(BEGIN)
    after = rest.split(END)[1]
    head = f"{record['machine']}:\n\n"
    document.write_text(f"{before}{BEGIN}\n{head}{table(record)}{END}{after}")


def main() -> int:
    known = promises()
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: {', '.join(known)}")
    parser.add_argument("--quick", action="store_true", help="as briefly as the test suite does")
    parser.add_argument("--seed", type=int, default=1, help="of every random choice (default: 1)")
    parser.add_argument("--json", type=Path, help="where the figures go, added to what is there")
    parser.add_argument("--document", type=Path, help="the table is replaced in this file")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(known))
    if unknown:
        parser.error(f"there is no promise {unknown[0]!r}; known: {', '.join(known)}")

    record: dict = {"promises": {}}
    if arguments.json and arguments.json.is_file():
        record = json.loads(arguments.json.read_text())
    record.setdefault("machine", machine())  # a row of another one names it
    failed = False
    for name in arguments.names or known:
        promise = known[name]
        count = promise.quick if arguments.quick else promise.full
        print(f"{name}: {promise.words} ({count:,} tries)", flush=True)
        outcome, seconds = try_promise(name, promise, count, arguments.seed)
        failed = failed or bool(outcome.failures)
        print(f"{name}: {len(outcome.failures)} of {outcome.tried:,} failed, {seconds:.0f} s")
        for failure in outcome.failures[:10]:
            print(f"  {failure}")
        record["promises"][name] = {
            "words": promise.words,
            "how": promise.how,
            "wanted": promise.wanted,
            "tried": outcome.tried,
            "failures": outcome.failures,
            "figures": outcome.figures,
            "seconds": round(seconds, 1),
            "seed": arguments.seed,
            "machine": machine(),
            "date": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
        }
        if arguments.json:
            arguments.json.write_text(json.dumps(record, indent=2) + "\n")
        if arguments.document:
            replace_figures(arguments.document, record)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
