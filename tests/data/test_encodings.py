"""What is no UTF-8 text is named for what it is, and the command that is given makes a text."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import re
import shlex
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tinytape.data import DataError, load_corpus

TEXT = "First Citizen:\nBefore we proceed any further, hear me speak.\nGrüße, naïve café.\n"
SMART = (
    TEXT + "“Quoted” \u2014 with dashes…\n"
)  # Windows-1252 has them where ISO 8859-1 has nothing


def packed(name: str, data: bytes = TEXT.encode(), *, kind: str = "zip") -> bytes:
    file = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(name, data)
    else:
        with tarfile.open(fileobj=file, mode="w") as tar:
            about = tarfile.TarInfo(name)
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    return file.getvalue()


KINDS: dict[str, tuple[bytes, str, str]] = {
    "UTF-16": (TEXT.encode("utf-16"), "UTF-16, not UTF-8 text", TEXT),
    "UTF-16 big": (b"\xfe\xff" + TEXT.encode("utf-16-be"), "UTF-16, not UTF-8 text", TEXT),
    "UTF-16 unmarked": (TEXT.encode("utf-16-le"), "UTF-16LE, not UTF-8 text", TEXT),
    "UTF-16 big unmarked": (TEXT.encode("utf-16-be"), "UTF-16BE, not UTF-8 text", TEXT),
    "UTF-32": (TEXT.encode("utf-32"), "UTF-32, not UTF-8 text", TEXT),
    "UTF-32 unmarked": (TEXT.encode("utf-32-be"), "UTF-32BE, not UTF-8 text", TEXT),
    "Latin 1": (TEXT.encode("latin1"), "byte 0xfc at offset 63", TEXT),
    "Windows": (SMART.encode("cp1252"), "if it is Western European", SMART),
    "C1": ((TEXT + "\x81").encode("latin1"), "LATIN1", TEXT + "\x81"),
    "broken": (SMART.encode()[:-3] + b"\n", "leave out what is broken", SMART[:-2] + "\n"),
    "zeros": (TEXT.encode() + b"\0\0\n", "a zero byte at offset", TEXT + "\n"),
    "gzip": (gzip.compress(TEXT.encode()), "compressed with gzip", TEXT),
    "bzip2": (bz2.compress(TEXT.encode()), "compressed with bzip2", TEXT),
    "xz": (lzma.compress(TEXT.encode()), "compressed with xz", TEXT),
    "zip": (packed("book.txt"), "a zip archive", TEXT),
    "tar": (packed("book.txt", kind="tar"), "a tar archive", TEXT),
    "PDF": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", "a PDF, not a text", TEXT),
    "zstd": (b"\x28\xb5\x2f\xfd\x04\x00", "compressed with zstd", TEXT),
}

# Programs that a machine may lack do here what they do there.
PROGRAMS = {
    "bunzip2": "sys.stdout.buffer.write(bz2.open(sys.argv[2]).read())",
    "xz": "sys.stdout.buffer.write(lzma.open(sys.argv[2]).read())",
    "unzip": "archive = zipfile.ZipFile(sys.argv[2]); "
    "sys.stdout.buffer.write(archive.read(archive.namelist()[0]))",
    "pdftotext": f"open(sys.argv[2], 'w', encoding='utf-8').write({TEXT!r})",
    "zstd": f"assert sys.argv[1] == '-dc'; sys.stdout.buffer.write({TEXT!r}.encode())",
}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bin")
    for name, body in PROGRAMS.items():
        script = folder / name
        script.write_text(f"#!{sys.executable}\nimport bz2, lzma, sys, zipfile\n{body}\n")
        script.chmod(0o755)
    return folder


def advice(error: DataError) -> tuple[str, str | None]:
    """The command at the end of the message, and what it says to give as --data."""
    found = re.search(r"(?:--data (\S+|'.*?'|\$'.*?'))?: ((?:mv|\w+) [^:]*)$", str(error))
    assert found, error
    return found[2], found[1] and shlex.split(found[1])[0]


def follow(command: str, programs: Path) -> None:
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
    subprocess.run(["bash", "-c", command], env=environment, check=False, capture_output=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["book.txt", "my 'old' $book.dat"])
def test_the_command_makes_a_text_of_it(
    kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    data, words, text = KINDS[kind]
    Path(name).write_bytes(data)
    Path(f"{name}.orig").write_text("something else of the user's")
    with pytest.raises(DataError) as error:
        load_corpus(f"./{name}")
    assert words in str(error.value) and name.split()[0] in str(error.value)
    command, other = advice(error.value)
    follow(command, programs)
    assert load_corpus(other or f"./{name}").text == text, command
    # What was there is there.
    assert Path(f"{name}.orig").read_text() == "something else of the user's"
    digests = {hashlib.sha256(p.read_bytes()).digest() for p in tmp_path.iterdir() if p.is_file()}
    assert hashlib.sha256(data).digest() in digests


def test_a_part_is_converted_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.txt").write_bytes(TEXT.encode("utf-16"))
    Path("val.txt").write_bytes(TEXT.encode("latin1"))
    for _ in range(2):
        with pytest.raises(DataError) as error:
            load_corpus(".")
        follow(advice(error.value)[0], programs)
    corpus = load_corpus(".")
    assert corpus.text == TEXT + TEXT and corpus.parts == ("train.txt", "val.txt")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (packed("[Content_Types].xml"), "a document in a zip archive, not a text; save it as"),
        (packed("mimetype"), "a document in a zip archive"),
        (b"{\\rtf1\\ansi Hello}", "rich text, not a text; save it as plain text"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", "a document of an office program"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not a text (a zero byte at offset 8); expected UTF-8"),
        (b"\x7fELF\x02\x01\x01\0\xff\xfe", "not a text (a zero byte at offset 7)"),
    ],
)
def test_what_no_command_makes_a_text_of(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "book.txt"
    path.write_bytes(data)
    with pytest.raises(DataError) as error:
        load_corpus(path)
    assert words in str(error.value) and str(path) in str(error.value)


READ_AS: dict[str, tuple[Callable[[str], bytes], str | None]] = {
    "plain": (str.encode, None),
    "mark": (lambda text: b"\xef\xbb\xbf" + text.encode(), "its byte-order mark is left out"),
    "CR LF": (lambda text: text.replace("\n", "\r\n").encode(), "the line ends 3 CR LF are read"),
    "CR": (lambda text: text.replace("\n", "\r").encode(), "the line ends 3 CR are read"),
    "mixed": (
        lambda text: "\ufeff{}\r\n{}\r{}\n".format(*text.split("\n")).encode(),
        "its byte-order mark is left out; the line ends 1 CR LF and 1 CR are read as new lines",
    ),
}


@pytest.mark.parametrize("how", READ_AS)
def test_a_text_is_read_as_python_reads_one(how: str, tmp_path: Path) -> None:
    write, said = READ_AS[how]
    path = tmp_path / "book.txt"
    path.write_bytes(write(TEXT))
    corpus = load_corpus(path)
    with open(path, encoding="utf-8-sig") as file:
        assert corpus.text == file.read() == TEXT
    assert corpus.sha256 == hashlib.sha256(TEXT.encode()).hexdigest()
    assert (corpus.notice is None) if said is None else (said in str(corpus.notice))
    # As an earlier version read it, when that is what a run was fed.
    raw = hashlib.sha256(path.read_bytes()).hexdigest()
    old = load_corpus(path, sha256=raw)
    assert old.text.encode() == path.read_bytes() and old.sha256 == raw
    assert load_corpus(path, sha256="0" * 64).text == TEXT


@pytest.mark.parametrize("data", [b"zero \0 bytes", b"{\\rtf1 Hello}", b"%PDF- is how one begins"])
def test_what_an_earlier_version_took_for_a_text_is_still_the_text_of_its_runs(
    data: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "book.txt"
    path.write_bytes(data)
    with pytest.raises(DataError):
        load_corpus(path, sha256="0" * 64)
    assert load_corpus(path, sha256=hashlib.sha256(data).hexdigest()).text.encode() == data


def test_parts_are_cut_where_the_text_that_is_read_ends(tmp_path: Path) -> None:
    raw = TEXT.replace("\n", "\r\n").encode()
    for part in ("train", "valid"):
        (tmp_path / f"{part}.txt").write_bytes(b"\xef\xbb\xbf" + raw)
    corpus = load_corpus(tmp_path)
    assert (corpus.text, corpus.cut) == (TEXT * 2, len(TEXT))
    assert str(corpus.notice).count("byte-order mark") == 2
    before = (b"\xef\xbb\xbf" + raw).decode()
    old = load_corpus(tmp_path, sha256=hashlib.sha256((before * 2).encode()).hexdigest())
    assert (old.text, old.cut) == (before * 2, len(before))


def test_a_mark_alone_is_an_empty_text(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_bytes(b"\xef\xbb\xbf")
    with pytest.raises(DataError, match="the file is empty"):
        load_corpus(tmp_path / "book.txt")
