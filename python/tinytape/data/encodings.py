r"""The bytes of a text file: read as Python reads a text, or refused with the name of their format.

A refusal comes with a command that makes a text of the file. The command keeps the original beside
it.

>>> from tinytape.data.encodings import as_text
>>> as_text(b"one\r\ntwo", None, "input.txt")
('one\ntwo', ['the line ends 1 CR LF are read as new lines'])
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from .._paths import quoted
from .errors import DataError

_LOOKED_AT = 1 << 16  # bytes by which the format of a file is known

# In this order: the mark of UTF-32 begins with that of UTF-16.
_MARKS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
# The first bytes of a file: its format, and the command that writes its text to a new file.
_OTHER: dict[bytes, tuple[str, str]] = {
    b"\x1f\x8b": ("compressed with gzip", "gunzip -c {file} > {new}"),
    b"BZh": ("compressed with bzip2", "bunzip2 -c {file} > {new}"),
    b"\xfd7zXZ\x00": ("compressed with xz", "xz -dc {file} > {new}"),
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", "zstd -dc {file} > {new}"),
    b"PK\x03\x04": ("a zip archive", "unzip -p {file} > {new}"),
    b"%PDF-": ("a PDF", "pdftotext {file} {new}"),
    b"{\\rtf": ("rich text", ""),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ("a document of an office program", ""),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "7z e -so {file} > {new}"),
}
_OFFICE = (b"[Content_Types].xml", b"mimetype", b"word/", b"META-INF/")  # first in such a zip


def as_text(data: bytes, path: Path | None, where: str) -> tuple[str, list[str]]:
    """The text in the bytes of a file, and the changes that were made to it, as messages.

    As Python reads a text: a byte-order mark is left out, and the line ends CR LF and CR become
    new lines.

    Args:
        path: of the file, for the command; None where it is no file.
        where: the file in messages.

    Raises:
        DataError: no UTF-8, or no text at all; with the command that helps, where one does.
    """
    if data.startswith(tuple(_MARKS)):
        encoding = next(name for mark, name in _MARKS.items() if data.startswith(mark))
        raise _refused(where, f"{encoding}, not UTF-8 text", _conversion(encoding, path))
    _refuse_other_kinds(data, path, where)
    _refuse_zeros(data, path, where)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _not_utf8(data, error, path, where) from error
    changes = []
    if text.startswith("\ufeff"):
        text = text[1:]
        changes.append("its byte-order mark is left out")
    if "\r" in text:
        crlf = text.count("\r\n")
        alone = text.count("\r") - crlf
        kinds = [f"{n:,} {name}" for n, name in ((crlf, "CR LF"), (alone, "CR")) if n]
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        changes.append(f"the line ends {' and '.join(kinds)} are read as new lines")
    return text, changes


def _refuse_other_kinds(data: bytes, path: Path | None, where: str) -> None:
    if data[257:262] == b"ustar":
        raise _refused(
            where, "a tar archive, not a text", _new_text("tar -xOf {file} > {new}", path)
        )
    for magic, (what, command) in _OTHER.items():
        if not data.startswith(magic):
            continue
        if magic.startswith(b"PK") and data[30:60].startswith(_OFFICE):
            what, command = "a document in a zip archive", ""
        help = (
            _new_text(command, path)
            if command
            else "save it as plain text (UTF-8) where it is from"
        )
        raise _refused(where, f"{what}, not a text", help)


def _refuse_zeros(data: bytes, path: Path | None, where: str) -> None:
    """Zero bytes are valid UTF-8, but no text has them: in UTF-16 each second byte is one."""
    at = data.find(0)
    if at < 0:
        return
    head = data[: _LOOKED_AT // 4 * 4]
    zeros = [head[i::4].count(0) * 4 / len(head) for i in range(4)]
    for encoding, pattern in (
        ("UTF-32LE", (0, 1, 1, 1)),
        ("UTF-32BE", (1, 1, 1, 0)),
        ("UTF-16LE", (0, 1, 0, 1)),
        ("UTF-16BE", (1, 0, 1, 0)),
    ):
        if all((share > 0.5) == bool(wanted) for share, wanted in zip(zeros, pattern, strict=True)):
            raise _refused(where, f"{encoding}, not UTF-8 text", _conversion(encoding, path))
    what = f"not a text (a zero byte at offset {at})"
    if not _is_utf8(data.replace(b"\0", b"")):
        raise DataError(f"{where}: {what}; expected UTF-8")
    command = _in_place(r"tr -d '\000'", path)
    raise _refused(where, what, f"to leave such out: {command}")


def _not_utf8(data: bytes, error: UnicodeDecodeError, path: Path | None, where: str) -> DataError:
    at = error.start
    what = f"not UTF-8 text (byte 0x{data[at]:02x} at offset {at})"
    if _is_mostly_utf8(data):
        help = f"to leave out what is broken: {_in_place('iconv -c -f UTF-8 -t UTF-8', path)}"
        return _refused(where, what, help)
    # These five have no meaning in Windows-1252; ISO 8859-1 takes every byte.
    western = "LATIN1" if re.search(rb"[\x81\x8d\x8f\x90\x9d]", data) else "CP1252"
    help = f"if it is Western European (iconv -l lists others), {_conversion(western, path)}"
    return _refused(where, what, help)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _is_mostly_utf8(data: bytes) -> bool:
    """Whether more characters beyond ASCII are sound than broken, as where a download stopped."""
    text = data.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    return sum(map(len, re.findall(r"[^\x00-\x7f\ufffd]+", text))) > broken


def _refused(where: str, what: str, help: str) -> DataError:
    return DataError(f"{where}: {what}; {help}")


def _conversion(encoding: str, path: Path | None) -> str:
    return f"convert it: {_in_place(f'iconv -f {encoding} -t UTF-8', path)}"


def _in_place(filter: str, path: Path | None) -> str:
    """The command that renames the file and writes the filter's output under its old name."""
    if path is None:
        return f"{filter} < FILE > NEW"
    aside = _free(lambda n: path.with_name(f"{path.name}.orig{n}"))
    old, new = quoted(aside), quoted(path)
    return f"mv {new} {old} && {filter} < {old} > {new}"


def _new_text(command: str, path: Path | None) -> str:
    """The command that writes a text to a file of its own, and the flag that takes that."""
    if path is None:
        return f"make one: {command.format(file='FILE', new='NEW')}"
    stem = path.name.split(".")[0] or "text"
    new = quoted(_free(lambda n: path.with_name(f"{stem}{n and '-' + n}.txt")))
    return f"make one, for --data {new}: {command.format(file=quoted(path), new=new)}"


def _free(name: Callable[[str], Path]) -> Path:
    """The first of these names that nothing has; they are given "", "2", "3" and so on."""
    number = 1
    while (path := name("" if number == 1 else str(number))).exists():
        number += 1
    return path
