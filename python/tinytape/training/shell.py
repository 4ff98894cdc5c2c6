"""Commands for the user to paste into a shell: quoted, and named as this process was called.

>>> from pathlib import Path
>>> from tinytape.training.shell import command_line
>>> command_line("train", "--resume", Path("my run")).split("train ")[1]
"--resume 'my run'"
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from .._paths import quoted

_SCRIPT = "tinytape-"  # and the module: the console scripts of pyproject.toml


def command_line(module: str, *arguments: str | int | os.PathLike[str]) -> str:
    """A command of tinytape, such as ``python -m tinytape.train --resume 'my run'``.

    Paths are given as ``Path``, so that one with a dash in front is not taken for an option.
    """
    script = Path(sys.argv[0])
    if script.name.startswith(_SCRIPT):
        launcher = [_shortest(script.with_name(_SCRIPT + module))]
    else:
        launcher = [_shortest(_interpreter()), "-m", f"tinytape.{module}"]
    return " ".join(map(quoted, [*launcher, *arguments]))


def program(module: str) -> str:
    """The name of a command for its help, without a path."""
    if Path(sys.argv[0]).name.startswith(_SCRIPT):
        return _SCRIPT + module
    return f"python -m tinytape.{module}"


def _interpreter() -> Path:
    """The Python of this process, under the name ``python`` where it has that one too."""
    own = Path(sys.executable or "python")
    usual = own.with_name("python")
    return usual if usual.exists() and own.exists() and usual.samefile(own) else own


def _shortest(path: Path) -> str:
    """The name alone where PATH leads to this very file, else how to reach it from here."""
    found = shutil.which(path.name)
    try:
        if found and os.path.abspath(found) == os.path.abspath(path):
            return path.name
        near = os.path.relpath(path)
    except OSError:  # the working directory is gone: it was a checkpoint, and is rotated away
        return str(path)
    if near.startswith(os.pardir):
        return str(path)
    return near if os.sep in near else os.path.join(os.curdir, near)
