"""Importing tinytape, and a step on several threads, leave the process as it was."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import ctypes, gc, locale, os, random, signal, sys, threading, warnings
import numpy as np

def blas_threads():
    "Of the libraries that numpy brought, by the names that its OpenBLAS has had."
    with open("/proc/self/maps") as file:
        paths = {line.split()[-1] for line in file if "openblas" in line}
    found = {}
    for path in sorted(paths):
        if "tinytape" in path:
            continue
        library = ctypes.CDLL(path)
        for prefix in ("", "scipy_"):
            for suffix in ("", "64_"):
                name = f"{prefix}openblas_get_num_threads{suffix}"
                if hasattr(library, name):
                    found[path] = getattr(library, name)()
    return found

def subnormals():
    with np.errstate(all="ignore"):
        return [float(np.float32(1e-40) * np.float32(1)), float(np.float64(1e-310) * 1),
                float(np.full(64, 1e-40, np.float32).sum())]

def everything():
    return {
        "environment": dict(os.environ),
        "signal handlers": {s: signal.getsignal(s) for s in signal.valid_signals()},
        "signal mask": signal.pthread_sigmask(signal.SIG_BLOCK, []),
        "subnormals": subnormals(),
        "rounding": ctypes.CDLL(None).fegetround(),
        "numpy errors": np.geterr(),
        "numpy print options": np.get_printoptions(),
        "numpy random state": [repr(x) for x in np.random.get_state()],
        "random state": random.getstate(),
        "blas threads": blas_threads() if sys.platform == "linux" else {},
        "locale": locale.setlocale(locale.LC_ALL, None),
        "warning filters": list(warnings.filters),
        "hooks": (sys.excepthook, sys.displayhook, sys.unraisablehook, threading.excepthook),
        "recursion limit": sys.getrecursionlimit(),
        "switch interval": sys.getswitchinterval(),
        "garbage collection": (gc.isenabled(), gc.get_threshold(), len(gc.callbacks)),
        "directory": os.getcwd(),
        "umask": os.umask(0o022), "umask again": os.umask(0o022),
        "threads of Python": threading.active_count(),
        "descriptors": len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0,
    }

import sysconfig, importlib.metadata, json, dataclasses, tqdm  # what others bring is theirs
np.ones((4, 4)) @ np.ones((4, 4))
everything()
before = everything()

def compare(when):
    now = everything()
    for key, value in before.items():
        assert now[key] == value, (when, key, value, now[key])

import tinytape as tt
compare("import tinytape")
import tinytape.training, tinytape.nn, tinytape.optim, tinytape.models
compare("the rest of it")
tt.set_num_threads(2)
x = tt.ones(300, 300, requires_grad=True)
(x @ x).exp().mean().backward()
tt.optim.AdamW([x]).step()
compare("a step on two threads")
print(len(before["blas threads"]))
"""


def test_nothing_global_changes() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().isdigit()
