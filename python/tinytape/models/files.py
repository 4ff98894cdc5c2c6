"""Models in files of the user: the files that ``TINYTAPE_MODELS`` names are imported.

>>> import os
>>> from pathlib import Path
>>> from tinytape.models.files import register_files
>>> size = Path("example_model.py").write_text("print('registered')")
>>> os.environ["TINYTAPE_MODELS"] = "example_model.py"
>>> register_files()
registered
>>> register_files()  # once is enough
>>> del os.environ["TINYTAPE_MODELS"]
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from ..errors import ArgumentError, ConfigError

VARIABLE = "TINYTAPE_MODELS"
_done: set[Path] = set()


def register_files() -> None:
    """Import the files in ``TINYTAPE_MODELS``, paths with ``os.pathsep`` between them, once.

    Each has to call ``models.register``. Its own exceptions pass unchanged.

    Raises:
        ConfigError: a file that is not there, or a model that cannot be registered.
    """
    for name in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        path = Path(name).resolve()
        if path in _done:
            continue
        if not path.is_file():
            raise ConfigError(f"{VARIABLE}: there is no file {name}")
        try:
            _import(path)
        except ArgumentError as error:
            raise ConfigError(f"{VARIABLE}: {name}: {error}") from error
        _done.add(path)


def _import(path: Path) -> None:
    found = importlib.util.spec_from_file_location(path.stem, path)
    if found is None or found.loader is None:
        raise ConfigError(f"{VARIABLE}: {path} is no Python file")
    module = importlib.util.module_from_spec(found)
    if path.stem in sys.modules:
        raise ConfigError(f"{VARIABLE}: {path}: there is a module of the name {path.stem} already")
    sys.modules[path.stem] = module  # as dataclasses and pickles want it
    try:
        found.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
