"""Corpora: find a text by name or file, check what it is, and say where it came from.

A name is looked up in this order; the first hit wins:

1. ``$TINYTAPE_DATA/NAME/``
2. ``data/NAME/`` in the working directory
3. ``../shared/data/NAME/`` beside it
4. the user's cache folder
5. the corpus's usual public address (known corpora only), kept in the cache folder
6. for the default corpus alone: a text that every Python carries, with a loud notice

Each folder holds ``input.txt`` (or exactly one other ``*.txt``), or the text in parts: two of
``train.txt``, ``valid.txt`` and ``test.txt`` (or ``wiki.train.tokens`` and so on). A known corpus
is checked against its SHA-256 wherever it is found, so two runs that name the same corpus and find
the same files of it read the same bytes.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .._files import read_file, replace_file
from .errors import DataError
from .known import DEFAULT_CORPUS, FALLBACK_CORPUS, KNOWN_CORPORA, KnownCorpus, KnownFile
from .parts import PARTS, parts_in, what_is_read

DOWNLOAD_TIMEOUT = 10.0  # seconds without an answer before the network counts as absent
DOWNLOAD_DEADLINE = 60.0  # seconds for each MiB of a text


@dataclass(frozen=True)
class Corpus:
    """A text with its provenance.

    ``sha256`` is of the UTF-8 bytes of ``text``, which is both parts of a text in parts. ``path``
    is None for a text that was not read from a file, and the folder of a text in parts. ``notice``
    is None, or words that the user must see before anything else. ``cut`` is the number of
    characters to train on, the rest being held out; None where nobody says. ``parts`` are the names
    of the two files of a text in parts.
    """

    name: str
    path: Path | None
    text: str
    sha256: str
    notice: str | None = None
    cut: int | None = None
    parts: tuple[str, ...] = ()


def load_corpus(name_or_file: str | os.PathLike[str] = DEFAULT_CORPUS) -> Corpus:
    """Return the corpus of that name, or the text of that file.

    A known name always means the corpus; write ``./shakespeare`` for a file called that way.

    Raises:
        DataError: nothing of that name, several texts to choose from, an empty text, text that is
            not UTF-8, or a known corpus whose SHA-256 is not the expected one.
    """
    given = os.fspath(name_or_file)
    try:
        return _find(given)
    except DataError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL or a lone surrogate in the name
        why = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read corpus {given!r}: {why}") from error


def _find(given: str) -> Corpus:
    known = KNOWN_CORPORA.get(given)
    if known is None and _looks_like_a_file(given):
        path = Path(os.path.expanduser(given))
        if not path.is_dir():
            return _read(path, name=_name_of(path))
        found = _in_folder(path, path.resolve().name)
        if found is None:
            raise DataError(
                f"--data {given}: the folder holds no input.txt, no other *.txt, and no two of "
                f"{_named_parts()}"
            )
        return found

    if given == FALLBACK_CORPUS:
        return _python_reference()
    for root in search_folders():
        found = _in_folder(root / given, given, known)
        if found is not None:
            return found

    if known is None:
        raise DataError(_unknown_name(given))
    try:
        return _download(known)
    except OSError as error:  # URLError and timeouts are OSErrors
        if given == DEFAULT_CORPUS:
            return _fallback(known, error)
        raise DataError(f"{_not_found(known, error)}; {_by_hand(known)}") from error


def search_folders() -> list[Path]:
    """The folders that are searched for ``NAME/``, in order."""
    folders = [Path("data"), Path("..") / "shared" / "data", cache_folder()]
    chosen = os.environ.get("TINYTAPE_DATA")
    if chosen:
        if not Path(chosen).is_dir():
            raise DataError(f"TINYTAPE_DATA={chosen}: there is no such folder")
        folders.insert(0, Path(chosen))
    return folders


def cache_folder() -> Path:
    """Where downloaded corpora are kept: the platform's cache folder for this user."""
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


def require_length(corpus: Corpus, needed: int, why: str) -> None:
    """Raise DataError unless the corpus has at least ``needed`` characters."""
    if len(corpus.text) < needed:
        raise DataError(
            f"{_where(corpus.path, corpus.name)}: {len(corpus.text)} characters are too few; "
            f"at least {needed} are needed ({why})"
        )


