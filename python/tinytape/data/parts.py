"""A corpus in parts: the text to train on and the text that is held out are files of their own.

Of training, validation and test text, the first that is there is trained on and the next one is
held out; a third is not read.
"""

from __future__ import annotations

from pathlib import Path

PARTS = {"train": "training", "valid": "validation", "test": "test"}


def parts_in(folder: Path) -> dict[str, Path]:
    """The files of the parts in a folder, in order: ``train.txt`` or ``wiki.train.tokens``."""
    found = {}
    for part in PARTS:
        for name in (f"wiki.{part}.tokens", f"{part}.txt"):
            if (folder / name).is_file():
                found[part] = folder / name
    return found


def what_is_read(name: str, train: str, held_out: str, absent: str | None) -> str:
    """One line: which parts are taken, and why these.

    Args:
        name: the corpus's.
        train: the name of the file to train on.
        held_out: that of the other.
        absent: the part that would come before one of them, if there is one.
    """
    taken = f"{name}: training on {train}, {held_out} is held out"
    if absent is None:
        return f"{taken}; the test text is not read"
    return f"{taken}, because its {PARTS[absent]} text is not at hand"
