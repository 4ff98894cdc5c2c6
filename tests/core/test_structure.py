"""The files of csrc/: which depends on which, and that none depends on itself in a circle.

A file depends on the headers that it includes and on the .c file that defines a function it names,
whether it names the function itself or by a macro or an inline function of a header. Two tables are
data, `tt_ops` and the kernel sets: the tape calls operations through them, and the operations call
the tape by name. So nothing below the operations names one, and the files that fill the tables,
op_table.c and kernels.c, are above all others.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
CSRC = ROOT / "csrc"

LAYERS = {  # from the lowest to the highest; a file depends on files of its layer and of lower ones
    "base": "base/* arena blas_ops tinytape",
    "tensor": "tensor/*",
    "tape": "*",  # what lies in csrc/ itself and is not named here
    "loops": "loops/* op",
    "operations": "ops/* fused/*",
    "tables": "op_table.c kernels",
}

PREFIXES = {  # of the functions that a .c file gives to others; other files: their own name
    "base/blas_builtin": "builtin",
    "base/cpu_count": "cpu_count",
    "base/error": "tt_fail error shape_text",
    "base/memory": "mem block",
    "apply": "apply call",
    "autograd_v2": "tape",
    "blas_ops": "blas",
    "kernel_set": "kernel_set",
    "op_rules": "rule",
    "random": "philox",
    "tensor/context": "ctx",
    "tensor/handles": "handle",
    "tensor/hooks": "hook",
    "vjp": "v vjp",
}

GENERATED = {"ops_gen.h", "ops_attrs.h", "levels_gen.h"}
INCLUDES_OPERATIONS = {"ops_include.h", "ops_include_integers.h"}


@cache
def files() -> dict[str, str]:
    """The text of each file by its name, without comments and strings; a definition is one line."""
    keep_includes = re.compile(r'(#include[^\n]*)|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.S)
    found = {}
    for path in sorted(CSRC.rglob("*.[ch]")):
        text = path.read_text("utf-8").replace("\\\n", " ")
        text = keep_includes.sub(lambda m: m[1] or " ", text)
        found[path.relative_to(CSRC).as_posix()] = text
    return found


def words(text: str) -> set[str]:
    return set(re.findall(r"[A-Za-z_]\w*", text))


def without_macros(text: str) -> str:
    return re.sub(r"(?m)^[ \t]*#[ \t]*define[^\n]*", "", text)


def functions(text: str) -> Iterator[tuple[str, str, str, bool]]:
    """Of each function that is defined or declared at the left margin: what stands before its name,
    the name, the body, and whether there is one."""
    text = re.sub(r"(?m)^[ \t]*#[^\n]*", "", text)
    for match in re.finditer(r"(?m)^([A-Za-z_][\w \t*]*?)\b(\w+)\(", text):
        end, depth = match.end(), 1
        while depth > 0:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        after = re.compile(r"\s*(\{|;|__attribute__)").match(text, end)
        if after is None or "typedef" in match[1].split():
            continue
        stop = after.end()
        if after[1] == "{":
            depth = 1
            while depth > 0:
                depth += {"{": 1, "}": -1}.get(text[stop], 0)
                stop += 1
        yield match[1], match[2], text[after.end() : stop], after[1] == "{"


@cache
def shorthand() -> dict[str, set[str]]:
    """The words that a macro or an inline function of a header stands for."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, text in files().items():
        if name.endswith(".h"):
            for match in re.finditer(r"(?m)^[ \t]*#[ \t]*define[ \t]+(\w+)([^\n]*)", text):
                found[match[1]] |= words(match[2])
            for _, function, body, _ in functions(text):
                found[function] |= words(body)
    return found


def expanded(names: set[str]) -> set[str]:
    seen, todo = set(names), list(names)
    while todo:
        for word in shorthand().get(todo.pop(), ()):
            if word not in seen:
                seen.add(word)
                todo.append(word)
    return seen


@cache
def declared() -> dict[str, str]:
    """The functions that headers declare, and the header."""
    return {
        function: name
        for name, text in files().items()
        if name.endswith(".h")
        for before, function, _, has_body in functions(text)
        if not has_body and "static" not in before.split()
    }


@cache
def defined() -> dict[str, str]:
    """Which .c file defines a function that others can call."""
    found = {
        function: name
        for name, text in files().items()
        if name.endswith(".c") and layer(name) not in ("operations", "tables")
        for before, function, _, has_body in functions(text)
        if has_body and "static" not in before.split()
    }
    for function, header in declared().items():
        # Where a macro writes a function for each type, it does in the .c file of the header.
        found.setdefault(function, header[:-1] + "c")
    return found