def _looks_like_a_file(given: str) -> bool:
    separators = [os.sep] + ([os.altsep] if os.altsep else [])
    return (
        any(s in given for s in separators)
        or given.startswith("~")
        or given.endswith(".txt")
        or given in (os.curdir, os.pardir)
        or Path(given).is_file()
    )


def _in_folder(folder: Path, name: str, known: KnownCorpus | None = None) -> Corpus | None:
    """The corpus that a folder holds, or None when the folder is absent or does not hold it."""
    may_be_in_parts = known.in_parts if known else not (folder / "input.txt").is_file()
    parts = parts_in(folder) if may_be_in_parts else {}
    if len(parts) > 1:
        return _read_parts(parts, name, known)
    text = None if known and known.in_parts else _text_in(folder)
    return None if text is None else _read(text, name, known.files["input.txt"] if known else None)


def _text_in(folder: Path) -> Path | None:
    """The text of a corpus folder, or None when the folder is absent or holds no text."""
    preferred = folder / "input.txt"
    if preferred.is_file():
        return preferred
    texts = sorted(folder.glob("*.txt")) if folder.is_dir() else []
    if len(texts) > 1:
        raise DataError(
            f"{folder} holds {len(texts)} texts and no input.txt; choose one: "
            + " or ".join(f"--data {t}" for t in texts)
        )
    return texts[0] if texts else None


def _name_of(path: Path) -> str:
    """The corpus's name for a file: its own, or its folder's where the file is ``input.txt``."""
    return path.resolve().parent.name if path.stem == "input" else path.stem


def _read(path: Path, name: str, known: KnownFile | None = None) -> Corpus:
    try:
        data = read_file(path)
    except OSError as error:
        raise DataError(f"cannot read corpus {path}: {error.strerror or error}") from error
    return _check(data, name, path, known)


def _read_parts(parts: dict[str, Path], name: str, known: KnownCorpus | None) -> Corpus:
    """The first two parts: one to train on, one that is held out."""
    first, second = list(parts)[:2]
    texts = [
        _read(parts[part], name, known.files[f"{part}.txt"] if known else None)
        for part in (first, second)
    ]
    absent = next((part for part in list(PARTS)[:2] if part not in parts), None)
    files = (parts[first].name, parts[second].name)
    notice = what_is_read(name, *files, absent)
    if known and absent:
        notice += f"; it is at {known.url(f'{absent}.txt')}"
    return _joined(texts, files, parts[first].parent, notice)


def _joined(
    texts: list[Corpus], parts: tuple[str, ...], folder: Path | None, notice: str
) -> Corpus:
    train, held_out = texts
    text = train.text + held_out.text
    digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
    return Corpus(train.name, folder, text, digest, notice, cut=len(train.text), parts=parts)


def _check(
    data: bytes, name: str, path: Path | None, known: KnownFile | None, where: str | None = None
) -> Corpus:
    """The corpus of these bytes; ``where`` they are from is for messages."""
    where = where or _where(path, name)
    if not data:
        raise DataError(f"{where}: the file is empty; expected UTF-8 text")
    digest = hashlib.sha256(data).hexdigest()
    if known is not None and digest != known.sha256:
        raise DataError(
            f"{where}: this is not the corpus {name!r}: {len(data)} bytes with SHA-256 {digest}, "
            f"expected {known.bytes} bytes with SHA-256 {known.sha256}; remove or replace the "
            f"file, or name your own text by its path"
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where}: not UTF-8 text (byte 0x{data[error.start]:02x} at offset {error.start}); "
            f"convert it, for example with: iconv -f LATIN1 -t UTF-8"
        ) from error
    return Corpus(name=name, path=path, text=text, sha256=digest)


