"""Where a corpus is: a file or folder that was named, or a folder that is searched for the name.

Nothing is read here. A name is looked up in this order; the first hit wins:

1. a file or folder of that name (but the name of a known corpus means that corpus)
2. ``$TINYTAPE_DATA//``
3. ``data//`` in the working directory
4. ``../shared/data//`` beside it
5. the user's cache folder

A folder holds ``input.txt`` (or exactly one other ``*.txt``), or the text in parts: two of
``train.txt``, ``valid.txt`` and ``test.txt`` (or ``wiki.train.tokens`` and so on).

>>> from pathlib import Path
>>> from tinytape.data.locations import find
>>> Path("novel").mkdir()
>>> Path("novel/input.txt").write_text("Call me Ishmael.")
16
>>> find("./novel").name
'novel'
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .._paths import expanded, quoted
from .errors import DataError
from .public_corpora import FALLBACK_CORPUS, KNOWN_CORPORA, KnownCorpus
from .split_files import PARTS, split_files_in, what_is_read

# General file names; the text is then named after its folder.
_EVERYBODYS = ("train", "text", "data", "corpus", "all")

_TEXTS = (".txt", ".tokens")  # the suffixes of files that hold one


@dataclass(frozen=True)
class Place:
    """The files of a corpus: the whole text, or the part to train on and the one held out.

    ``notices`` are messages about the choice of them, for the user.
    """

    name: str
    files: tuple[Path, ...]
    known: KnownCorpus | None = None
    parts: tuple[str, ...] = ()  # of each file, where there are two
    notices: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """The file, or the folder of two."""
        return self.files[0].parent if self.parts else self.files[0]


def find(given: str) -> Place | None:
    """The place of a corpus, by name or path; None for a known one that is in no folder.

    Raises:
        DataError: nothing of that name, or several texts to choose from.
        ValueError: a path that the system does not take.
    """
    if given == FALLBACK_CORPUS:
        return None
    if given in KNOWN_CORPORA:
        return _searched(given, KNOWN_CORPORA[given])
    if _is_path(given):
        return _at(Path(expanded(given)))
    return _here_or_searched(given)


def name_of(data: str) -> str:
    """The name of the corpus that is given as ``data``, fit for names of files and folders."""
    path, name = Path(data), data
    try:
        if path.is_dir():
            name = path.resolve().name
        elif _is_path(data):
            name = _name_of(path)
    except (OSError, ValueError):  # no file can be called that
        pass
    return re.sub(r"[^\w.-]", "-", name) or "text"


def search_folders() -> list[Path]:
    """The folders that are searched for ``search_folders/``, in order.

    Raises:
        DataError: ``TINYTAPE_DATA`` is not a folder.
        ValueError: it is a path that the system does not take.
    """
    folders = [Path("data"), Path("..") / "shared" / "data", cache_folder()]
    chosen = os.environ.get("TINYTAPE_DATA")
    if chosen:
        folder = Path(expanded(chosen))
        if not folder.is_dir():
            raise DataError(f"TINYTAPE_DATA={chosen}: there is no such folder")
        folders.insert(0, folder)
    return folders


def cache_folder() -> Path:
    """The folder for downloaded corpora: the platform's cache folder for this user."""
    try:
        home = Path.home()
    except RuntimeError:  # a user without one, as in some containers
        home = Path(tempfile.gettempdir())
    if sys.platform == "darwin":
        base = home / "Library" / "Caches"
    elif os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "tinytape" / "data"


def _is_path(given: str) -> bool:
    separators = [os.sep] + ([os.altsep] if os.altsep else [])
    return (
        any(s in given for s in separators)
        or given.startswith("~")
        or given.endswith(".txt")
        or given in (os.curdir, os.pardir)
        or Path(given).is_file()
    )


def _at(path: Path) -> Place:
    """The corpus that is a file, or lies in a folder."""
    if not path.is_dir():
        return Place(_name_of(path), (path,))
    place = _in_folder(path, path.resolve().name)
    if place is None:
        raise DataError(_empty_folder(str(path)))
    return place


def _searched(name: str, known: KnownCorpus | None) -> Place | None:
    places = (_in_folder(root / name, name, known) for root in search_folders())
    return next((place for place in places if place), None)


