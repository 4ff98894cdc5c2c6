"""docs/tutorial-operation.md, done as it is printed, in a copy of the tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial-operation.md"
BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LIST = re.compile(r"^__all__ = (\[.*?\])$", re.DOTALL | re.MULTILINE)


def write_into(tree: Path, path: str, text: str) -> None:
    """A new file; or, in one that is there, its list of names or lines at its end."""
    file = tree / path
    if not file.exists():
        file.write_text(text, "utf-8")
        return
    old = file.read_text("utf-8")
    if new := LIST.fullmatch(text.strip()):
        names = LIST.search(old)
        assert names, path
        assert set(eval(names[1])) | {"leaky_relu"} == set(eval(new[1])), "the printed list is old"
        file.write_text(old.replace(names[0], new[0]), "utf-8")
    else:
        file.write_text(f"{old}\n\n{text}", "utf-8")


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, (command, done.stdout[-4000:], done.stderr[-4000:])
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("cmake") and shutil.which("ninja") and shutil.which("make")),
    reason="cmake, ninja or make is not on the path",
)
def test_the_operation_of_the_tutorial_builds_and_passes_its_row(tmp_path: Path) -> None:
    tree, build, site = tmp_path / "tree", tmp_path / "build", tmp_path / "site"
    for folder in ("csrc", "cmake", "python", "tools", "tests", "docs"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("*.so"))
    for file in ("CMakeLists.txt", "CMakePresets.json", "pyproject.toml", "Makefile"):
        shutil.copy(ROOT / file, tree)
    commands = []
    for language, path, text in BLOCK.findall(PAGE.read_text("utf-8")):
        if language == "sh":
            commands += text.splitlines()
        else:
            write_into(tree, path, text)
    make_op, write_page = commands

    # Without optimisation: that the operation is right is seen as well, and sooner.
    options = ("-DCMAKE_C_FLAGS_RELEASE=-O0", "-DTT_BLAS=builtin", "-DTT_TESTS=OFF")
    python = f"-DPython_EXECUTABLE={sys.executable}"
    run("cmake", "--preset", "development", "-B", build, "-G", "Ninja", *options, python, cwd=tree)
    run("cmake", "--build", build, "--target", "_core", cwd=tree)
    run(sys.executable, "tools/site_folder.py", build, site, cwd=tree)

    # What `make op` would run after its own build.
    *_, test = run(*make_op.split(), "-n", f"PYTHON={sys.executable}", cwd=tree).splitlines()
    without_blas = "-W 'ignore:tinytape was built without a BLAS:RuntimeWarning'"
    environment = {"PYTHONPATH": str(site), "PYTEST_ADDOPTS": without_blas}
    shown = run("bash", "-c", test, cwd=tree, TINYTAPE_EXAMPLES="50", **environment)
    assert re.search(r"^\d+ passed, \d+ deselected", shown, re.MULTILINE), shown
    script = write_page.replace(".venv/bin/python", sys.executable)
    run("bash", "-c", script, cwd=tree, PYTHONPATH=str(site))
    assert "leaky_relu" in (tree / "docs" / "ops.md").read_text("utf-8")
