"""``python -m tinytape.checkpoint verify|list|show RUN``: the checkpoints of a run."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from .models import register_files
from .training.arguments import CommandParser, path
from .training.checkpoint_text import list_lines, show_lines, verify_lines
from .training.command import complain, run_command, say
from .training.verify import choose, describe, listed, verify

_EPILOG = """\
  verify   every checkpoint, the final weights, config and tokenizer: good, or what is wrong.
           Exit code 1 when something is damaged, or when there is nothing
  list     step, size, time, held-out loss; which is the latest and which the best
  show     settings, environment, counters, position in the data, generators and all arrays

examples:
  python -m tinytape.checkpoint verify runs/small-shakespeare
  python -m tinytape.checkpoint show runs/small-shakespeare/checkpoints/step-00005000 --json
"""


def parser() -> CommandParser:
    parser = CommandParser(
        prog="python -m tinytape.checkpoint",
        description="Look at the checkpoints of a run. Nothing is changed.",
        epilog=_EPILOG,
    )
    add = parser.add_argument
    add("action", choices=("verify", "list", "show"), help="what to do, see below")
    add(
        "run", metavar="RUN", type=path, help="run folder, or one checkpoint folder (step-00005000)"
    )
    add("--json", action="store_true", help="write JSON, for programs")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    def body() -> int:
        register_files()
        arguments = parser().parse_args(argv)
        if arguments.action == "show":
            checkpoint, problems = choose(arguments.run)
            for problem in problems:
                complain(f"skipped a checkpoint: {problem}")
            about = describe(checkpoint)
            _write(about, arguments.json, show_lines(about))
            return 0
        found = list(verify(arguments.run))
        good = bool(found) and all(entry.problem is None for entry in found)
        if arguments.action == "verify":
            record = {"good": good, "saved": [entry.to_dict() for entry in found]}
            _write(record, arguments.json, verify_lines(found))
            return 0 if good else 1
        rows = listed(found)
        _write({"checkpoints": rows}, arguments.json, list_lines(rows))
        return 0

    return run_command(body)


def _write(record: dict[str, Any], as_json: bool, lines: list[str]) -> None:
    # JSON escapes all but ASCII, in which DEL is the one control character that it lets pass.
    text = json.dumps(record, indent=2).replace("\x7f", "\\u007f")
    for line in text.split("\n") if as_json else lines:
        say(line)


if __name__ == "__main__":
    sys.exit(main())
