"""docs/tutorial-model.md, run exactly as it is printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinytape.training import load_checkpoint

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str, str]]:
    """Each block of code: its language, the file that it is a part of, and its text."""
    return BLOCK.findall((ROOT / "docs" / "tutorial-model.md").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tutorial")


@pytest.fixture(scope="module")
def said(folder: Path) -> dict[str, str]:
    """What the commands print, by command; the page's files lie in the folder that they run in."""
    for _, name, text in blocks():
        if name:
            with open(folder / name, "a") as file:
                file.write(text)
    found = {}
    script = ""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for language, _, text in blocks():
        if language == "sh":
            # What one block exports is known to those that follow.
            script += "\n".join(x for x in text.splitlines() if x.startswith("export ")) + "\n"
            done = subprocess.run(
                ["bash", "-ec", script + text],
                cwd=folder,
                env=environment,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            assert done.returncode == 0, done.stdout
            found[text] = done.stdout
    return found


def test_the_commands_print_what_the_page_shows(said: dict[str, str]) -> None:
    command = None
    shown = 0
    for language, _, text in blocks():
        if language == "sh":
            command = text
        elif language == "text":
            assert command is not None
            place = 0
            for line in text.splitlines():
                place = said[command].find(line, place)
                assert place >= 0, (line, said[command])
                shown += 1
    assert len(said) == 3 and shown >= 7


def test_the_page_is_of_one_file_and_one_registration() -> None:
    files = {name for _, name, _ in blocks() if name}
    assert files == {"gru.py", "check_resume.py"}
    source = "".join(text for _, name, text in blocks() if name == "gru.py")
    assert source.count("models.register(") == 1
    assert len(source.splitlines()) < 100


def test_the_run_that_was_resumed_had_stopped_inside_a_step(
    said: dict[str, str], folder: Path
) -> None:
    """After two of three batches, with their gradients and the state that they left."""
    stopped = load_checkpoint(folder / "runs" / "stopped" / "checkpoints" / "step-00000003")
    assert stopped.state["counters"]["micro_step"] == 2
    assert "gradient.state_gates.weight" in stopped.arrays
    assert stopped.arrays["model_state.h"].shape == (12, 32)
    assert np.abs(stopped.arrays["model_state.h"]).max() > 0.0
