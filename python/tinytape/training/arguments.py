"""The command line of ``python -m tinytape.train``, made from the settings in ``config.py``."""

from __future__ import annotations

import argparse
import difflib
from typing import Any, NoReturn

from .._terminal import printable
from ..models import presets
from .config import SETTINGS, flag

# What people type when they come from other trainers.
_SYNONYMS = {
    "--batch": "--batch-size",
    "--corpus": "--data",
    "--dataset": "--data",
    "--accumulate": "--gradient-accumulation-steps",
    "--epochs": "--iters",
    "--grad-accum": "--gradient-accumulation-steps",
    "--grad-clip": "--clip",
    "--learning-rate": "--lr",
    "--max-iters": "--iters",
    "--optim": "--optimizer",
    "--output": "--out",
    "--preset": "--model",
    "--save-interval": "--checkpoint-interval",
    "--scheduler": "--schedule",
    "--steps": "--iters",
}

_EXAMPLES = """\
examples:
  python -m tinytape.train --model small --iters 10000
  python -m tinytape.train --model tiny --iters 300 --data my.txt --out runs/mine
  python -m tinytape.train --config my.toml --lr 1e-3       a flag beats the file
  python -m tinytape.train --resume runs/mine               go on where it stopped
  python -m tinytape.train --resume runs/mine/checkpoints/step-00001000 --out runs/branch

A TOML file holds the same names: model = "small", batch_size = 12, lr = 2e-3.
Ctrl-C finishes the step, saves and leaves; a second Ctrl-C leaves at once. So does SIGTERM, and so
does what a batch system sends ahead of the end (SIGUSR1, SIGUSR2, SIGXCPU): the run saves and ends
with exit code 128 + the signal's number, and --resume goes on with it.
"""


class CommandParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, and name what was probably meant."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **keywords
        )

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        values, rest = self.parse_known_args(args, namespace)
        if rest:
            # What follows an unknown option is probably its value.
            self.error(self._about_unknown(next((w for w in rest if w.startswith("-")), rest[0])))
        return values

    def error(self, message: str) -> NoReturn:
        self.exit(2, printable(f"error: {message} (see {self.prog} --help)") + "\n")

    def _about_unknown(self, word: str) -> str:
        name = word.split("=")[0]
        if not name.startswith("-"):
            return f"unexpected argument {word!r}"
        known = [
            s
            for action in self._actions
            for s in action.option_strings
            if len(s) > 2 and s != "--help"
        ]
        near = (
            [option for option in known if option.startswith(name)]
            or [option for option in known if option == _SYNONYMS.get(name)]
            or difflib.get_close_matches(name, known, n=2)
        )
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        return f"there is no option {name}{hint}"


def train_parser() -> CommandParser:
    """The parser of the training command.

    Settings that were not given are absent from the parsed namespace, so that a TOML file can
    stand between the defaults and the flags.
    """
    parser = CommandParser(
        prog="python -m tinytape.train",
        description="Train a small language model on a text, on the CPU.",
        epilog=f"presets: {', '.join(presets())}\n\n{_EXAMPLES}",
    )
    groups: dict[str, Any] = {}
    for name, option in SETTINGS.items():
        about = option.metadata
        group = about["group"]
        if group not in groups:
            groups[group] = parser.add_argument_group(group)
        groups[group].add_argument(
            flag(name),
            dest=name,
            type=about["kind"],
            metavar=about["metavar"],
            choices=about["choices"] or None,
            default=argparse.SUPPRESS,
            help=f"{about['help']} (default: {about['shown']})".replace("%", "%%"),
        )
    run = groups["run"]
    run.add_argument("--config", metavar="FILE", help="TOML file with settings")
    run.add_argument(
        "--resume",
        nargs="?",
        const=True,
        default=None,
        metavar="RUN",
        help="go on from the newest good checkpoint of RUN (default: of --out), or from that "
        "checkpoint if RUN is one; with --out, in another folder",
    )
    run.add_argument(
        "--allow-change",
        action="append",
        default=[],
        metavar="FIELD",
        help="let this setting differ on --resume although it changes the result (data: the text)",
    )
    run.add_argument(
        "--overwrite", action="store_true", help="start again in a folder that holds a run"
    )
    return parser