def layer(name: str) -> str:
    stem = name.rsplit(".", 1)[0]
    folder = stem.rsplit("/", 1)[0] + "/*" if "/" in stem else "*"
    for pattern in (name, stem, folder):
        for title, members in LAYERS.items():
            if pattern in members.split():
                return title
    raise AssertionError(f"csrc/{name} is in no layer of this test")


def operations() -> list[str]:
    return [name for name in files() if layer(name) == "operations"]


@cache
def dependencies() -> dict[str, dict[str, str]]:
    """Of each file: the files that it depends on, and why."""
    result: dict[str, dict[str, str]] = {}
    for name, text in files().items():
        needs: dict[str, str] = {}
        for header in re.findall(r'#include "([^"]+)"', text):
            beside = (Path(name).parent / header).as_posix()
            target = next(
                (p for p in (re.sub(r"(^|/)\w+/\.\./", r"\1", beside), header) if p in files()),
                None,
            )
            if header in INCLUDES_OPERATIONS:
                needs |= {file: f"includes {header}" for file in operations()}
            elif header not in GENERATED:
                assert target is not None, f"csrc/{name} includes {header}, which is nowhere"
                needs[target] = "includes it"
        if name.endswith(".c") or layer(name) == "operations":
            for word in sorted(expanded(words(without_macros(text)))):
                if word in defined():
                    needs.setdefault(defined()[word], f"names {word}")
        needs.pop(name, None)
        result[name] = needs
    return result


def find_circle(needs: dict[str, dict[str, str]]) -> list[str]:
    """Files each of which depends on the next, the last being the first; empty: there are none."""
    done: set[str] = set()
    path: list[str] = []

    def visit(name: str) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        path.append(name)
        for other in needs[name]:
            circle = visit(other)
            if circle:
                return circle
        path.pop()
        done.add(name)
        return []

    for name in needs:
        circle = visit(name)
        if circle:
            return circle
    return []


def told(circle: list[str], needs: dict[str, dict[str, str]]) -> str:
    steps = itertools.pairwise(circle)
    return "\n".join(f"  {a} depends on {b}: {needs[a][b]}" for a, b in steps)


def test_the_files_are_no_circle():
    circle = find_circle(dependencies())
    assert not circle, "these files depend on each other:\n" + told(circle, dependencies())


def test_a_circle_is_found_and_told():
    needs = {"a": {"b": "names f"}, "b": {"c": "includes it"}, "c": {"a": "names g"}, "d": {}}
    assert find_circle(needs) == ["a", "b", "c", "a"]
    assert "c depends on a: names g" in told(["a", "b", "c", "a"], needs)
    assert find_circle({"a": {"b": ""}, "b": {}}) == []


def test_no_file_depends_on_a_higher_layer():
    rank = {title: i for i, title in enumerate(LAYERS)}
    wrong = [
        f"{name} ({layer(name)}) depends on {other} ({layer(other)}): {why}"
        for name, needs in dependencies().items()
        for other, why in needs.items()
        if rank[layer(name)] < rank[layer(other)]
    ]
    assert not wrong, "\n".join(wrong)


def test_the_reader_of_c_sees_the_dependencies_that_are_there():
    """That the tests above look at something: a few calls of each kind."""
    needs = dependencies()
    assert needs["walk.c"]["vjp.c"] == "names v_binary"  # by the macro v_add
    assert needs["pass.c"]["tensor/handles.c"].startswith("names handle_")
    assert "tensor/context.c" in needs["ops/sort.c"] or "apply.c" in needs["ops/softmax.c"]
    assert defined()["philox_uniform_f32"] == "random.c"  # which a macro writes
    assert defined()["tt_apply"] == "apply.c" and defined()["tape_add_op"] == "autograd_v2.c"
    missing = [name for name, file in defined().items() if file not in files()]
    assert not missing, f"declared in a header, defined nowhere: {missing}"
    assert len(defined()) > 150


def test_functions_begin_with_the_name_of_their_file():
    wrong = []
    for function, file in defined().items():
        prefixes = PREFIXES.get(file[:-2], Path(file).stem).split()
        ours = any(function == p or function.startswith(p + "_") for p in prefixes)
        if not function.startswith("tt_") and not ours:
            wrong.append(f"{file}: {function}")
    assert not wrong, "\n".join(wrong)


def test_the_table_in_the_readme_has_every_file():
    text = (CSRC / "README.md").read_text("utf-8")
    named = set(re.findall(r"`([\w/.]+)`", text))
    missing = [
        name
        for name in files()
        if layer(name) != "operations"
        and not {name, name.rsplit(".", 1)[0], Path(name).name, Path(name).stem} & named
    ]
    assert not missing, f"csrc/README.md does not say what these are: {missing}"
