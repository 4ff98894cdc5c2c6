"""Mutation testing of the backward rules: break them, one at a time; the test table must notice.

    python tools/mutation_testing.py          needs what the tests need, cmake and ninja

A copy of the core is built that holds every mutation of tools/mutations.py beside the right code; a
number chooses which of the two is computed, and 0 is the core as it is. The tape of the copy can
also add an error to the gradient of any input of any operation, whatever its rule: to what the
kernel found, to what the vjp found, to both alike (which only the central difference can tell), and
to the float32 kernel alone. Each time the operation's row has to fail. The run ends with an error
if a mutation's text is no longer in its file, or if a mutation is never computed or never noticed.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mutations import MUTATIONS, Mutation
from site_folder import make_site_folder

ROOT = Path(__file__).parents[1]
WAYS = ("kernel", "vjp", "both", "float32 kernel")

# ---- what the copy has besides -------------------------------------------------------------------

DECLARATIONS = """
extern int tt_mutation, tt_mutation_op, tt_mutation_input, tt_mutation_way, tt_mutation_hits;
#define MUTATED(number, wrong, right) (tt_mutation == (number) ? (wrong) : (right))
"""

TAPE = """
#define SEEN __attribute__((visibility("default")))
SEEN int tt_mutation, tt_mutation_op = -1, tt_mutation_input, tt_mutation_way, tt_mutation_hits;

/* Has this input a gradient? */
SEEN int tt_has_gradient(int op, int input)
{
    const tt_op *o = tt_ops[op];
    return !(o->flags & TT_NOGRAD) && input < o->inputs && !((o->indices | o->masks) >> input & 1);
}

static bool mutated_here(const tt_node *node, int input, bool kernel)
{
    if (tt_mutation_op != node->op->id || tt_mutation_input != input) return false;
    if (tt_mutation_way == 3) return kernel && node->in[input]->dtype == TT_FLOAT32;
    return tt_mutation_way == 2 || tt_mutation_way == !kernel;
}

static void add_to_kernel(const tt_node *node, int input, void *dx)
{
    const tt_tensor *t = node->in[input];
    if (dx == NULL || !mutated_here(node, input, true)) return;
    for (int64_t i = 0; i < t->numel; i++) {
        tt_mutation_hits++;
        if (t->dtype == TT_FLOAT32) ((float *)dx)[i] += 1e-2f;
        else ((double *)dx)[i] += 1e-2;
    }
}

