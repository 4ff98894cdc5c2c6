"""``python -m tinytape.generate RUN``: let a trained model write."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from . import sampling
from .models import register_files
from .settings import check_all, setting
from .training.arguments import CommandParser, add_settings, path
from .training.command import run_command, text_writer
from .training.load import load_run

_TEXT = "text"  # the group of all settings here


@dataclass(frozen=True)
class TextConfig:
    """Settings of a text that is written."""

    prompt: str | None = setting(
        None,
        str,
        _TEXT,
        "what to go on from",
        shown="a new line; where the model knows none, the first of its characters",
    )
    tokens: int = setting(500, int, _TEXT, "characters", low=0)
    temperature: float = setting(
        0.8, float, _TEXT, "below 1 is safer, above 1 wilder, 0 always the likeliest", low=0.0
    )
    top_k: int | None = setting(
        None, int, _TEXT, "choose among the K likeliest only", metavar="K", low=1, shown="all"
    )
    seed: int = setting(0, int, _TEXT, "same seed, same text", low=0, high=2**64 - 1)
    threads: int | None = setting(
        None,
        int,
        _TEXT,
        "threads; the text does not depend on it",
        low=1,
        shown="TINYTAPE_NUM_THREADS, or the CPUs at hand",
    )

    def __post_init__(self) -> None:
        check_all(self)


_SETTINGS = {option.name: option for option in dataclasses.fields(TextConfig)}


def parser() -> CommandParser:
    parser = CommandParser(
        prog="python -m tinytape.generate",
        description="Write text with a trained model.",
        epilog="On a terminal, characters that would command it are shown as escapes; a file or\n"
        "a pipe gets them as they are.\n\n"
        "example:\n  python -m tinytape.generate runs/small-shakespeare --prompt 'ROMEO:'",
    )
    add = parser.add_argument
    add("run", metavar="RUN", type=path, help="run folder, or one checkpoint folder in it")
    add(
        "--best",
        action="store_true",
        help="the weights of the lowest held-out loss (default: the last ones)",
    )
    add_settings(parser, _SETTINGS, filled_in=True)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    def body() -> int:
        register_files()
        arguments = parser().parse_args(argv)
        write = text_writer()
        wanted = TextConfig(**{name: getattr(arguments, name) for name in _SETTINGS})
        model, tokenizer = load_run(arguments.run, best=arguments.best, threads=wanted.threads)
        prompt = wanted.prompt or sampling.default_prompt(tokenizer.characters)
        ids = sampling.generate(
            model,
            tokenizer.encode(prompt),
            wanted.tokens,
            temperature=wanted.temperature,
            top_k=wanted.top_k,
            seed=wanted.seed,
        )
        write(prompt)
        for token in ids:
            write(tokenizer.decode([token]))
        write("\n")
        return 0

    return run_command(body)


if __name__ == "__main__":
    sys.exit(main())
