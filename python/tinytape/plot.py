"""``python -m tinytape.plot RUN``: draw a run's loss curve as ``RUN/curve.png``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .training.arguments import CommandParser, path
from .training.command import run_command, say
from .training.curve import draw_curve


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandParser(
        prog="python -m tinytape.plot",
        description="Draw a run's losses to RUN/curve.png. Needs: pip install 'tinytape[plot]'",
    )
    parser.add_argument("run", metavar="RUN", type=path, help="run folder")
    arguments = parser.parse_args(argv)

    def body() -> int:
        say(str(draw_curve(arguments.run)))
        return 0

    return run_command(body)


if __name__ == "__main__":
    sys.exit(main())
