"""The command line of ``python -m tinytape.train``, made from the settings in ``config.py``.

>>> from tinytape.training.arguments import train_parser
>>> given = train_parser().parse_args(["--model", "tiny", "--iters", "10"])
>>> given.model, given.iters, hasattr(given, "lr")
('tiny', 10, False)
"""

from __future__ import annotations

import argparse
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import tinytape

from .. import models
from .._paths import expanded
from .._terminal import printable
from ..settings import Option, converted
from .config import SETTINGS, flag
from .shell import program
from .spellings import SYNONYMS, meant

_EXAMPLES = """\
examples:
  python -m tinytape.train --model small --iters 10000
  python -m tinytape.train --model tiny --iters 300 --data my.txt --out runs/mine
  python -m tinytape.train --config my.toml --lr 1e-3       a flag beats the file
  python -m tinytape.train --resume runs/mine               go on where it stopped
  python -m tinytape.train --resume runs/mine/checkpoints/step-00001000 --out runs/branch

A TOML file holds the same names: model = "small", batch_size = 12, lr = 2e-3. Paths in it are
relative to the working directory.
Other names of --data are a file or folder here, or a folder in $TINYTAPE_DATA, data/,
../shared/data/ or the user's cache folder.
Ctrl-C finishes the step, saves and leaves; a second Ctrl-C leaves at once. SIGTERM, and what a
batch system sends ahead of the end (SIGUSR1, SIGUSR2, SIGXCPU), save and end a run as well; the
exit code is then 128 + the signal's number, and --resume goes on.
"""


class CommandParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, with the name that was probably meant.

    Commands in its texts, ``python -m tinytape.train``, are named as this process was called.
    """

    def __init__(self, **keywords: Any) -> None:
        for text in ("prog", "description", "epilog"):
            if text in keywords:
                keywords[text] = re.sub(
                    r"python -m tinytape\.(\w+)", lambda found: program(found[1]), keywords[text]
                )
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **keywords
        )
        self.add_argument("--version", action="version", version=f"tinytape {tinytape.__version__}")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, but an unknown option ends the process with the name of a similar one."""
        values, rest = self.parse_known_args(args, namespace)
        if rest:
            # The word after an unknown option is probably its value.
            self.error(self._about_unknown(next((w for w in rest if w.startswith("-")), rest[0])))
        return values

    def error(self, message: str) -> NoReturn:
        """End the process with exit code 2 and one line on stderr."""
        self.exit(2, printable(f"error: {message} (see {self.prog} --help)") + "\n")

    def _about_unknown(self, word: str) -> str:
        name = word.split("=")[0]
        if not name.startswith("-"):
            return f"unexpected argument {word!r}"
        known = [
            s
            for action in self._actions
            if action.help != argparse.SUPPRESS
            for s in action.option_strings
            if s not in ("-h", "--help", "--version")
        ]
        hint = meant(name, known)
        return f"there is no option {name}" + (f"; {hint}" if hint else "")


def add_settings(
    parser: Any,
    options: Mapping[str, Option[Any]],
    *,
    filled_in: bool = False,
    defaults_are_these: bool = True,
) -> None:
    """Give a parser, or a group of one, the flags of these settings.

    Args:
        filled_in: whether the parsed namespace has the default of a flag that was not given;
            otherwise it has no such attribute.
        defaults_are_these: whether the help may name the defaults of the settings.
    """
    for name, option in options.items():
        about = option.metadata
        default = f" (default: {about['shown']})" if defaults_are_these else ""
        parser.add_argument(
            flag(name),
            dest=name,
            type=_type(functools.partial(converted, option)),
            metavar=about["metavar"] or f"{{{','.join(about['choices'])}}}",
            help=f"{about['help']}{default}".replace("%", "%%"),
            default=option.default if filled_in else argparse.SUPPRESS,
        )
        synonyms = [other for other, ours in SYNONYMS.items() if ours == name]
        for synonym in sorted({*map(flag, synonyms), *(f"--{other}" for other in synonyms)}):
            parser.add_argument(
                synonym,
                dest=name,
                type=_type(functools.partial(converted, option)),
                help=argparse.SUPPRESS,
                default=argparse.SUPPRESS,
            )


def _type(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """``convert`` for argparse, which drops the message of a ValueError."""

    def converted(text: str) -> Any:
        try:
            return convert(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return converted


#: The type of an argument that is a path: ``~`` is a home folder wherever a shell left it.
path = _type(expanded)


def _presets() -> str:
    """Each preset with its sizes, a line each."""
    lines = ["presets, with the sizes that flags may change:"]
    for spec in models.specs():
        for name, options in spec.presets.items():
            sizes = ", ".join(f"{size} {options[size]}" for size in spec.sizes() if size in options)
            lines.append(f"  {name:17} {sizes}")
    return "\n".join(lines)


def train_parser() -> CommandParser:
    """The parser of the training command.

    Settings that were not given are absent from the parsed namespace, so that a TOML file can
    stand between the defaults and the flags.
    """
    parser = CommandParser(
        prog="python -m tinytape.train",
        description="Train a small language model on a text, on the CPU.",
        epilog=f"{_presets()}\n\n{_EXAMPLES}",
    )
    groups: dict[str, Any] = {}
    for name, option in SETTINGS.items():
        group = option.metadata["group"]
        if group not in groups:
            groups[group] = parser.add_argument_group(group)
        add_settings(groups[group], {name: option})
    run = groups["run"]
    run.add_argument(
        "--config", type=path, metavar="FILE", help="TOML file with settings; flags beat it"
    )
    run.add_argument(
        "--resume",
        nargs="?",
        const=True,
        default=None,
        type=path,
        metavar="RUN",
        help="go on from the newest good checkpoint of RUN (default: of --out), or from that "
        "checkpoint if RUN is one; with --out, in another folder",
    )
    run.add_argument(
        "--allow-change",
        action="append",
        default=[],
        metavar="FIELD",
        help="let this setting differ on --resume although it changes the result, such as lr; "
        "data: go on with another text. May be given several times",
    )
    run.add_argument(
        "--overwrite", action="store_true", help="start again in a folder that holds a run"
    )
    return parser
