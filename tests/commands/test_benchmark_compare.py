"""benchmarks/compare.py as it is called: complete output, errors that help. No time is judged."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
QUICK = ["--quick", "--engines", "tinytape", "--threads", "1"]


def compare(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / "compare.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def parts() -> Iterator[Any]:
    """Imports a module of benchmarks/comparison."""

    def get(name: str) -> ModuleType:
        return importlib.import_module(f"comparison.{name}")

    sys.path.insert(0, str(BENCHMARKS))
    yield get
    sys.path.remove(str(BENCHMARKS))


@pytest.mark.slow
def test_a_quick_run_writes_every_sample_and_where_it_ran(tmp_path: Path) -> None:
    path, table = tmp_path / "compare.json", tmp_path / "table.md"
    names = "small-b1,lstm-1x64,generate,add-8,embedding-64x128,adam-0.4M"
    done = compare(*QUICK, "--only", names, "--json", str(path), "--markdown", str(table))
    assert done.returncode == 0, done.stderr
    result = json.loads(path.read_text())
    expected = ["small-b1", "lstm-1x64", "generate-small", "add-8", "embedding-64x128", "adam-0.4M"]
    assert [row["name"] for row in result["works"]] == expected
    for row in result["works"]:
        entry = row["engines"]["tinytape"]
        samples = [s for burst in entry["rounds"] for s in burst]
        assert samples and min(samples) == entry["min"] > 0
        assert row["threads"] == 1
    for row in result["works"][:2]:
        # An untrained model knows as little as a guess.
        vocabulary = {"small-b1": 65, "lstm-1x64": 283}[row["name"]]
        assert abs(row["engines"]["tinytape"]["first"][0] - np.log(vocabulary)) < 0.3
        floor = row["floor"]
        products = floor["products"][floor["product"]]
        assert floor["seconds"] == products + floor["bytes"] / floor["bandwidth"]
    assert result["notes"] == [] and result["skipped"] == {}
    assert result["machine"]["cpus"] >= 1 and result["versions"]["tinytape_simd"]
    assert "small-b1" in done.stdout and "| small-b1 |" in table.read_text()


@pytest.mark.slow
def test_memory_is_that_of_a_fresh_process(tmp_path: Path) -> None:
    path = tmp_path / "compare.json"
    done = compare(*QUICK, "--only", "memory", "--json", str(path))
    assert done.returncode == 0, done.stderr
    (entry,) = json.loads(path.read_text())["memory"]
    assert entry["peak"] > entry["base"] > 1 << 20
    assert entry["step_high_water"] > 1 << 20


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--only", "smal-b1"], "no case 'smal-b1'"),
        (["--engines", "tinytape,theano"], "no engine 'theano'"),
        (["--threads", "0"], "at least 1, got '0'"),
        (["--threads", "100000"], "CPUs"),
        (["--rounds", "two"], "got 'two'"),
        (["--seconds", "-1"], "above 0, got '-1'"),
        (["--data", "/nowhere/at/all.txt"], "/nowhere/at/all.txt"),
        (["--json", "/nowhere/at/all.json"], "no folder /nowhere/at"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(arguments: list[str], word: str) -> None:
    done = compare(*arguments)
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("compare.py: error: ") and word in last


def test_list_names_the_works() -> None:
    names = [line.split()[0] for line in compare("--list").stdout.splitlines()]
    assert {"small-b1", "small-b12", "small-b64", "medium-b8", "lstm-64x512"} <= set(names)
    assert {"generate-small", "add-8", "adam-10M", "memory", "growth"} <= set(names)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_products_of_the_floor_are_products(
    parts: Any, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every element of every product is computed, whoever has which share."""
    products = parts("products")
    if not products.open_blas():
        pytest.skip("tinytape was built without the bundled BLAS")
    random = np.random.default_rng(0)
    taken: list[np.ndarray] = []

    class Ring(products.Ring):  # type: ignore[misc, name-defined]
        def take(self, kind: str, n: int) -> np.ndarray:
            array = random.standard_normal(n).astype(np.float32)
            taken.append(array)
            return array

    monkeypatch.setattr(products, "Ring", Ring)
    for p in (
        products.Product(70, 40, 24),
        products.Product(40, 70, 24, transposed_a=True),
        products.Product(33, 50, 24, transposed_b=True),
        products.Product(16, 24, 8, transposed_a=True, batch=5),
        products.Product(20, 48, 16, transposed_b=True, batch=4, sequential=True),
    ):
        taken.clear()
        for part in products.PROVIDERS["blas"]([p], threads):
            part()
        a = taken[0].reshape(p.batch, *((p.k, p.m) if p.transposed_a else (p.m, p.k)))
        b = taken[1].reshape(-1, *((p.n, p.k) if p.transposed_b else (p.k, p.n)))
        a = a.swapaxes(1, 2) if p.transposed_a else a
        b = b.swapaxes(1, 2) if p.transposed_b else b
        np.testing.assert_allclose(taken[2].reshape(p.batch, p.m, p.n), a @ b, atol=1e-4)


def test_the_floor_counts_what_a_step_multiplies(parts: Any) -> None:
    """6 FLOP a weight and token in the linear layers; attention's half, seven products in all."""
    roofline, cases = parts("roofline"), parts("cases")
    sizes = {**cases.SMALL, "batch": 12}
    tokens, width, T = 12 * 64, 128, 64
    weights = 2 * 12 * width**2 + 65 * width
    blocks = range(roofline.ATTENTION_BLOCK, T + 1, roofline.ATTENTION_BLOCK)
    seen = sum(roofline.ATTENTION_BLOCK * last for last in blocks)
    attention = 2 * 12 * 7 * 2 * seen * width
    assert sum(p.flop for p in roofline.gpt_products(sizes)) == 6 * tokens * weights + attention
    tokens = 32 * 256
    weights = 1_197_339 - 283 * 256 - 2 * 1024 - 2 * (512 + 256) - 283  # neither table nor biases
    sizes = {"batch": 32, "length": 256}
    assert sum(p.flop for p in roofline.lstm_products(sizes)) == 6 * tokens * weights


def test_growth_is_fitted_by_the_powers_it_should_have(parts: Any) -> None:
    growth = parts("growth")
    points = [
        {"value": x, "min": 3.0 + 0.5 * x + 0.25 * x * x, "arena_bytes": 100 + 7 * x}
        for x in (64, 128, 256, 512)
    ]
    off = growth._fit("context", "tinytape", points)
    assert max(off.values()) < 1e-9
    for point in points:
        x = point["value"]
        assert point["linear_seconds"] == pytest.approx(3.0 + 0.5 * x)
        assert point["fitted_bytes"] == pytest.approx(100 + 7 * x)
    assert growth._fit("layers", "tinytape", points)["time_off"] > 0.1  # a square is not a line
