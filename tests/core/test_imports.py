"""No circle among the modules of the library: neither at import nor by imports inside functions.

The modules are read, not imported. Two graphs come of it: what is imported while a module is first
run, and that together with what its functions import when they are called. Imports for the type
checker alone (``if TYPE_CHECKING:``) are in neither.

What an import leads to:

- ``from package import name`` leads to the submodule ``package.name`` where there is one, and else
  to the package's own ``__init__``, which has to give the name.
- Importing ``package.module`` runs the ``__init__`` of the package first, so it leads there too,
  unless the importer is part of the package itself: then that ``__init__`` runs already, or has
  run. So an ``__init__`` may collect what its submodules offer, and they may import each other, but
  none of them may ask the ``__init__`` for a name.
- ``tinytape/__init__.py`` imports some packages when they are first named: they are counted as
  imports of its ``__getattr__``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tinytape

ROOT = Path(tinytape.__file__).parent
COMPILED = {"tinytape._core", "tinytape._binding"}  # which import nothing of the library
FILES = {
    ".".join(("tinytape", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in ROOT.rglob("*.py")
}


def ancestors(module: str) -> set[str]:
    """The module and the packages that it is in."""
    parts = module.split(".")
    return {".".join(parts[:n]) for n in range(1, len(parts) + 1)}


def for_the_type_checker(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def statements(body: list[ast.stmt], functions: bool) -> Iterator[ast.stmt]:
    """The statements that run at import, and those of functions where they are asked for."""
    for node in body:
        yield node
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not functions:
            continue
        branches = ("orelse",) if for_the_type_checker(node) else ("body", "orelse", "finalbody")
        for branch in branches:
            yield from statements(getattr(node, branch, []), functions)
        for handler in getattr(node, "handlers", []):
            yield from statements(handler.body, functions)


def named(node: ast.stmt, module: str) -> Iterator[str]:
    """The modules of the library that an import statement names."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if not isinstance(node, ast.ImportFrom):
        return
    source = node.module or ""
    if node.level:
        package = module.split(".")
        is_package = FILES[module].name == "__init__.py"
        package = package[: len(package) - node.level + is_package]
        source = ".".join([*package, *([source] if source else [])])
    for alias in node.names:
        submodule = f"{source}.{alias.name}"
        yield submodule if submodule in FILES or submodule in COMPILED else source


def imports(module: str, functions: bool) -> set[str]:
    """The modules that a module leads to."""
    tree = ast.parse(FILES[module].read_text("utf-8"))
    found = {name for node in statements(tree.body, functions) for name in named(node, module)}
    if module == "tinytape" and functions:
        found |= {f"tinytape.{name}" for name in tinytape._IMPORTED_WHEN_NAMED}
    own = ancestors(module)
    return {
        reached
        for name in found
        for reached in {name} | (ancestors(name) - own)
        if reached in FILES and reached != module
    }


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The groups of modules in which each leads to each other (Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in graph[module]:
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            start = stack.index(module)
            group = stack[start:]
            del stack[start:]
            if len(group) > 1:
                found.append(group)

    for module in graph:
        if module not in index:
            visit(module)
    return found


def shortest(graph: dict[str, set[str]], group: list[str]) -> list[str]:
    """The shortest way from a module of a group back to it."""
    best: list[str] = []
    for start in group:
        ways = [[start]]
        for way in ways:
            following = sorted(graph[way[-1]] & set(group))
            if start in following:
                if not best or len(way) < len(best):
                    best = way
                break
            seen = {name for known in ways for name in known}
            ways += [[*way, name] for name in following if name not in seen]
    return [*best, best[0]]


@pytest.mark.parametrize("functions", [False, True], ids=["at import", "in functions too"])
def test_no_circle(functions: bool) -> None:
    graph = {module: imports(module, functions) for module in FILES}
    found = circles(graph)
    assert not found, "\n".join(
        f"{len(group)} modules import each other: {' -> '.join(shortest(graph, group))}\n"
        + "".join(
            f"  {name} imports {sorted(graph[name] & set(group))}\n" for name in sorted(group)
        )
        for group in found
    )


def test_only_the_library_itself_composes_the_name_of_an_import() -> None:
    """The graphs know no other: ``import_module`` elsewhere is given a literal name."""
    for module, path in FILES.items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                literal = isinstance(node.args[0], ast.Constant)
                assert literal or module == "tinytape", f"{path}:{node.lineno}"
