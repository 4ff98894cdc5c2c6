"""What the coverage run found: tools/coverage_summary.py CORE.json KERNELS.json LIBRARY.json

CORE is gcovr's summary of the C core and the binding, KERNELS that of the loops of the operations,
LIBRARY coverage.py's of the package. Below each figure stand the files that lack most.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

LISTED = 15  # files that are named

File = tuple[str, int, int]  # name, branches that were taken, branches that there are


def of_core(summary: dict[str, Any]) -> list[File]:
    return [(f["filename"], f["branch_covered"], f["branch_total"]) for f in summary["files"]]


def of_library(report: dict[str, Any]) -> list[File]:
    totals = ((name, file["summary"]) for name, file in report["files"].items())
    return [
        (name[name.rfind("tinytape/") :], t["covered_branches"], t["num_branches"])
        for name, t in totals
    ]


def show(what: str, files: list[File]) -> None:
    taken, there = (sum(f[k] for f in files) for k in (1, 2))
    print(f"{what}: {100 * taken / max(1, there):.1f} % of branches ({taken:,} of {there:,})")
    for name, covered, total in sorted(files, key=lambda f: f[1] - f[2])[:LISTED]:
        if covered < total:
            print(f"  {total - covered:4d} of {total:4d} not taken in {name}")


def main() -> None:
    core, kernels, library = (json.loads(Path(name).read_text("utf-8")) for name in sys.argv[1:4])
    show("C core and binding", of_core(core))
    # A line of theirs counts once for each type and layout that it is compiled for.
    show("kernels", of_core(kernels))
    show("library", of_library(library))


if __name__ == "__main__":
    main()
