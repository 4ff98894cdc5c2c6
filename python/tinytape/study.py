"""``python -m tinytape.study NAME``: one question, several configurations, several seeds."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ._files import replace_file
from ._pictures import require_matplotlib
from .studies import STUDIES, markdown, run_study, summary
from .studies.drawing import draw
from .studies.folder import StudyFolder
from .studies.report import in_parts, text_of
from .studies.runs import BATCH_SIZE, StudyError, processor
from .training.arguments import CommandParser, add_settings, path
from .training.command import complain, run_command, say
from .training.config import SETTINGS
from .training.environment import environment
from .training.signals import StopSignals

_SETTINGS = ("iters", "batch_size", "context", "eval_interval", "lr", "threads")
_QUICK = {"iters": 6, "batch_size": 4, "context": 16, "eval_interval": 3}


def parser() -> CommandParser:
    about = "\n".join(f"  {name:11} {study.question}" for name, study in STUDIES.items())
    parser = CommandParser(
        prog="python -m tinytape.study",
        description="Train several configurations with several seeds and compare them.",
        epilog=f"studies:\n{about}\n\n500 steps (long: 2,500) of {BATCH_SIZE} windows unless told, "
        "ten held-out losses.\nStarted again, a study goes on where it was stopped, by Ctrl-C or "
        "however.\nWhat its runs say is in FOLDER/runs/*.log.\n\n"
        "example:\n  python -m tinytape.study persistent --data warpeace.txt --seeds 3",
    )
    parser.add_argument("name", choices=list(STUDIES), metavar="NAME", help="see below")
    parser.add_argument(
        "--data",
        default="shakespeare",
        type=path,
        metavar="NAME|PATH",
        help="as for tinytape.train (default: shakespeare)",
    )
    parser.add_argument(
        "--seeds", type=int, default=3, metavar="N", help="runs of each configuration (default: 3)"
    )
    parser.add_argument(
        "--out",
        default=None,
        type=path,
        metavar="FOLDER",
        help="where runs and results go (default: studies/NAME)",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a few small steps and two seeds: shows that it works, no figures",
    )
    shared = {name: SETTINGS[name] for name in _SETTINGS}
    add_settings(parser, shared, defaults_are_these=False)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    command = parser()
    arguments = command.parse_args(argv)
    if arguments.seeds < 1:
        command.error(f"argument --seeds: expected 1 or more, got {arguments.seeds}")

    def body() -> int:
        out = Path(arguments.out or Path("studies") / arguments.name)
        folder = StudyFolder(out, arguments.name)
        require_matplotlib()  # not after hours of training
        try:
            with StopSignals() as stop, folder.held():
                _study(arguments, folder, stop)
                if stop.requested:
                    with contextlib.suppress(OSError):  # the terminal may be gone
                        say(f"stopped by {stop.requested}; the same command goes on with the study")
            return stop.exit_code
        except StudyError as error:
            complain(f"error: {error}")
            return 1

    return run_command(body)


def _study(arguments: Any, folder: StudyFolder, stop: StopSignals) -> None:
    study = STUDIES[arguments.name]
    given = {name: value for name, value in vars(arguments).items() if name in _SETTINGS}
    settings: dict[str, Any] = {"iters": study.iters}
    settings |= _QUICK if arguments.quick else {}
    settings |= given
    settings.setdefault("eval_interval", max(1, settings["iters"] // 10))
    settings.setdefault("checkpoint_interval", settings["iters"])
    seeds = min(2, arguments.seeds) if arguments.quick else arguments.seeds
    question = f"{study.question} {settings['iters']:,} steps, {seeds} seeds"
    finished = []
    for done in run_study(
        study, folder.path, data=arguments.data, seeds=seeds, settings=settings, say=say, stop=stop
    ):
        finished.append(done)
        rows, corpus = summary(study, finished), text_of(finished)
        title = f"{question}{in_parts(corpus)}"
        record = {
            "study": arguments.name,
            "question": study.question,
            "date": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
            "machine": processor(),
            "environment": environment(),
            "data": Path(arguments.data).name,
            "corpus": corpus,
            "settings": settings,
            "rows": rows,
        }
        replace_file(folder.results, (json.dumps(record, indent=2) + "\n").encode())
        replace_file(folder.table, markdown(title, study, rows).encode())
    if stop.requested:
        return
    draw(folder.picture, title, study, finished)
    say()
    for line in markdown(title, study, rows).splitlines():
        say(line)
    say()
    say(f"{folder.results}, {folder.table}, {folder.picture}")


if __name__ == "__main__":
    sys.exit(main())
