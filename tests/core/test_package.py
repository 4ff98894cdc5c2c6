"""What the installed package carries, and what importing it leaves alone."""

import os
import subprocess
import sys
from importlib import import_module
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
import tinytape._core
from tinytape._core import ffi, lib

PACKAGE = Path(tinytape._core.__file__).parent
BUNDLED = PACKAGE / ".libs" / "libtinytape_blas.so"


def config(key: str) -> str:
    return ffi.string(lib.tt_config(key.encode())).decode()


def run_python(code: str, **environment: str) -> str:
    """Run `code` in a new interpreter that does not see the source tree; return its output."""
    result = subprocess.run(
        [sys.executable, "-I", "-c", code],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    return result.stdout.strip()


def test_config_knows_the_build() -> None:
    assert config("version") == distribution("tinytape").version
    assert config("blas")
    assert config("blas_version") or config("blas") in {"builtin", "Accelerate"}
    assert config("compiler")
    assert config("simd") in {"v2", "v3", "v4", "base"}
    assert config("no such key") == ""


def test_bundled_blas_has_its_own_name_and_its_licence() -> None:
    if config("blas") != "OpenBLAS (bundled)":
        pytest.skip(f"built with {config('blas')}")
    assert b"\0libtinytape_blas.so\0" in BUNDLED.read_bytes()
    assert b"libscipy_openblas.so\0" not in BUNDLED.read_bytes()
    assert "The OpenBLAS Project" in (BUNDLED.parent / "LICENSE-OpenBLAS.txt").read_text("utf-8")


def test_bundled_blas_is_on_one_thread() -> None:
    """The pool of csrc/base/parallel.c is the only source of threads."""
    if config("blas") != "OpenBLAS (bundled)":
        pytest.skip(f"built with {config('blas')}")
    code = f"""
import ctypes, tinytape as tt
x = tt.ones(64, 64)
assert (x @ x).tolist() == [[64.0] * 64] * 64
assert tt.get_config()["blas_core"] not in ("", "not loaded")
print(ctypes.CDLL({str(BUNDLED)!r}).scipy_openblas_get_num_threads())
"""
    assert run_python(code, TINYTAPE_MATMUL="blas") == "1"


def test_a_bundled_blas_that_nobody_uses_is_not_loaded() -> None:
    """It would start a thread for each processor."""
    if config("blas") != "OpenBLAS (bundled)" or config("simd") == "v2":
        pytest.skip(f"products go to {config('blas')} at {config('simd')}")
    code = """
import os, numpy
def tasks():
    return len(os.listdir("/proc/self/task"))
before = tasks()
import tinytape as tt, tinytape.training
assert tasks() == before
tt.set_num_threads(1)
x = tt.ones(200, 200, requires_grad=True)
(x @ x).sum().backward()
assert tt.get_config()["blas_version"] and tt.get_config()["blas_core"] == "not loaded"
print(tasks() - before, "tinytape_blas" in open("/proc/self/maps").read())
"""
    assert run_python(code, TINYTAPE_MATMUL="") == "0 False"


def test_licences_are_in_the_metadata() -> None:
    names = {path.name for path in distribution("tinytape").files or []}
    assert {"LICENSE", "OpenBLAS.txt"} <= names


def test_one_binary_for_every_python() -> None:
    assert Path(tinytape._core.__file__).name == "_core.abi3.so"


def test_import_keeps_subnormals_and_signals() -> None:
    """A library built with -ffast-math would flush subnormals to zero in the whole process."""
    code = """
import signal
before = {s: signal.getsignal(s) for s in signal.valid_signals()}
import tinytape, numpy
assert numpy.float32(1e-40) * numpy.float32(1) != 0
assert numpy.float64(1e-310) * numpy.float64(1) != 0
assert before == {s: signal.getsignal(s) for s in signal.valid_signals()}
"""
    run_python(code)


def test_simd_level_can_be_lowered() -> None:
    if "v2" not in config("simd_levels").split():
        pytest.skip(f"built for {config('simd_levels')} alone, as by make dev")
    code = """
from tinytape._core import ffi, lib
print(ffi.string(lib.tt_config(b"simd")).decode(), lib.tt_simd_requested_ok())
"""
    assert run_python(code, TINYTAPE_SIMD="v2") == "v2 1"
    best = run_python(code, TINYTAPE_SIMD="")
    assert run_python(code, TINYTAPE_SIMD="v9") == best.replace(" 1", " 0")


@pytest.mark.parametrize(("value", "expected"), [("1", 1), ("3", 3), ("1000", 64), ("9" * 30, 64)])
def test_num_threads_variable(value: str, expected: int) -> None:
    code = "from tinytape._core import lib; print(lib.tt_get_num_threads())"
    assert int(run_python(code, TINYTAPE_NUM_THREADS=value)) == expected


@pytest.mark.parametrize("value", ["", "0", "-1", "two", "2x"])
def test_bad_num_threads_variable_means_default(value: str) -> None:
    code = "from tinytape._core import lib; print(lib.tt_get_num_threads())"
    count = int(run_python(code, TINYTAPE_NUM_THREADS=value))
    assert 1 <= count <= min(64, len(os.sched_getaffinity(0)))


def test_philox_is_the_published_one() -> None:
    out = np.empty(2, np.uint64)
    lib.tt_philox_u64(0, 0, 0, 2, ffi.cast("uint64_t *", ffi.from_buffer(out)))
    assert [hex(x) for x in out.tolist()] == ["0xe169c58d6627e8d5", "0x9b00dbd8bc57ac4c"]


COMMANDS = ("train", "generate", "plot", "checkpoint", "study")


def script(name: str) -> str:
    return str(Path(sys.executable).with_name(f"tinytape-{name}"))


def test_every_command_is_a_script() -> None:
    scripts = {e.name: e for e in distribution("tinytape").entry_points}
    assert set(scripts) == {f"tinytape-{name}" for name in COMMANDS}
    for name in COMMANDS:
        assert scripts[f"tinytape-{name}"].load() is import_module(f"tinytape.{name}").main
        shown = subprocess.run([script(name), "--help"], capture_output=True, text=True, check=True)
        assert shown.stdout.startswith(f"usage: tinytape-{name} ")
        assert "python -m" not in shown.stdout  # nor in its examples


def test_a_script_runs_nothing_that_lies_in_the_working_directory(tmp_path: Path) -> None:
    for name in ("numpy", "json", "tinytape"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('what lies here was run')\n")
    done = subprocess.run([script("generate"), "."], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: . holds no "), done.stderr