static tt_tensor *add_to_vjp(tt_ctx *ctx, const tt_node *node, int input, tt_tensor *dx)
{
    if (dx == NULL || !mutated_here(node, input, false)) return dx;
    if (dx->numel > 0) tt_mutation_hits++;
    return v_shift(ctx, dx, 1e-2);
}
"""

HOOKS = (  # text of walk.c, and what the copy has after it
    (
        "if (kernel) TT_TRY(run_backward_kernel(&c));",
        "for (int i = 0; i < node->n_in; i++) add_to_kernel(node, i, c.dx[i]);",
    ),
    (
        "if (rule) node->op->vjp(p->ctx, node, dy, need, dx);",
        "for (int i = 0; i < node->n_in; i++) dx[i] = add_to_vjp(p->ctx, node, i, dx[i]);",
    ),
    ("if (takes_over) {", "add_to_kernel(node, i, dy);"),
    ("else memcpy(dx, dy, tensor_bytes(t));", "add_to_kernel(node, i, dx);"),
)

CONSTANTS = {("cross_entropy", 2), ("nll_loss", 2)}
"""Inputs that are refused where they require a gradient: the weights of classes."""


def once(text: str, part: str, where: str) -> tuple[int, int]:
    """Where the part begins and ends, which must stand there exactly once, however it is spaced."""
    found = list(re.finditer(r"\s*".join(map(re.escape, part.split())), text))
    if len(found) != 1:
        sys.exit(f"{where}: expected once, found {len(found)} times: {part}")
    return found[0].span()


def mutated(number: int, mutation: Mutation) -> str:
    if mutation.right.endswith(";"):
        return f"if (tt_mutation == {number}) {{ {mutation.wrong} }} else {{ {mutation.right} }}"
    row = re.fullmatch(r"TT_ROW\((\w+), (.*)\)", mutation.right)
    if row:
        other = re.fullmatch(r"TT_ROW\((\w+), (.*)\)", mutation.wrong)
        return f"TT_ROW({row[1]}, MUTATED({number}, {other[2]}, {row[2]}))"
    return f"MUTATED({number}, {mutation.wrong}, {mutation.right})"


def mutate(csrc: Path) -> None:
    """Every mutation into the copy, behind its number."""
    for number, mutation in enumerate(MUTATIONS, 1):
        file = csrc / mutation.file
        text = file.read_text("utf-8")
        begin, end = once(text, mutation.right, mutation.file)
        text = text[:begin] + mutated(number, mutation) + text[end:]
        file.write_text(text, "utf-8")
    header = csrc / "op.h"
    text = header.read_text("utf-8")
    _, at = once(text, "#define TT_OP_H", "op.h")
    header.write_text(text[:at] + DECLARATIONS + text[at:], "utf-8")
    tape = csrc / "walk.c"
    text = tape.read_text("utf-8")
    for right, added in HOOKS:
        _, at = once(text, right, "walk.c")
        text = text[:at] + added + text[at:]
    includes = [m.end() for m in re.finditer(r"^#include .*\n", text, re.MULTILINE)]
    tape.write_text(text[: includes[-1]] + TAPE + text[includes[-1] :], "utf-8")


def build(work: Path) -> Path:
    """The folder for PYTHONPATH with the package and the core that has the mutations."""
    tree, out, site = work / "tree", work / "build", work / "site"
    for folder in ("csrc", "cmake", "python/binding"):
        shutil.copytree(ROOT / folder, tree / folder)
    for file in ("CMakeLists.txt", "pyproject.toml"):
        shutil.copy(ROOT / file, tree / file)
    mutate(tree / "csrc")
    options = {
        "TT_PYTHON": "ON",
        "TT_BLAS": "builtin",
        "TT_LEVELS": "v2" if platform.machine() in ("x86_64", "AMD64") else "base",
        "CMAKE_C_FLAGS_RELEASE": "-O1",
        "Python_EXECUTABLE": sys.executable,
    }
    configure = ["cmake", "-S", tree, "-B", out, "-G", "Ninja"]
    for command in (
        configure + [f"-D{name}={value}" for name, value in options.items()],
        ["cmake", "--build", out, "--target", "_core"],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    make_site_folder(out, site)
    return site


# ---- in a process of its own: the checks, with the core that has the mutations -------------------


def first_text(value: object) -> str:
    """The label in the message of a failed check."""
    while isinstance(value, (tuple, list)) and value:
        value = value[0]
    return value if isinstance(value, str) else type(value).__name__


class Table:
    """The rows, run against the core as a mutation changes it."""

    def __init__(self) -> None:
        from hypothesis import Phase, settings

        # The first example that fails will do.
        settings.register_profile("first failure", phases=[Phase.generate])
        settings.load_profile("first failure")
        sys.path.insert(0, str(ROOT))
        self.tests = importlib.import_module("tests.ops.test_ops")
        from tinytape import _core
        from tinytape._ffi import OPS, lib

        self.ops, self.lib = OPS, lib
        self.core = ctypes.CDLL(_core.__file__)
        assert str(ROOT) not in _core.__file__, "this is not the core with the mutations"

    def set(self, name: str, value: int) -> None:
        ctypes.c_int.in_dll(self.core, name).value = value

    def hits(self) -> int:
        return ctypes.c_int.in_dll(self.core, "tt_mutation_hits").value

    def found_by(self, row: str) -> str:
        """The label of the check that fails; "" when the row passes."""
        try:
            self.tests.test_forward_and_gradients(row)
        except AssertionError as error:
            return first_text(error.args)
        except Exception as error:
            return f"{type(error).__name__}: {error}"[:60]
        return ""

    def places(self) -> Iterator[tuple[str, int, int]]:
        """(operation, input, way) of every gradient that there is."""
        for op, number in self.ops.items():
            for i in range(self.lib.tt_op_inputs(number)):
                if self.core.tt_has_gradient(number, i) and (op, i) not in CONSTANTS:
                    yield from ((op, i, way) for way in range(len(WAYS)))


def check() -> int:
    table, wrong = Table(), 0
    print(f"{'row':<30}{'rule':<10}{'found by':<40}what is broken")
    for row in sorted({mutation.row for mutation in MUTATIONS}):
        if found := table.found_by(row):
            print(f"{row:<30}{'none':<10}{found:<40}FAILS WITHOUT A MUTATION")
            wrong += 1
    for number, mutation in enumerate(MUTATIONS, 1):
        table.set("tt_mutation", number)
        found = table.found_by(mutation.row)
        wrong += not found
        print(
            f"{mutation.row:<30}{mutation.rule:<10}{found or 'NOTHING':<40}{mutation.right}",
            flush=True,
        )
    table.set("tt_mutation", 0)

    found_by: Counter[tuple[str, str]] = Counter()
    operations = set()
    for op, i, way in table.places():
        for name, value in (("op", table.ops[op]), ("input", i), ("way", way), ("hits", 0)):
            table.set(f"tt_mutation_{name}", value)
        found = table.found_by(op)
        if not table.hits() or not found:
            what = "is never asked for" if not table.hits() else "may be wrong unnoticed"
            print(f"{op}: the gradient of input {i} by {WAYS[way]} {what} ({found})", flush=True)
            wrong += 1
        found_by[WAYS[way], found] += 1
        operations.add(op)
    table.set("tt_mutation_op", -1)
    print(f"\n{len(operations)} operations, an error in the gradient of each input:")
    for (way, found), times in sorted(found_by.items()):
        print(f"{way:<30}{times:>6} times found by: {found or 'NOTHING'}")
    print(
        f"\n{len(MUTATIONS)} rules broken and {found_by.total()} wrong gradients, {wrong} unnoticed"
    )
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)
    if parser.parse_args().check:
        return check()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as work:
        site = build(Path(work))
        print(f"built in {time.monotonic() - begin:.0f} s", flush=True)
        code = subprocess.run(
            [sys.executable, "-W", "ignore", __file__, "--check"],
            env={**os.environ, "PYTHONPATH": str(site), "TINYTAPE_SIMD": ""},
        ).returncode
    print(f"{time.monotonic() - begin:.0f} s")
    return code


if __name__ == "__main__":
    sys.exit(main())
