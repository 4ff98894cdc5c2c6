"""``python -m tinytape.train``: train a model on a text, or resume a run."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .models import register_files
from .training.arguments import train_parser
from .training.command import run_command
from .training.config import SETTINGS, TrainConfig, read_toml
from .training.defaults import resolve
from .training.loop import resume, train
from .training.run_folder import RunFolder, run_of


def main(argv: Sequence[str] | None = None) -> int:
    def body() -> int:
        register_files()
        arguments = train_parser().parse_args(argv)
        asked = read_toml(arguments.config) if arguments.config else {}
        asked |= {name: value for name, value in vars(arguments).items() if name in SETTINGS}
        if arguments.resume is None:
            return train(TrainConfig(**asked), overwrite=arguments.overwrite).exit_code
        changes = [name.replace("-", "_") for name in arguments.allow_change]
        if arguments.resume is True:
            run, checkpoint = asked.pop("out", None) or resolve(TrainConfig(**asked)).out, None
        else:
            run, checkpoint = run_of(arguments.resume)
        return resume(
            RunFolder(run),
            asked,
            checkpoint=checkpoint,
            allow_change=changes,
            overwrite=arguments.overwrite,
        ).exit_code

    return run_command(body)


if __name__ == "__main__":
    sys.exit(main())
