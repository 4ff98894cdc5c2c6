"""The lines that ``python -m tinytape.checkpoint`` prints.

>>> from tinytape.training.checkpoint_text import size
>>> size(1_234_567)
'1.2 MB'
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .verify import Saved


def verify_lines(found: Sequence[Saved]) -> list[str]:
    """One line each: ``good``, or the problem."""
    if not found:
        return ["there is no checkpoint yet"]
    return [
        f"good     {entry.path}" if entry.problem is None else f"damaged  {entry.problem}"
        for entry in found
    ]


def list_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The checkpoints of ``verify.listed`` as a table."""
    if not rows:
        return ["there is no checkpoint yet"]
    cells = [("step", "size", "written", "held-out", "")]
    for row in rows:
        marks = [name for name in ("latest", "best") if row[name]]
        if row["problem"] is not None:
            marks.append(f"damaged: {row['problem']}")
        loss, written = row["held_out_loss"], row["written"]
        line = (
            f"{row['step']:,}",
            size(row["bytes"]),
            "-" if written is None else written[:19].replace("T", " "),
            "-" if loss is None else f"{loss:.4f}",
            ", ".join(marks),
        )
        cells.append(line)
    return _table(cells, ">><><")


def show_lines(about: Mapping[str, Any]) -> list[str]:
    """The description of a checkpoint by ``verify.describe``."""
    lines = [
        f"checkpoint  {about['path']}",
        f"step        {about['step']:,}",
        f"size        {size(about['bytes'])}",
        f"written     {about['written'] or '-'}",
    ]
    for title in ("counters", "data", "generators", "config", "environment"):
        rows = list(_leaves(about[title]))
        lines += ["", title, *(f"  {line}" for line in _table(rows, "<<"))]
    for file, arrays in about["arrays"].items():
        table = [("name", "dtype", "shape", "bytes")]
        for array in arrays:
            shape = " x ".join(map(str, array["shape"])) or "one value"
            table.append((array["name"], array["dtype"], shape, f"{array['bytes']:,}"))
        lines += ["", file, *(f"  {line}" for line in _table(table, "<<<>"))]
    return lines


def size(count: int) -> str:
    """A number of bytes for people, in powers of ten."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def _leaves(tree: Any, name: str = "") -> Iterable[tuple[str, str]]:
    """(dotted name, value) of each leaf of a JSON tree."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _leaves(value, f"{name}.{key}" if name else key)
    else:
        yield name, "-" if tree is None else str(tree)


def _table(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Rows as lines, each column as wide as its widest cell; ``sides`` has < or > for each."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    columns = list(zip(sides, widths, strict=True)) if rows else []
    return [
        "  ".join(
            f"{cell:{side}{width}}" for cell, (side, width) in zip(row, columns, strict=True)
        ).rstrip()
        for row in rows
    ]
