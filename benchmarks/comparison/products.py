"""Matrix products for the roofline, by whatever can do them: a table of providers.

A provider turns a list of products and a number of threads into one function a thread.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Part = Callable[[], None]
Provider = Callable[[list["Product"], int], list[Part]]
PROVIDERS: dict[str, Provider] = {}
CUT = 16  # as blas_ops.c: a cut at a multiple keeps the register blocks of a BLAS whole
OPERAND_FLOATS = 32 << 20  # products take their operands from a ring of at least this


@dataclass(frozen=True)
class Product:
    """C (m, n) = A B over k, `batch` times. A is stored (k, m) when transposed, B (n, k).

    `sequential` ones share their B, and each waits for the one before.
    """

    m: int
    n: int
    k: int
    transposed_a: bool = False
    transposed_b: bool = False
    batch: int = 1
    sequential: bool = False

    @property
    def flop(self) -> int:
        return 2 * self.m * self.n * self.k * self.batch


class Ring:
    """Operands that differ from product to product, as those of a step do, in bounded memory."""

    def __init__(self, products: list[Product]) -> None:
        largest = max(p.batch * max(p.m * p.k, p.k * p.n, p.m * p.n) for p in products)
        total = sum(p.batch * (p.m * p.k + p.k * p.n + p.m * p.n) for p in products)
        size = max(largest, min(total, OPERAND_FLOATS))
        pattern = np.random.default_rng(0).standard_normal(4099).astype(np.float32)
        self._inputs = np.resize(pattern, size)
        self._outputs = np.zeros(size, np.float32)
        self._at = {"in": 0, "out": 0}

    def take(self, kind: str, n: int) -> np.ndarray:
        source = self._inputs if kind == "in" else self._outputs
        at = self._at[kind]
        if at + n > len(source):
            at = 0
        self._at[kind] = at + (n + 15) // 16 * 16
        return source[at : at + n]


# -- the BLAS that tinytape was built with ---------------------------------------------------------

_ROW_MAJOR, _NO, _YES = 101, 111, 112


def open_blas() -> str:
    """Find the bundled BLAS and put it on one thread; returns its name, "" where there is none."""
    import tinytape

    folder = Path(tinytape.__file__).parent / ".libs"
    found = sorted(folder.glob("libtinytape_blas*"))
    if not found:
        return ""
    library = ctypes.CDLL(str(found[0]))
    library.scipy_openblas_set_num_threads(1)
    gemm = getattr(library, "scipy_cblas_sgemm", None)
    if gemm is None:
        return ""
    gemm.restype = None
    batched = getattr(library, "scipy_cblas_sgemm_batch_strided", None)
    if batched is not None:
        batched.restype = None
    PROVIDERS["blas"] = lambda products, threads: _blas_parts(products, threads, gemm, batched)
    return found[0].name


def _cuts(length: int, parts: int) -> list[tuple[int, int]]:
    """(first, how many) of each part, cut at multiples of CUT; some may be empty."""
    step = (length + parts - 1) // parts
    step = (step + CUT - 1) // CUT * CUT
    return [(min(i * step, length), min(step, max(0, length - i * step))) for i in range(parts)]


def _blas_parts(products: list[Product], threads: int, gemm: Any, batched: Any) -> list[Part]:
    """Every thread has its share of every product, cut along the long side as blas_ops.c does."""
    ring = Ring(products)
    calls: list[list[tuple[Any, tuple[Any, ...]]]] = [[] for _ in range(threads)]
    turn = 0
    for p in products:
        strides = p.m * p.k, 0 if p.sequential else p.k * p.n, p.m * p.n
        a = ring.take("in", p.batch * p.m * p.k).ctypes.data
        b = ring.take("in", p.k * p.n * (1 if p.sequential else p.batch)).ctypes.data
        c = ring.take("out", p.batch * p.m * p.n).ctypes.data
        lda, ldb = p.m if p.transposed_a else p.k, p.k if p.transposed_b else p.n
        independent = p.batch > 1 and not p.sequential
        for i in range(threads):
            first, m, n, batch = 0, p.m, p.n, p.batch
            a_at = b_at = c_at = 0
            if independent:
                share = [p.batch * j // threads for j in range(threads + 1)]
                first, batch = share[i], share[i + 1] - share[i]
                a_at, b_at, c_at = (first * stride for stride in strides)
            elif p.m >= p.n:
                first, m = _cuts(p.m, threads)[i]
                a_at, c_at = first * (1 if p.transposed_a else p.k), first * p.n
            else:
                first, n = _cuts(p.n, threads)[i]
                b_at, c_at = first * (p.k if p.transposed_b else 1), first
            if min(m, n, batch) == 0:
                continue
            head = [
                ctypes.c_int(_ROW_MAJOR),
                ctypes.c_int(_YES if p.transposed_a else _NO),
                ctypes.c_int(_YES if p.transposed_b else _NO),
                *(ctypes.c_int(x) for x in (m, n, p.k)),
                ctypes.c_float(1.0),
            ]
            places = [
                (a + 4 * a_at, lda, strides[0]),
                (b + 4 * b_at, ldb, strides[1]),
                (c + 4 * c_at, p.n, strides[2]),
            ]
            # A share of the threads that is cut unevenly goes to another thread each time.
            mine = calls[(i + turn) % threads]
            if batch > 1 and batched is not None:
                mine.append((batched, _arguments(head, places, batch)))
                continue
            for j in range(batch):
                moved = [(at + 4 * j * stride, ld, 0) for at, ld, stride in places]
                mine.append((gemm, _arguments(head, moved, 0)))
        turn += 1

    def part(mine: list[tuple[Any, tuple[Any, ...]]]) -> Part:
        def run(keep: Ring = ring) -> None:
            for function, arguments in mine:
                function(*arguments)

        return run

    return [part(mine) for mine in calls]


def _arguments(head: list[Any], places: list[tuple[int, int, int]], batch: int) -> tuple[Any, ...]:
    """Of cblas_sgemm, or with a batch of cblas_sgemm_batch_strided, ready made."""
    out = list(head)
    for i, (at, ld, stride) in enumerate(places):
        if i == 2:
            out.append(ctypes.c_float(0.0))
        out += [ctypes.c_void_p(at), ctypes.c_int(ld)]
        if batch:
            out.append(ctypes.c_int(stride))
    if batch:
        out.append(ctypes.c_int(batch))
    return tuple(out)


# -- tinytape's own, whatever it is: BLAS or a kernel of its own -----------------------------------


def _tinytape_parts(products: list[Product], threads: int) -> list[Part]:
    """tt.matmul without a graph; its threads are its own, so there is one part."""
    import tinytape as tt

    tt.set_num_threads(threads)
    ring = Ring(products)
    operands = []
    for p in products:
        lead = [p.batch] if p.batch > 1 else []
        stored_a = [p.k, p.m] if p.transposed_a else [p.m, p.k]
        stored_b = [p.n, p.k] if p.transposed_b else [p.k, p.n]
        shape_b = stored_b if p.sequential else [*lead, *stored_b]
        a = tt.tensor(ring.take("in", p.batch * p.m * p.k).reshape(*lead, *stored_a))
        b = tt.tensor(ring.take("in", int(np.prod(shape_b))).reshape(shape_b))
        if p.transposed_a:
            a = a.transpose(-1, -2)
        if p.transposed_b:
            b = b.transpose(-1, -2)
        if p.sequential:
            operands += [(a[i], b) for i in range(p.batch)]
        else:
            operands.append((a, b))
    matmul = tt.matmul

    def run() -> None:
        with tt.no_grad():
            for a, b in operands:
                matmul(a, b)

    return [run]


PROVIDERS["tinytape"] = _tinytape_parts
