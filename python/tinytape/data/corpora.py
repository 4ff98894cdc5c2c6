"""Corpora: find a text by name or file, check what it is, and say where it came from.

A name is looked up in this order; the first hit wins:

1. ``$TINYTAPE_DATA/NAME/``
2. ``data/NAME/`` in the working directory
3. ``../shared/data/NAME/`` beside it
4. the user's cache folder
5. the corpus's usual public address (known corpora only), kept in the cache folder
6. for the default corpus alone: a text that every Python carries, with a loud notice

Each folder holds ``input.txt`` (or exactly one other ``*.txt``). A known corpus is checked against
its SHA-256 wherever it is found, so two runs that name the same corpus read the same bytes.
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

DEFAULT_CORPUS = "shakespeare"
FALLBACK_CORPUS = "python-reference"
DOWNLOAD_TIMEOUT = 10.0  # seconds without an answer before the network counts as absent
DOWNLOAD_DEADLINE = 60.0  # seconds for the whole text


@dataclass(frozen=True)
class KnownCorpus:
    """What is known about a public corpus; ``data/NAME/manifest.json`` holds the same facts."""

    name: str
    url: str
    bytes: int
    characters: int  # distinct characters, which is the vocabulary of the character tokenizer
    sha256: str


KNOWN_CORPORA = {
    "shakespeare": KnownCorpus(
        name="shakespeare",
        url="https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        bytes=1_115_394,
        characters=65,
        sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    ),
}


@dataclass(frozen=True)
class Corpus:
    """A text with its provenance.

    ``sha256`` is of the UTF-8 bytes. ``path`` is None for a text that was not read from a file.
    ``notice`` is None, or words that the user must see before anything else.
    """

    name: str
    path: Path | None
    text: str
    sha256: str
    notice: str | None = None


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
    if given not in KNOWN_CORPORA and _looks_like_a_file(given):
        path = Path(os.path.expanduser(given))
        if path.is_dir():
            found = _text_in(path)
            if found is None:
                raise DataError(f"--data {given}: the folder holds no input.txt and no other *.txt")
            return _read(found, name=path.resolve().name)
        return _read(path, name=_name_of(path))

    if given == FALLBACK_CORPUS:
        return _python_reference()
    for root in search_folders():
        text = _text_in(root / given)
        if text is not None:
            return _read(text, given, KNOWN_CORPORA.get(given))

    known = KNOWN_CORPORA.get(given)
    if known is None:
        raise DataError(_unknown_name(given))
    try:
        return _download(known)
    except OSError as error:  # URLError and timeouts are OSErrors
        if given == DEFAULT_CORPUS:
            return _fallback(known, error)
        raise DataError(
            f"corpus {given!r} is in none of {_listed(search_folders())}, and {known.url} does not "
            f"answer ({error}); put the text at data/{given}/input.txt"
        ) from error


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
        or Path(given).is_file()
    )


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


def _read(path: Path, name: str, known: KnownCorpus | None = None) -> Corpus:
    try:
        data = read_file(path)
    except OSError as error:
        raise DataError(f"cannot read corpus {path}: {error.strerror or error}") from error
    return _check(data, name, path, known)


def _check(data: bytes, name: str, path: Path | None, known: KnownCorpus | None) -> Corpus:
    where = _where(path, name)
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
    data = b"".join(_fetch(known.url, limit=known.bytes))
    corpus = _check(data, known.name, None, known)
    path = cache_folder() / known.name / "input.txt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, data)
    except OSError as error:  # a read-only home is no reason not to train
        return Corpus(
            corpus.name, None, corpus.text, corpus.sha256, f"not kept in the cache: {error}"
        )
    return Corpus(
        corpus.name, path, corpus.text, corpus.sha256, f"downloaded from {known.url} to {path}"
    )


def _fetch(url: str, limit: int) -> Iterator[bytes]:
    """Yield the bytes at ``url``, never more than one block beyond ``limit``."""
    import urllib.request  # here, because it loads TLS: megabytes that most runs never need

    end = time.monotonic() + DOWNLOAD_DEADLINE
    with urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT) as answer:
        received = 0
        while received <= limit and (block := answer.read(1 << 16)):
            if time.monotonic() > end:
                raise TimeoutError(f"no complete answer in {DOWNLOAD_DEADLINE:.0f} s")
            received += len(block)
            yield block


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
            f"corpus {known.name!r} is in none of {_listed(search_folders())}, {known.url} does "
            f"not answer ({error}), and there is nothing to fall back on ({missing}); "
            f"put the text at data/{known.name}/input.txt"
        ) from error
    lines = (
        f"THIS IS NOT {known.name.upper()}.",
        "The corpus is in none of the folders searched, and its address does not answer:",
        f"  {error}",
        f"Training goes on with Python's own language reference ({len(corpus.text):,} characters).",
        "Losses and samples are not comparable with those of the corpus you asked for.",
        f"For a run on it, put the text at data/{known.name}/input.txt and start again; it is at",
        f"  {known.url}",
    )
    bar = "!" * 88
    notice = "\n".join([bar, *(f"!!  {line}" for line in lines), bar])
    return dataclasses.replace(corpus, notice=notice)


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