def _here_or_searched(given: str) -> Place | None:
    """The folder of that name in the working directory, else one of the folders searched."""
    here, problem = Path(given), None
    try:
        own = _in_folder(here, given) if here.is_dir() else None
    except DataError as error:
        own, problem = None, error
    try:
        other = _searched(given, None)
    except DataError:
        if own is None:
            raise
        other = None
    if own is None and other is None:
        raise problem or DataError(_empty_folder(given) if here.is_dir() else _unknown_name(given))
    if own is None or other is None or own.path.samefile(other.path):
        return own or other
    said = f"{given}: the one in this folder; another one is --data {quoted(other.path)}"
    return dataclasses.replace(own, notices=(said, *own.notices))


def _in_folder(folder: Path, name: str, known: KnownCorpus | None = None) -> Place | None:
    """The corpus that a folder holds, or None when the folder is absent or does not hold it."""
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    files = [p for p in entries if p.is_file() and not p.name.startswith(".")]
    texts = [p for p in files if p.suffix.lower() == ".txt"]
    whole = folder / "input.txt"
    if whole in texts and not (known and known.in_parts):
        return _place(name, {"": whole}, known, files)
    parts = split_files_in(folder, known=known is not None) if not known or known.in_parts else {}
    if len(parts) > 1:
        return _place(name, dict(list(parts.items())[:2]), known, files, parts)
    if (known and known.in_parts) or not texts:
        return None
    if len(texts) > 1:
        raise DataError(
            f"{folder} holds {len(texts)} texts and no input.txt; choose one: "
            + " or ".join(f"--data {quoted(t)}" for t in texts)
        )
    return _place(name, {"": texts[0]}, known, files)


def _place(
    name: str,
    taken: dict[str, Path],
    known: KnownCorpus | None,
    there: list[Path],
    parts: dict[str, Path] | None = None,
) -> Place:
    """These files, with a notice of the parts that are read and of texts that are not."""
    said = []
    if parts is not None:
        absent = next((part for part in list(PARTS)[:2] if part not in parts), None)
        first, second = (path.name for path in taken.values())
        notice = what_is_read(name, first, second, absent)
        if known and absent:
            notice += f"; it is at {known.url(f'{absent}.txt')}"
        said.append(notice)
    mentioned = {*taken.values(), *(parts or {}).values()}
    texts = [path for path in there if path.suffix.lower() in _TEXTS]
    unread = [path.name for path in texts if path not in mentioned]
    if unread and not known:
        files = " and ".join(path.name for path in taken.values())
        said.append(f"{name}: {files} of {len(texts)} texts; not read: {', '.join(unread)}")
    chosen = tuple(taken) if parts is not None else ()
    return Place(name, tuple(taken.values()), known, chosen, ("; ".join(said),) if said else ())


def _name_of(path: Path) -> str:
    """The corpus's name for a file: its own, or its folder's where the file has a general name."""
    folder = path.resolve().parent.name
    if path.stem == "input" and folder:
        return folder
    return f"{folder}-{path.stem}" if path.stem in _EVERYBODYS and folder else path.stem


def _empty_folder(given: str) -> str:
    parts = ", ".join(f"{part}.txt" for part in PARTS)
    return (
        f"--data {quoted(given)}: the folder holds no input.txt, no other *.txt, and no two of "
        f"{parts}"
    )


def _unknown_name(given: str) -> str:
    known = {*KNOWN_CORPORA, FALLBACK_CORPUS}
    for root in search_folders():
        known |= {p.name for p in root.iterdir() if p.is_dir()} if root.is_dir() else set()
    here = {p.name for p in Path().iterdir() if p.is_dir() or p.suffix == ".txt"}
    near = difflib.get_close_matches(given, sorted(known | here), n=1)
    hint = f"; did you mean {quoted(near[0])}?" if near else "."
    return (
        f"no corpus, file or folder named {quoted(given)}{hint} Known here: "
        f"{', '.join(sorted(known))}. Looked for {given}/input.txt in {listed(search_folders())}"
    )


def listed(folders: list[Path]) -> str:
    """The folders, as a message names them."""
    return ", ".join(str(f) for f in folders)
