"""A corpus in split files: the training text and the held-out text are files of their own.

Of training, validation and test text, the first that exists is trained on and the next one is
held out; a third is not read.

>>> from pathlib import Path
>>> from tinytape.data.split_files import split_files_in
>>> for name in ("train.txt", "valid.txt"):
...     size = Path(name).write_text("a text")
>>> list(split_files_in(Path()))
['train', 'valid']
"""

from __future__ import annotations

from pathlib import Path

from .errors import DataError

PARTS = {"train": "training", "valid": "validation", "test": "test"}
_NAMES = {"train": ("train",), "valid": ("valid", "val", "validation", "dev"), "test": ("test",)}


def split_files_in(folder: Path, *, known: bool = False) -> dict[str, Path]:
    """The files of the parts in a folder, in order: ``train.txt`` or ``wiki.train.tokens``.

    ``val.txt``, ``validation.txt`` and ``dev.txt`` are names of ``valid.txt``.

    Raises:
        DataError: two files for one part. Of a ``known`` corpus, whose files are compared with
            what they must be, the first is taken.
    """
    found = {}
    for part, names in _NAMES.items():
        files = [f for name in names for f in (f"wiki.{name}.tokens", f"{name}.txt")]
        there = [folder / file for file in files if (folder / file).is_file()]
        if len(there) > 1 and not known:
            raise DataError(
                f"{folder} holds {' and '.join(p.name for p in there)}, both of them {PARTS[part]} "
                f"texts; keep one"
            )
        if there:
            found[part] = there[0]
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
