"""Write docs/ops.md: every public function and every operation of the core, in one table each.

    python tools/ops_table.py             writes the page
    python tools/ops_table.py --check     ends with an error where the page is not what it would be

Names, signatures and summaries come from the functions themselves; how an operation is computed
from its declaration in csrc/; what has a gradient and what takes integers from the rows of the test
table, which the tests hold against the code.
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "ops.md"
sys.path.insert(0, str(ROOT))

from tests.ops import ALIASES, WITHOUT_ROW, Row, rows  # noqa: E402

from tinytape import functional  # noqa: E402
from tinytape._ffi import OPS, lib  # noqa: E402
from tinytape.nn import functional as nn_functional  # noqa: E402

HEAD = """# Operations

Written by `python tools/ops_table.py`; a test fails when this page is out of date.

- **by**: how it is computed. *fused*: one kernel for what could be several operations
  (`csrc/fused`). *kernel*: an operation of the core (`csrc/ops`). *view*: an operation that shares
  its input's storage. *composed*: a function that is written with other functions.
- **derivatives**: *any*: derivatives of any order, because the gradient of each operation is made
  of operations that have gradients; the tests check two orders against central differences.
  *none*: asking for a gradient through it is an error that names it. Empty: no input is floating.
- **integers**: every function of floating inputs takes float32 and float64. If it also takes
  integers or bools, this is the type of the result: *same* as the input, the type that is named, or
  *yes*: its docstring says. Empty: integers are refused, or the function takes nothing else.
"""


@dataclass(frozen=True)
class Declaration:
    """An operation as its file declares it."""

    file: str
    flags: frozenset[str]

    @property
    def kind(self) -> str:
        if "TT_VIEW" in self.flags:
            return "view"
        return "fused" if self.file.startswith("fused") else "kernel"


def declarations() -> dict[str, Declaration]:
    found = {}
    for folder in ("ops", "fused"):
        for path in sorted((ROOT / "csrc" / folder).glob("*.c")):
            text = path.read_text("utf-8")
            for match in re.finditer(r"^TT_OP\(\s*(\w+),(.*?)\)$", text, re.MULTILINE | re.DOTALL):
                flags = frozenset(re.findall(r"\bTT_[A-Z_]+\b", match[2]))
                found[match[1]] = Declaration(f"{folder}/{path.name}", flags)
    if set(found) != set(OPS):
        sys.exit(f"csrc/ and the built core differ in {sorted(set(found) ^ set(OPS))}")
    for name, declaration in found.items():
        if bool(lib.tt_op_differentiable(OPS[name])) == ("TT_NOGRAD" in declaration.flags):
            sys.exit(f"csrc/{declaration.file} and the built core differ on the gradient of {name}")
    return found


def signature(function: Any) -> str:
    """Names and defaults; the types are in the code."""
    shown = inspect.signature(function)
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in shown.parameters.values()]
    text = str(shown.replace(parameters=bare, return_annotation=inspect.Signature.empty))
    return re.sub(r"<([\w.]+) object at \w+>", r"\1", text)


def summary(text: str | None) -> str:
    """The first paragraph's first sentence, on one line."""
    paragraph = " ".join((text or "").strip().split("\n\n")[0].split())
    return re.split(r"(?<=[a-z0-9)\]`])\. ", paragraph)[0].rstrip(".")


def derivatives(row: Row) -> str:
    if not row.differentiable:
        return "none"
    return "any" if any(hasattr(given, "low") for given in row.large.inputs) else ""


def integers(row: Row) -> str:
    return {True: "same", False: "", None: "yes"}.get(row.integers, row.integers)


def line(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def functions(
    module: ModuleType, prefix: str, table: dict[str, Row], declared: dict[str, Declaration]
) -> Iterator[str]:
    yield line("function", "by", "derivatives", "integers", "what it is")
    yield line(*["---"] * 5)
    for name in sorted(module.__all__):
        function = getattr(module, name)
        shown = f"`{prefix}.{name}{signature(function)}`"
        if name in ALIASES:
            yield line(shown, "", "", "", f"another name of `{ALIASES[name]}`")
            continue
        what = summary(function.__doc__)
        if name in WITHOUT_ROW:
            yield line(shown, "composed", "", "", what)
            continue
        if name not in table:
            sys.exit(f"{prefix}.{name} has no row in tests/ops")
        kind = declared[name].kind if name in declared else "composed"
        row = table[name]
        yield line(shown, kind, derivatives(row), integers(row), what)


def operations(table: dict[str, Row], declared: dict[str, Declaration]) -> Iterator[str]:
    yield line("operation", "by", "derivatives", "file")
    yield line(*["---"] * 4)
    public = {*functional.__all__, *nn_functional.__all__}
    for name in sorted(set(OPS) - public):
        declaration = declared[name]
        file = f"`csrc/{declaration.file}`"
        yield line(f"`{name}`", declaration.kind, derivatives(table[name]), file)


def page() -> str:
    table, declared = rows(), declarations()
    elsewhere = set(functional.__all__)
    own = ModuleType("own")
    own.__dict__.update(vars(nn_functional))
    own.__dict__["__all__"] = [name for name in nn_functional.__all__ if name not in elsewhere]
    shared = ", ".join(f"`{n}`" for n in sorted(elsewhere & set(nn_functional.__all__)))
    parts = [
        HEAD,
        "## tinytape\n",
        "Imported as `import tinytape as tt`. Most are methods of `Tensor` under the same name.\n",
        *functions(functional, "tt", table, declared),
        "\n## tinytape.nn.functional\n",
        f"Imported as `from tinytape.nn import functional as F`. Here too: {shared}.\n",
        *functions(own, "F", table, declared),
        "\n## Operations of the core that have no function of their own\n",
        "They are the gradients of others, or are reached through methods and indexing.\n",
        *operations(table, declared),
    ]
    return "\n".join(parts) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    check = parser.parse_args().check
    expected = page()
    if not check:
        PAGE.write_text(expected, "utf-8")
        return 0
    there = PAGE.read_text("utf-8") if PAGE.exists() else ""
    changed = list(
        difflib.unified_diff(there.splitlines(), expected.splitlines(), lineterm="", n=0)
    )
    if changed:
        print("docs/ops.md is out of date: python tools/ops_table.py", *changed[2:], sep="\n")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
