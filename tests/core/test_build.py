"""The build as a user meets it: what it says of itself, and what importing it leaves alone.

What the installed package carries is the business of test_package.py."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tinytape as tt

HEAVY = ("torch", "jax", "tensorflow", "matplotlib", "scipy", "pandas", "safetensors", "tqdm")


def run(code: str, **environment: str) -> str:
    """Standard output of a new interpreter; warnings are errors there too."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_show_config_prints_every_key(capsys):
    tt.show_config()
    shown = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    config = tt.get_config()
    assert list(shown) == list(config)
    assert {"version", "blas", "blas_version", "blas_core", "simd", "compiler", "threads"} == set(
        config
    )
    for key in ("version", "blas", "compiler", "threads"):
        assert shown[key] == str(config[key]) and shown[key] not in ("", "unknown")
    assert config["threads"] == tt.get_num_threads() >= 1
    assert tt.__version__ == config["version"]
    if platform.machine() in ("x86_64", "AMD64"):
        assert config["simd"] in ("v2", "v3", "v4")


def test_importing_the_engine_imports_nothing_heavy():
    loaded = run("import sys, tinytape; print(*sorted(sys.modules))").split()
    assert not {name.split(".")[0] for name in loaded} & set(HEAVY)
    assert "tinytape.nn" not in loaded and "tinytape.optim" not in loaded
    assert "tinytape.data" not in loaded and "tinytape.models" not in loaded


def test_packages_above_are_there_when_named():
    code = """
import tinytape as tt
print(tt.nn.Linear.__name__, tt.optim.AdamW.__name__, tt.models.create.__name__)
try:
    tt.no_such_thing
except AttributeError as error:
    print(error)
"""
    out = run(code)
    assert out.splitlines() == [
        "Linear AdamW create",
        "module 'tinytape' has no attribute 'no_such_thing'",
    ]


def test_all_names_exist():
    for name in tt.__all__:
        assert getattr(tt, name) is not None


def test_training_needs_no_framework():
    """A step of a model with layers, optimiser and schedule loads none of them either."""
    code = """
import sys
import tinytape as tt
from tinytape.nn import functional as F
model = tt.models.create("tiny", 5, context=4)
optimizer = tt.optim.AdamW(model.parameters())
logits = model(tt.tensor([[0, 1, 2, 3]])).reshape(-1, 5)
F.cross_entropy(logits, tt.tensor([1, 2, 3, 4])).backward()
optimizer.step()
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""
    assert not set(run(code).split()) & {"torch", "jax", "tensorflow", "matplotlib", "scipy"}


def test_subnormals_survive_import_and_training():
    """No thread, the workers' neither, may end up in a mode that flushes them to zero."""
    code = """
import ctypes
import threading
import numpy as np

TINY32, TINY64 = np.float32(1e-40), np.float64(1e-310)

def check(where):
    assert TINY32 * np.float32(0.5) != 0 and TINY32 + np.float32(0) == TINY32, where
    assert TINY64 * np.float64(0.5) != 0 and TINY64 + np.float64(0) == TINY64, where
    assert (np.full(100, TINY32) * np.float32(0.5)).all(), where

check("numpy alone")
import tinytape as tt
check("import")
tt.set_num_threads(2)
x = tt.full((300, 300), 1e-40, requires_grad=True)
y = x * 0.5
assert (y.numpy() != 0).all(), "our kernels, in every shard"
w = tt.ones(300, 300, requires_grad=True)
(y @ w).sum().backward()
tt.optim.AdamW([x, w]).step()
check("training")
worker = threading.Thread(target=check, args=("a new thread",))
worker.start()
worker.join()
"""
    run(code)


def test_the_rounding_mode_and_the_exception_flags_stay():
    code = """
import ctypes, ctypes.util
libm = ctypes.CDLL(ctypes.util.find_library("m") or None)
mode = libm.fegetround()
import tinytape as tt
(tt.ones(100, 100) @ tt.ones(100, 100)).exp()
assert libm.fegetround() == mode == 0
"""
    run(code)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no CPU affinity here")
def test_the_affinity_of_the_process_stays():
    """A BLAS may pin the thread that loads it."""
    code = """
import os
before = os.sched_getaffinity(0)
import tinytape as tt
(tt.ones(300, 300) @ tt.ones(300, 300)).sum().item()
assert os.sched_getaffinity(0) == before
"""
    run(code)


def test_environment_variables_that_cannot_be_honoured_are_said():
    for name, value in (("TINYTAPE_NUM_THREADS", "many"), ("TINYTAPE_SIMD", "v9")):
        code = """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import tinytape
print(*[f"{w.category.__name__}: {w.message}" for w in caught], sep="\\n")
"""
        out = run(code, **{name: value})
        if platform.machine() in ("x86_64", "AMD64") or name == "TINYTAPE_NUM_THREADS":
            assert f"RuntimeWarning: {name}='{value}'" in out


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ELF")
def test_the_extension_is_hardened():
    """As readelf shows it: what cmake/hardening.cmake asks for has arrived."""
    from tinytape import _core

    def elf(*options: str) -> str:
        command = ["readelf", "-W", *options, _core.__file__]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    if shutil.which("readelf") is None:
        pytest.skip("no readelf")
    symbols = elf("--dyn-syms")
    if "__asan_init" in symbols:
        pytest.skip("a build with sanitizers has checks of its own")
    segments, dynamic = elf("--segments"), elf("--dynamic")
    assert "GNU_RELRO" in segments and "BIND_NOW" in dynamic
    (stack,) = [line for line in segments.splitlines() if "GNU_STACK" in line]
    assert "RWE" not in stack
    assert "__stack_chk_fail" in symbols and "__snprintf_chk" in symbols
    assert "NT_GNU_BUILD_ID" not in elf("--notes")
    assert re.findall(r"R(?:UN)?PATH.*\[(.*)\]", dynamic) in ([], ["$ORIGIN/.libs"])


def test_requirements_are_pinned_as_the_checks_install_them():
    tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    installed = (root / ".ci" / "requirements.txt").read_text("utf-8")
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+) \\$", installed, re.MULTILINE))
    for text in project["build-system"]["requires"]:
        name, version = re.match(r"([\w-]+)==([\w.]+)", text).groups()
        assert pinned[name] == version
    for text in project["project"]["optional-dependencies"]["lint"]:
        name, version = re.match(r"([\w-]+)(?:==([\w.]+))?", text).groups()
        assert pinned[name] == (version or pinned[name])
    blocks = re.split(r"^(?=[\w.-]+==)", installed, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(pinned) > 10 and all("--hash=sha256:" in block for block in blocks)
