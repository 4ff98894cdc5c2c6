"""Printed commands: a shell that reads them back gets the very words that were meant."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tinytape._paths import quoted
from tinytape.training.shell import command_line, program

WORDS = ("plain", "my run", "it's", 'a "b" $c `d`', "a;b&c|d", "back\\slash", "*?[x]", "~", "naïve")
UNPRINTABLE = ("two\nlines", "\x1b[31mred", "tab\there", "caf\udce9", "it's\n\\new", "\x7f1")


@pytest.mark.parametrize("word", [*WORDS, *UNPRINTABLE])
def test_a_shell_reads_the_word_back(word: str) -> None:
    text = quoted(word)
    assert text.isprintable()
    done = subprocess.run(["bash", "-c", b"printf %s " + os.fsencode(text)], capture_output=True)
    assert done.stdout == os.fsencode(word)


def test_a_path_is_no_option() -> None:
    assert quoted(Path("-x")) == "./-x" and quoted("--resume") == "--resume"
    assert command_line("train", "--resume", Path("-my run")).endswith("--resume './-my run'")


def test_a_module_is_called_by_the_python_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/x/train.py"])
    said = command_line("generate", Path("a b"), "--tokens", 500)
    assert said.endswith("python -m tinytape.generate 'a b' --tokens 500")
    assert program("generate") == "python -m tinytape.generate"
    shown = subprocess.run(["bash", "-c", command_line("train", "--help")], capture_output=True)
    assert shown.returncode == 0 and b"--resume" in shown.stdout


def test_python_on_the_path_needs_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/x/train.py"])
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable))
    assert command_line("plot").startswith("python -m tinytape.plot")


def test_a_script_names_its_sisters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "bin" / "tinytape-train")])
    assert program("plot") == "tinytape-plot"
    assert command_line("plot", Path("r")) == f"{tmp_path}/bin/tinytape-plot r"
    monkeypatch.chdir(tmp_path)
    assert command_line("plot", Path("r")) == "bin/tinytape-plot r"
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "tinytape-plot"
    script.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert command_line("plot", Path("r")) == "tinytape-plot r"
