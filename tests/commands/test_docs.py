"""Pages that a program writes are up to date; links, commands and programs in the others work."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ..soak.__main__ import table
from ..soak.promise import promises

ROOT = Path(__file__).parents[2]
PAGES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("data/*/*.md"),
    ROOT / "csrc" / "README.md",
    ROOT / "benchmarks" / "README.md",
]
FENCE = re.MULTILINE | re.DOTALL
WITH_PROGRAMS = [ROOT / "README.md", ROOT / "docs" / "nested.md"]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=FENCE)


def anchors(page: Path) -> set[str]:
    """The fragments of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_page_of_operations_is_up_to_date():
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "ops_table.py", "--check"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_figures_of_reliability_are_those_of_its_record():
    record = json.loads((ROOT / "docs" / "reliability.json").read_text("utf-8"))
    assert table(record) in (ROOT / "docs" / "reliability.md").read_text("utf-8")
    for name, row in record["promises"].items():
        promise = promises()[name]
        assert (row["words"], row["how"]) == (promise.words, promise.how), name


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_within_the_documents_leads_somewhere(page: Path):
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text("utf-8"))):
        if link.startswith(("http://", "https://")):
            continue
        file, _, fragment = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), f"{link} of {name(page)}"
        assert not fragment or fragment in anchors(target), f"{link} of {name(page)}"


@pytest.mark.parametrize("page", WITH_PROGRAMS, ids=name)
def test_the_programs_of_a_page_run_as_printed(page: Path, tmp_path: Path):
    programs = re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), FENCE)
    assert programs
    file = tmp_path / "program.py"
    file.write_text("\n".join(programs))
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", ["train", "generate", "plot", "checkpoint", "study"])
def test_every_flag_that_a_page_prints_is_one_of_its_command(command: str, tmp_path: Path):
    page = (ROOT / "docs" / "tutorial-model.md").read_text("utf-8")  # its model adds a flag
    (tmp_path / "gru.py").write_text(
        "".join(re.findall(r"^```python gru.py\n(.*?)^```", page, FENCE))
    )
    done = subprocess.run(
        [sys.executable, "-m", f"tinytape.{command}", "--help"],
        capture_output=True,
        text=True,
        env={**os.environ, "TINYTAPE_MODELS": str(tmp_path / "gru.py")},
    )
    known = set(re.findall(r"--[a-z][a-z-]*", done.stdout))
    printed = 0
    for page in PAGES:
        for code in re.findall(
            r"^```sh\n(.*?)^```|(`python -m [^`]*`)", page.read_text("utf-8"), FENCE
        ):
            for line in "".join(code).replace("\\\n", " ").splitlines():
                arguments = line.partition("#")[0].partition(f"-m tinytape.{command} ")[2]
                printed += bool(arguments)
                flags = set(re.findall(r"--[a-z][a-z-]*", arguments))
                assert flags <= known, f"{line} of {name(page)}"
    assert printed


def test_every_tool_and_target_that_a_page_names_exists():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = 0
    for page in PAGES:
        if page.name == "CHANGELOG.md":
            continue  # about the past
        text = page.read_text("utf-8")
        for name in re.findall(r"(?<![\w/])(?:tools|benchmarks|csrc|cmake)/[\w/]+\.\w+", text):
            assert (ROOT / name).is_file() or "NAME" in name or "leaky_relu" in name, (page, name)
            named += 1
        for target in re.findall(r"(?:^|`)make (\w+)", text, re.MULTILINE):
            assert target in targets, (page, target)
            named += 1
    assert named > 40
