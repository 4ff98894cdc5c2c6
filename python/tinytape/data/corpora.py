"""Corpora: a text by name or file, checked against its SHA-256, and where it came from.

``locations.py`` has the order in which a name is looked up. A known corpus that is not found is
fetched from its public address into the cache folder. Without a network, only the default corpus is
replaced, with a loud notice, by a text that every Python has. A known corpus is checked against its
SHA-256 wherever it is found, so two runs that name the same corpus and find the same files of it
read the same bytes.

>>> corpus = tt.data.load_corpus("python-reference")
>>> corpus.name, len(corpus.text) > 100_000, corpus.cut
('python-reference', True, None)
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._files import read_file, replace_file
from . import locations
from .download import fetch
from .encodings import as_text
from .errors import DataError
from .locations import Place, listed, search_folders
from .public_corpora import DEFAULT_CORPUS, FALLBACK_CORPUS, KNOWN_CORPORA, KnownCorpus, KnownFile
from .split_files import what_is_read


@dataclass(frozen=True)
class Corpus:
    """A text with its provenance.

    ``sha256`` is of the UTF-8 bytes of ``text``, which is both parts of a text in parts. ``path``
    is None for a text that was not read from a file, and the folder of a text in parts. ``notice``
    is None, or a message that the user must see before anything else. ``cut`` is the number of
    characters to train on, the rest being held out; None where nothing says so. ``parts`` are the
    names of the two files of a text in parts.
    """

    name: str
    path: Path | None
    text: str
    sha256: str
    notice: str | None = None
    cut: int | None = None
    parts: tuple[str, ...] = ()


def load_corpus(
    name_or_file: str | os.PathLike[str] = DEFAULT_CORPUS, *, sha256: str | None = None
) -> Corpus:
    """Return the corpus of that name, or the text of that file or folder.

    A known name always means the corpus; write ``./shakespeare`` for a file called that way. A text
    is read as Python reads one: without a byte-order mark, and with new lines for CR LF and CR.

    Args:
        sha256: of the text that is expected. Where it is that of the file as it lies there, the
            file is read so, mark and line ends included: earlier versions did that.

    Raises:
        DataError: nothing of that name, several texts to choose from, an empty text, text that is
            not UTF-8, or a known corpus whose SHA-256 is not the expected one.
    """
    given = os.fspath(name_or_file)
    try:
        corpus = _found(given, sha256)
    except DataError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        why = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read corpus {given!r}: {why}") from error
    if _is_known(given) and Path(given).exists():
        said = f"{given}: the corpus of that name; what lies here is --data ./{given}"
        corpus = dataclasses.replace(corpus, notice="\n".join(filter(None, (said, corpus.notice))))
    return corpus


def load_again(data: str, record: Mapping[str, Any]) -> Corpus:
    """The corpus of a run that is resumed.

    A relative path was given in the working directory of then. What lies there is looked at first,
    then what is found under the same name from here: the project may have been moved.

    Args:
        data: as it was given.
        record: the run's record of it, from :func:`provenance`.

    Raises:
        DataError: in neither place.
    """
    path, sha256 = record.get("path"), record.get("sha256")
    ways = [data] if _is_known(data) else [path, data]
    other, problem = None, None
    for way in dict.fromkeys(w for w in ways if w):
        try:
            corpus = load_corpus(way, sha256=sha256)
        except DataError as error:
            problem = problem or error
            continue
        if corpus.sha256 == sha256:
            return corpus
        other = other or corpus
    if other is None:
        raise DataError(f"{problem}; where the text of this run is now, say with --data")
    return other


def provenance(corpus: Corpus) -> dict[str, Any]:
    """The record that a run keeps of its text. Its path is absolute."""
    return {
        "name": corpus.name,
        "path": None if corpus.path is None else os.path.abspath(corpus.path),
        **identity(corpus),
        **({"parts": list(corpus.parts)} if corpus.parts else {}),
        "characters": len(corpus.text),
    }


def identity(corpus: Corpus) -> dict[str, Any]:
    """What distinguishes the text from others: its SHA-256, and its cut if it has one."""
    cut = {} if corpus.cut is None else {"cut": corpus.cut}
    return {"sha256": corpus.sha256, **cut}


def require_length(corpus: Corpus, needed: int, why: str) -> None:
    """Check that the corpus has at least ``needed`` characters; ``why`` is for the message.

    Raises:
        DataError: when it has fewer.
    """
    if len(corpus.text) < needed:
        raise DataError(
            f"{_where(corpus.path, corpus.name)}: {len(corpus.text)} characters are too few; "
            f"at least {needed} are needed ({why})"
        )


def _is_known(given: str) -> bool:
    return given in KNOWN_CORPORA or given == FALLBACK_CORPUS


def _found(given: str, sha256: str | None) -> Corpus:
    place = locations.find(given)
    if place is None:
        return _python_reference() if given == FALLBACK_CORPUS else _fetched(KNOWN_CORPORA[given])
    try:
        corpus = _read(place)
    except DataError:
        if sha256 is None or (untouched := _untouched(place, sha256)) is None:
            raise
        return untouched
    if sha256 not in (None, corpus.sha256):
        return _untouched(place, sha256) or corpus
    return corpus


def _read(place: Place) -> Corpus:
    """The text of a place, checked."""
    texts, notices = [], list(place.notices)
    for path, known in _files(place):
        text, changes = _text(_bytes(path), place.name, path, known)
        texts.append(text)
        if changes:
            notices.append(f"{path.name}: {'; '.join(changes)}")
    return _corpus(place, texts, notices)


def _untouched(place: Place, sha256: str | None) -> Corpus | None:
    """The text as earlier versions read it, or None where it is not the one with that SHA-256."""
    try:
        texts = [_bytes(path).decode("utf-8") for path in place.files]
    except UnicodeDecodeError:
        return None
    kept = "byte-order marks and line ends are read as they are, as when the run began"
    corpus = _corpus(place, texts, [*place.notices, f"{place.name}: {kept}"])
    return corpus if corpus.sha256 == sha256 else None


def _files(place: Place) -> list[tuple[Path, KnownFile | None]]:
    if place.known is None:
        return [(path, None) for path in place.files]
    names = [f"{part}.txt" for part in place.parts] or ["input.txt"]
    return [(p, place.known.files[n]) for p, n in zip(place.files, names, strict=True)]


def _corpus(place: Place, texts: list[str], notices: list[str]) -> Corpus:
    text = "".join(texts)
    return Corpus(
        name=place.name,
        path=place.path,
        text=text,
        sha256=hashlib.sha256(text.encode("utf-8")).hexdigest(),
        notice="\n".join(notices) or None,
        cut=len(texts[0]) if len(texts) > 1 else None,
        parts=tuple(path.name for path in place.files) if place.parts else (),
    )


def _bytes(path: Path) -> bytes:
    try:
        return read_file(path)
    except OSError as error:
        raise DataError(f"cannot read corpus {path}: {error.strerror or error}") from error


def _text(
    data: bytes, name: str, path: Path | None, known: KnownFile | None, where: str | None = None
) -> tuple[str, list[str]]:
    """The text of these bytes and the changes made to it; ``where`` they are from is for messages.

    The bytes of a known corpus are taken as they are, whatever line ends they have.
    """
    where = where or _where(path, name)
    if known is None:
        text, changes = as_text(data, path, where)
        if not text:
            raise DataError(f"{where}: the file is empty; expected UTF-8 text")
        return text, changes
    digest = hashlib.sha256(data).hexdigest()
    if digest != known.sha256:
        raise DataError(
            f"{where}: this is not the corpus {name!r}: {len(data)} bytes with SHA-256 {digest}, "
            f"expected {known.bytes} bytes with SHA-256 {known.sha256}; remove or replace the "
            f"file, or name your own text by its path"
        )
    return data.decode("utf-8"), []


def _fetched(known: KnownCorpus) -> Corpus:
    try:
        return _download(known)
    except OSError as error:  # URLError and timeouts are OSErrors
        if known.name == DEFAULT_CORPUS:
            return _fallback(known, error)
        raise DataError(f"{_not_found(known, error)}; {_by_hand(known)}") from error


def _download(known: KnownCorpus) -> Corpus:
    """Fetch the files that a run reads, check all of them, and only then keep them."""
    fetched = {
        file: b"".join(fetch(known.url(file), limit=known.files[file].bytes))
        for file in known.wanted
    }
    texts = [
        _text(data, known.name, None, known.files[file], where=known.url(file))[0]
        for file, data in fetched.items()
    ]
    folder = locations.cache_folder() / known.name
    files = tuple(folder / file for file in known.wanted)
    parts = tuple(Path(file).stem for file in known.wanted) if known.in_parts else ()
    place = Place(known.name, files, known, parts)
    kept, notice = True, f"downloaded from {known.url(known.wanted[0])} to {place.path}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, data in fetched.items():
            replace_file(folder / file, data)
    except OSError as error:  # a read-only home is no reason not to train
        kept, notice = False, f"not kept in the cache: {error}"
    if parts:
        notice = f"{what_is_read(known.name, known.wanted[0], known.wanted[1], None)} ({notice})"
    corpus = _corpus(place, texts, [notice])
    return corpus if kept else dataclasses.replace(corpus, path=None)


def _python_reference() -> Corpus:
    """The language reference that ``help()`` prints: half a million characters of English."""
    try:
        from pydoc_data import topics
    except ImportError as error:
        raise DataError(f"corpus {FALLBACK_CORPUS!r}: this Python has no pydoc_data") from error
    text = "\n\n".join(topics.topics[key].strip("\n") for key in sorted(topics.topics)) + "\n"
    digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
    return Corpus(FALLBACK_CORPUS, None, text, digest)


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
        f"corpus {known.name!r} is in none of {listed(search_folders())}, and "
        f"{known.url(known.wanted[0])} does not answer ({error})"
    )


def _by_hand(known: KnownCorpus) -> str:
    places = " and ".join(f"data/{known.name}/{file}" for file in known.wanted)
    return f"put the text at {places}"


def _where(path: Path | None, name: str) -> str:
    return str(path) if path is not None else f"corpus {name!r}"