def _download(known: KnownCorpus) -> Corpus:
    """Fetch what a run reads, check all of it, and only then keep it."""
    fetched = {
        file: b"".join(_fetch(known.url(file), limit=known.files[file].bytes))
        for file in known.wanted
    }
    texts = [
        _check(data, known.name, None, known.files[file], where=known.url(file))
        for file, data in fetched.items()
    ]
    folder = cache_folder() / known.name
    path: Path | None = folder if known.in_parts else folder / known.wanted[0]
    notice = f"downloaded from {known.url(known.wanted[0])} to {path}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, data in fetched.items():
            replace_file(folder / file, data)
    except OSError as error:  # a read-only home is no reason not to train
        path, notice = None, f"not kept in the cache: {error}"
    if not known.in_parts:
        return dataclasses.replace(texts[0], path=path, notice=notice)
    train, held_out = known.wanted
    taken = what_is_read(known.name, train, held_out, None)
    return _joined(texts, (train, held_out), path, f"{taken} ({notice})")


def _fetch(url: str, limit: int) -> Iterator[bytes]:
    """Yield the bytes at ``url``, never more than one block beyond ``limit``.

    Raises:
        OSError: not all of them came.
    """
    import urllib.request  # here, because it loads TLS: megabytes that most runs never need
    from http.client import HTTPException

    seconds = DOWNLOAD_DEADLINE * max(1, limit >> 20)
    end = time.monotonic() + seconds
    try:
        with urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT) as answer:
            received = 0
            while received <= limit and (block := answer.read(1 << 16)):
                if time.monotonic() > end:
                    raise TimeoutError(f"no complete answer in {seconds:.0f} s")
                received += len(block)
                yield block
            if received <= limit and answer.length:  # what was announced and did not come
                raise OSError(f"the answer broke off after {received:,} bytes")
    except HTTPException as error:  # what is no HTTP, or breaks off where that can be seen
        raise OSError(f"no proper answer: {error!r}") from error


def _python_reference() -> Corpus:
    """The language reference that ``help()`` prints: half a million characters of English."""
    try:
        from pydoc_data import topics
    except ImportError as error:
        raise DataError(f"corpus {FALLBACK_CORPUS!r}: this Python has no pydoc_data") from error
    text = "\n\n".join(topics.topics[key].strip("\n") for key in sorted(topics.topics)) + "\n"
    return _check(text.encode("utf-8"), FALLBACK_CORPUS, None, None)


def _fallback(known: KnownCorpus, error: OSError) -> Corpus:
    """The text that every Python carries, with a notice that it is not the one asked for."""
    try:
        corpus = _python_reference()
    except DataError as missing:
        raise DataError(
            f"{_not_found(known, error)}, and there is nothing to fall back on ({missing}); "
            f"{_by_hand(known)}"
        ) from error
    lines = (
        f"THIS IS NOT {known.name.upper()}.",
        "The corpus is in none of the folders searched, and its address does not answer:",
        f"  {error}",
        f"Training goes on with Python's own language reference ({len(corpus.text):,} characters).",
        "Losses and samples are not comparable with those of the corpus you asked for.",
        f"For a run on it, {_by_hand(known)} and start again; it is at",
        f"  {known.url('input.txt')}",
    )
    bar = "!" * 88
    notice = "\n".join([bar, *(f"!!  {line}" for line in lines), bar])
    return dataclasses.replace(corpus, notice=notice)


def _not_found(known: KnownCorpus, error: OSError) -> str:
    return (
        f"corpus {known.name!r} is in none of {_listed(search_folders())}, and "
        f"{known.url(known.wanted[0])} does not answer ({error})"
    )


def _by_hand(known: KnownCorpus) -> str:
    places = " and ".join(f"data/{known.name}/{file}" for file in known.wanted)
    return f"put the text at {places}"


def _named_parts() -> str:
    return ", ".join(f"{part}.txt" for part in PARTS)


def _unknown_name(given: str) -> str:
    here = sorted(
        {p.name for root in search_folders() if root.is_dir() for p in root.iterdir() if p.is_dir()}
        | set(KNOWN_CORPORA)
        | {FALLBACK_CORPUS}
    )
    near = difflib.get_close_matches(given, here, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return (
        f"no corpus or file named {given!r}{hint} Known here: {', '.join(here)}. "
        f"Looked for {given}/input.txt in {_listed(search_folders())}"
    )


def _where(path: Path | None, name: str) -> str:
    return str(path) if path is not None else f"corpus {name!r}"


def _listed(folders: list[Path]) -> str:
    return ", ".join(str(f) for f in folders)
