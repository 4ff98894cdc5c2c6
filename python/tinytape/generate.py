"""``python -m tinytape.generate RUN``: let a trained model write."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from . import sampling
from .training.arguments import CommandParser
from .training.command import run_command, text_writer
from .training.load import load_run


def parser() -> CommandParser:
    parser = CommandParser(
        prog="python -m tinytape.generate",
        description="Write text with a trained model.",
        epilog="On a terminal, characters that would command it are shown as escapes; a file or\n"
        "a pipe gets them as they are.\n\n"
        "example:\n  python -m tinytape.generate runs/small-shakespeare --prompt 'ROMEO:'",
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="run folder, or one checkpoint folder in it")
    add("--best", action="store_true",
        help="the weights of the lowest held-out loss (default: the last ones)")  # fmt: skip
    add("--prompt", default="\n", metavar="TEXT", help="what to go on from (default: a new line)")
    add("--tokens", type=int, default=500, metavar="N", help="characters (default: 500)")
    add("--temperature", type=float, default=0.8, metavar="X",
        help="below 1 is safer, above 1 wilder, 0 always the likeliest (default: 0.8)")  # fmt: skip
    add("--top-k", type=int, default=None, metavar="K",
        help="choose among the K likeliest only (default: all)")  # fmt: skip
    add("--seed", type=int, default=0, metavar="N", help="same seed, same text (default: 0)")
    add("--threads", type=int, default=None, metavar="N", help="threads (default: as in training)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    command = parser()
    arguments = command.parse_args(argv)
    if arguments.tokens < 0:
        command.error(f"argument --tokens: expected 0 or more, got {arguments.tokens}")
    if not 0 <= arguments.temperature < float("inf"):
        command.error(f"argument --temperature: expected 0 or more, got {arguments.temperature}")
    if arguments.top_k is not None and arguments.top_k < 1:
        command.error(f"argument --top-k: expected 1 or more, got {arguments.top_k}")
    if arguments.seed < 0:
        command.error(f"argument --seed: expected 0 or more, got {arguments.seed}")
    if arguments.threads is not None and arguments.threads < 1:
        command.error(f"argument --threads: expected 1 or more, got {arguments.threads}")
    if not arguments.prompt:
        command.error("argument --prompt: expected at least one character")

    def body() -> int:
        write = text_writer()
        model, tokenizer = load_run(arguments.run, best=arguments.best, threads=arguments.threads)
        ids = sampling.generate(
            model,
            tokenizer.encode(arguments.prompt),
            arguments.tokens,
            temperature=arguments.temperature,
            top_k=arguments.top_k,
            seed=arguments.seed,
        )
        write(arguments.prompt)
        for token in ids:
            write(tokenizer.decode([token]))
        write("\n")
        return 0

    return run_command(body)


if __name__ == "__main__":
    sys.exit(main())
