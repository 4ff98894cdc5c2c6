"""Ways to damage a file: its bytes, or the values in it. Each returns the name of the damage."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

Random = np.random.Generator
# What parsers stumble over.
# Not formatted by ruff: with one element a line the table is hard to compare by eye.
TOKENS = (
    b"", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"NaN", b"-Infinity", b"1e999", b"-1",
    b"null", b"true", b'""', b"[]", b"{}", b'"\\ud800"', b"0.5", b"9" * 5000, b"[" * 5000,
    b'{"a":' * 2000, b"\x80" * 64, b"\r\n", b"\\", b'"', b"'", b"=", b"# x\n", b"a" * 3000,
    b"18446744073709551616", struct.pack("<Q", 2**64 - 1), struct.pack("<Q", 2**40), b"../", b"/",
)  # fmt: skip
# What a value is replaced by.
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 7, 2**31, 2**53 + 1, 2**63, 2**64, 2**66, -(2**63), 0.5, -0.0,
    1e-320, 1e308, "", "x", "\0", "\ud800", "nan", "../../etc/passwd", "/dev/zero", "float32", [],
    "BF16", "C64", "F8_E4M3", "BOOL", {}, [[]], [1], {"a": 1}, ["x", None], [0.5] * 50,
    {"$array": "x"}, {"$array": None}, "y" * 3000,
)  # fmt: skip


def spoil_bytes(data: bytes, random: Random) -> tuple[str, bytes]:
    """Change some bytes, often to something that is known to hurt."""
    kind = int(random.integers(8))
    at = int(random.integers(len(data) + 1))
    length = min(int(random.geometric(0.1)), len(data) - at)
    if kind == 0 and data:
        at = min(at, len(data) - 1)
        bit = int(random.integers(8))
        return f"bit {bit} of byte {at}", _put(data, at, bytes([data[at] ^ 1 << bit]))
    if kind == 1:
        return f"cut at {at}", data[:at]
    if kind == 2:
        return f"{length} bytes gone at {at}", data[:at] + data[at + length :]
    if kind == 3:
        return f"{length} zeros at {at}", _put(data, at, bytes(length))
    if kind == 4:
        source = int(random.integers(len(data) + 1))
        piece = data[source : source + length]
        return f"{length} bytes of {source} at {at}", _put(data, at, piece)
    if kind == 5:
        return f"{length} bytes of {at} twice", data[: at + length] + data[at:]
    token = TOKENS[int(random.integers(len(TOKENS)))]
    if kind == 6:
        return f"{token[:20]!r} put in at {at}", data[:at] + token + data[at:]
    return f"{token[:20]!r} over {at}", _put(data, at, token)


def spoil_json(data: bytes, random: Random, indent: int | None = None) -> tuple[str, bytes]:
    """Change what a JSON file says, and leave it JSON (or as near as makes trouble)."""
    record = json.loads(data)
    node, key, path = _choose(record, random)
    kind = int(random.integers(6))
    if kind == 0:
        del node[key]
        words = f"{path} gone"
    elif kind == 1 and isinstance(node, dict):
        node[str(VALUES[int(random.integers(len(VALUES)))])] = node.pop(key)
        words = f"{path} renamed"
    elif kind == 2:
        other, name, where = _choose(record, random)
        node[key] = json.loads(json.dumps(other[name]))
        words = f"{path} = {where}"
    elif kind == 3:
        for _ in range(int(random.integers(1, 50))):
            node[key] = [node[key]] if random.integers(2) else {"a": node[key]}
        words = f"{path} deeper"
    else:
        value = VALUES[int(random.integers(len(VALUES)))]
        node[key] = value
        words = f"{path} = {str(value)[:20]!r}"
    return words, json.dumps(record, indent=indent, sort_keys=indent is not None).encode()


def spoil_manifest(data: bytes, random: Random) -> tuple[str, bytes]:
    """Change what a manifest says, and leave it in the form in which manifests are written."""
    words, data = spoil_json(data, random, indent=2)
    return words, data + b"\n"


def spoil_safetensors(data: bytes, random: Random) -> tuple[str, bytes]:
    """Change what the header of a safetensors file says, its length with it."""
    length = struct.unpack("<Q", data[:8])[0]
    words, header = spoil_json(data[8 : 8 + length], random)
    return f"header: {words}", struct.pack("<Q", len(header)) + header + data[8 + length :]


def one_of(*spoilers: Callable[[bytes, Random], tuple[str, bytes]]) -> Any:
    """A spoiler that takes one of these, or two in a row."""

    def spoil(data: bytes, random: Random) -> tuple[str, bytes]:
        words, data = spoilers[int(random.integers(len(spoilers)))](data, random)
        if not random.integers(4):
            more, data = spoil_bytes(data, random)
            words += f", {more}"
        return words, data

    return spoil


def _put(data: bytes, at: int, piece: bytes) -> bytes:
    return data[:at] + piece + data[at + len(piece) :]


def _choose(record: Any, random: Random) -> tuple[Any, Any, str]:
    """Somewhere in a JSON tree: (node, key, path)."""
    node, key, path = {"": record}, "", ""
    while True:
        child = node[key]
        if not isinstance(child, dict | list) or not child or (path and not random.integers(5)):
            return node, key, path
        keys = list(child) if isinstance(child, dict) else range(len(child))
        node, key = child, keys[int(random.integers(len(keys)))]
        path = f"{path}.{key}" if path else str(key)
