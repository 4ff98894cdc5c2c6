"""Paths as users write them, and quoting of words for a shell."""

from __future__ import annotations

import os
import re
import reprlib
import shlex


def expanded(path: str) -> str:
    """The path with ``~`` and ``~user`` replaced by home folders, as a shell does it.

    Raises:
        ValueError: there is no such home folder, or no path can have this text.
    """
    if "\0" in path:
        raise ValueError(f"expected a path, got one with a NUL: {reprlib.repr(path)}")
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise ValueError(f"no file can have the name {reprlib.repr(path)}") from None
    found = os.path.expanduser(path)
    if found.startswith("~"):
        home = re.split(r"[/\\]", path)[0]
        raise ValueError(
            f"there is no home folder {reprlib.repr(home)}; a file or folder of that name is "
            f"{quoted('./' + home)}"
        )
    return found


def quoted(word: str | int | os.PathLike[str]) -> str:
    """One word of a command, quoted for bash and similar shells.

    Give a path as a ``Path``: if it begins with a dash, ``./`` is put before it, so that it is not
    taken for an option. Characters that are not printable are escaped, so they neither break the
    line nor reach the terminal.
    """
    text = os.fspath(word) if isinstance(word, os.PathLike) else str(word)
    if isinstance(word, os.PathLike) and text.startswith("-"):
        text = os.path.join(os.curdir, text)
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(map(_spelled, text)) + "'"


def _spelled(character: str) -> str:
    if character.isprintable() and character not in "'\\":
        return character
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))
