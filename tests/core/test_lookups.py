"""What is looked up in a large table costs what is found, whatever the axis, type and layout."""

from __future__ import annotations

import numpy as np
import pytest

import tinytape as tt
from tinytape._ffi import lib
from tinytape.context import empty_cache, memory_stats
from tinytape.nn import functional as F

IDS = tt.tensor([7, 0, 7, 99])
FEW = np.arange(4000) % 1000 == 3
LOOK_UPS = {
    "x[:, ids]": (lambda x: x[:, IDS], lambda a: a[:, [7, 0, 7, 99]]),
    "x[ids]": (lambda x: x[IDS], lambda a: a[[7, 0, 7, 99]]),
    "x[ids, ids]": (lambda x: x[IDS, IDS], lambda a: a[[7, 0, 7, 99], [7, 0, 7, 99]]),
    "x[ids, a:b]": (lambda x: x[IDS, 2:5], lambda a: a[[7, 0, 7, 99], 2:5]),
    "x[i, ids]": (lambda x: x[3, IDS], lambda a: a[3, [7, 0, 7, 99]]),
    "x[:, mask]": (lambda x: x[:, FEW[: x.shape[1]]], lambda a: a[:, FEW[: a.shape[1]]]),
    "x[mask]": (lambda x: x[FEW[: len(x)]], lambda a: a[FEW[: len(a)]]),
    "index_select 0": (lambda x: x.index_select(0, IDS), lambda a: a[[7, 0, 7, 99]]),
    "index_select 1": (lambda x: x.index_select(1, IDS), lambda a: a[:, [7, 0, 7, 99]]),
    "gather 0": (lambda x: x.gather(0, IDS.reshape(1, 4)), lambda a: a[[7, 0, 7, 99], range(4)]),
    "gather 1": (lambda x: x.gather(1, IDS.reshape(4, 1)), lambda a: a[range(4), [7, 0, 7, 99]]),
    "embedding": (lambda x: F.embedding(IDS, x), lambda a: a[[7, 0, 7, 99]]),
    "slice": (lambda x: x[5:7, ::9].contiguous(), lambda a: a[5:7, ::9]),
}
names = pytest.mark.parametrize("name", LOOK_UPS)


@names
@pytest.mark.parametrize("kind", ["float32", "float64", "int64", "int32", "int16", "uint8", "bool"])
def test_the_table_is_neither_copied_nor_converted(name, kind):
    look_up, expected = LOOK_UPS[name]
    for shape in ((4000, 100), (100, 4000)):
        a = (np.arange(400_000) % 251).astype(kind).reshape(shape)
        wanted = expected(a)
        for x in (tt.tensor(a), tt.tensor(np.ascontiguousarray(a.T)).t()):
            look_up(x)  # what is made once is there
            empty_cache()
            allowance = (1 << 17) + 2 * wanted.nbytes
            lib.tt_set_memory_limit(memory_stats()["system_bytes"] + allowance)
            try:
                found = look_up(x)
            finally:
                lib.tt_set_memory_limit(0)
            assert found.dtype.name == kind
            np.testing.assert_array_equal(found.numpy().ravel(), wanted.ravel())


@names
def test_a_recorded_look_up_keeps_what_it_found(name):
    look_up, _ = LOOK_UPS[name]
    w = tt.zeros(400_000, requires_grad=True)
    for x in (w.reshape(4000, 100), w.reshape(100, 4000), w.reshape(100, 4000).t()):
        before = memory_stats()["step_used"]
        y = look_up(x)
        assert y.requires_grad
        assert memory_stats()["step_used"] - before < (1 << 14) + 4 * y.numel()
        y.sum().backward()
        assert w.grad.sum().item() == y.numel()
        w.grad = None
