"""tinytape, PyTorch and JAX doing the same work, and the floor that the machine sets.

    python benchmarks/compare.py [--only small-b12,lstm] [--threads 1,2] [--json compare.json]

Each engine runs in a process of its own and they take turns, A B C D A B C D, so that noise hits
all alike. Peers come from the extra [bench]; those that are absent are skipped with a word. A full
run takes about half an hour; --quick shows in a few minutes that everything works.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from comparison import cases, growth, machine, measure, report
from comparison.measure import Run

ENGINES = ("tinytape", *cases.PEERS)


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"expected numbers like 1,2 of at least 1, got {text!r}")
    return sorted(set(numbers))


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _engines(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in ENGINES:
            raise argparse.ArgumentTypeError(f"no engine {name!r}; there are {', '.join(ENGINES)}")
    return [name for name in ENGINES if name in names]


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.0 < number < 1e6:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", metavar="NAMES", help="cases or groups, by comma: small-b12,lstm,ops; see --list")
    add(
        "--engines",
        type=_engines,
        default=list(ENGINES),
        metavar="NAMES",
        help=f"by comma; default: {','.join(ENGINES)}",
    )
    add("--threads", type=_numbers, default=None, metavar="N,N", help="default: 1,2")
    add("--rounds", type=_count, metavar="N", help="turns of each engine; default: 5")
    add(
        "--seconds",
        type=_positive,
        default=None,
        metavar="S",
        help="of each turn; default: 1.0, single operations 0.3 of it",
    )
    add("--data", metavar="FILE", help="a text; default: Python's language reference")
    add("--json", metavar="PATH", type=Path, help="where every sample goes")
    add("--markdown", metavar="PATH", help="the tables for benchmarks/README.md; - is stdout")
    add(
        "--quick", action="store_true", help="one short turn each, fewer points: a test, no figures"
    )
    add("--list", action="store_true", help="name the cases and stop")
    return parser


def _list() -> None:
    for case in cases.TIMED:
        print(f"{case.name:<26} {case.group}")
    print(f"{'memory':<26} peak resident memory of small-b12")
    print(f"{'growth':<26} time and memory against context and layers")


def _tokens(name: str | None) -> tuple[np.ndarray, dict[str, Any]]:
    from tinytape import data

    corpus = data.load_corpus(name or "python-reference")
    ids = data.CharTokenizer.from_text(corpus.text).encode(corpus.text, np.dtype(np.uint16))
    return ids, {"name": corpus.name, "characters": len(ids), "sha256": corpus.sha256}


def main(argv: list[str] | None = None) -> int:
    parser = _parser()
    args = parser.parse_args(argv)
    if args.list:
        _list()
        return 0
    try:
        chosen, extra = cases.select(args.only.split(",") if args.only else None)
    except ValueError as error:
        parser.error(str(error))
    threads = args.threads or [n for n in (1, 2) if n <= machine.cpu_count()]
    if max(threads) > machine.cpu_count():
        parser.error(f"--threads {max(threads)}: there are {machine.cpu_count()} CPUs")
    if args.json and not args.json.parent.is_dir():
        parser.error(f"--json {args.json}: there is no folder {args.json.parent}")
    try:
        ids, corpus = _tokens(args.data)
    except ValueError as error:
        parser.error(str(error))
    if len(ids) < cases.SHORTEST_TEXT:
        parser.error(f"--data: expected {cases.SHORTEST_TEXT} characters, got {len(ids)}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ids.npy"
        np.save(path, ids)
        run = Run(
            engines=args.engines,
            threads=threads,
            rounds=args.rounds or (1 if args.quick else 5),
            seconds=args.seconds or (0.05 if args.quick else 1.0),
            ids=path,
            quick=args.quick,
        )
        result: dict[str, Any] = {
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "command": shlex.join(["python", *sys.argv]),
            "machine": machine.describe(),
            "corpus": corpus,
            "engines": args.engines,
            "threads": threads,
            "rounds": run.rounds,
            "seconds": run.seconds,
            "quick": args.quick,
        }
        result |= {"works": [], "memory": [], "growth": []}
        interrupted = False
        try:
            if chosen:
                measure.time_cases(run, chosen, result["works"])
            if "memory" in extra:
                growth.peak_memory(run, result["memory"])
            if "growth" in extra:
                growth.growth(run, result["growth"])
        except KeyboardInterrupt:
            interrupted = True
            run.say("interrupted: this is what there was by then")
        result.update(versions=run.versions, skipped=run.skipped, notes=run.notes)
    print(report.text(result))
    if args.markdown == "-":
        print(report.markdown(result))
    elif args.markdown:
        Path(args.markdown).write_text(report.markdown(result))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    return 130 if interrupted else 0


if __name__ == "__main__":
    sys.exit(main())
