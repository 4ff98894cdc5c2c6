"""A program with which Atheris fuzzes one reader:

    python -m tests.soak._fuzz TARGET INPUTS SECONDS SEED SCRATCH

Inputs that reach new lines of the library are kept and mutated further; half of the mutations know
the format. Faults are written to SCRATCH/trouble, one JSON text a line. libFuzzer's own figures go
to stderr. The exit status is not 0 if an input hangs or kills the process.
"""

from __future__ import annotations

import gc
import json
import sys
import traceback
import types
from pathlib import Path

import atheris
import numpy as np

from .fuzzing import readers

#: Whose lines count as new. They are instrumented as functions, since an editable installation
#: imports its modules in a way that Atheris cannot follow.
WATCHED = ("tinytape.training", "tinytape.data", "tinytape._json", "tomllib", "json")
HANG = 20  # seconds
LONGEST = 20_000  # bytes
MEMORY = 2048  # MB


def instrument() -> None:
    for function in gc.get_objects():
        if isinstance(function, types.FunctionType):
            module = getattr(function, "__module__", None) or ""
            if any(module == name or module.startswith(f"{name}.") for name in WATCHED):
                atheris.instrument_func(function)


def main() -> None:
    target, inputs, seconds, seed, scratch = sys.argv[1:]
    folder = Path(scratch)
    reader = readers(folder / "run")[target]
    instrument()
    corpus = folder / "corpus"
    corpus.mkdir()
    for i, data in enumerate(reader.seeds):
        (corpus / f"seed-{i}").write_bytes(data)
    seen: set[str] = set()

    def one(data: bytes) -> None:
        error = reader.try_one(data)
        if error is None:
            return
        where = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__} in {Path(where.filename).name}:{where.lineno}"
        if what not in seen:
            seen.add(what)
            with open(folder / "trouble", "a") as file:
                record = {"what": what, "says": str(error)[:200], "input": data.hex()}
                file.write(json.dumps(record) + "\n")

    def change(data: bytes, longest: int, number: int) -> bytes:
        random = np.random.default_rng(number)
        if random.integers(2):
            try:
                return reader.spoil(data, random)[:longest]
            except Exception:  # it is no longer of that format
                pass
        return atheris.Mutate(data, longest)

    options = [
        f"-runs={inputs}",
        f"-max_total_time={seconds}",
        f"-seed={seed}",
        f"-max_len={LONGEST}",
        f"-timeout={HANG}",
        f"-rss_limit_mb={MEMORY}",
        f"-artifact_prefix={folder}/",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
