"""Every operation of the core, called with any arguments of the C types: a result or an error.

The Python functions check much before the core is called; here nothing is checked. What must not
happen is a crash, and a result that does not fit its own description.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinytape as tt
from tinytape._ffi import OPS, binding, lib
from tinytape.context import Context, current

from ..ops import rows
from ..ops.problem import draw_problem

SHAPES = [(), (0,), (1,), (2,), (3,), (4,), (2, 3), (3, 2), (2, 2), (4, 1), (0, 3), (2, 0), (1, 1)]
SHAPES += [(2, 3, 2), (1, 2, 8), (0, 2, 2), (2, 2, 3, 2), (1, 1, 2, 2), (2, 1, 2, 1, 2)]
SHAPES += [(1,) * 8]
DTYPES = [tt.float64] * 6 + [tt.float32] * 2 + [tt.int64] * 3
DTYPES += [tt.bool, tt.bool, tt.uint8, tt.int8, tt.int16, tt.int32]
INTS = [0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 5, -1, -1, -2, -3, 7, 8, 9, 100, 2**31, -(2**31), 2**62]
INTS += [2**63 - 1, -(2**63)]
REALS = [0.0, 0.0, 1.0, 0.5, -1.0, 2.0, 1e300, -1e300, math.nan, math.inf, -math.inf]
REFUSED = (ValueError, TypeError, IndexError, MemoryError, RuntimeError)
ROUNDS = 150
MOST = 1_000_000


@dataclass(frozen=True)
class Given:
    """What an operation was called with."""

    inputs: list[np.ndarray | None]
    ints: list[int]
    reals: list[float]


def given_array(rng: random.Random, like: np.ndarray | None) -> np.ndarray:
    if like is not None and rng.random() < 0.6:
        shape, dtype = like.shape, like.dtype if rng.random() < 0.5 else rng.choice(DTYPES).numpy
    else:
        shape, dtype = rng.choice(SHAPES), rng.choice(DTYPES).numpy
    values = [rng.choice([0, 1, 1, 2, 3, -1, 300, math.nan, math.inf]) for _ in range(64)]
    if dtype.kind != "f":
        values = [v if math.isfinite(v) else 2**62 for v in values]
        if rng.random() < 0.7:
            values = [v % 3 for v in values]
    return np.resize(np.array(values), shape).astype(dtype)


def invented(rng: random.Random, name: str) -> Given:
    inputs: list[np.ndarray | None] = []
    for _ in range(lib.tt_op_inputs(OPS[name]) + (rng.random() < 0.02)):
        like = next((x for x in inputs if x is not None), None)
        inputs.append(None if rng.random() < 0.08 else given_array(rng, like))
    ints = [rng.choice(INTS) for _ in range(rng.choice([0, 1, 1, 2, 2, 3, 4, 5, 6, 12]))]
    reals = [rng.choice(REALS) for _ in range(rng.choice([0, 1, 1, 2, 4]))]
    return Given(inputs, ints, reals)


def mutated(rng: random.Random, sound: Given) -> Given:
    """A call that was sound, with one or two things about it changed."""
    inputs, ints, reals = list(sound.inputs), list(sound.ints), list(sound.reals)
    for _ in range(rng.choice([0, 1, 1, 1, 2])):
        what = rng.choice(["input", "input", "values", "shape", "int", "ints", "real"])
        k = rng.randrange(len(inputs))
        x = inputs[k]
        if what == "input":
            inputs[k] = None if rng.random() < 0.3 else given_array(rng, x)
        elif what == "values" and x is not None and x.size:
            changed = x.copy()
            bad = [math.nan, math.inf] if x.dtype.kind == "f" else [2**62, -1, 100]
            changed.flat[rng.randrange(x.size)] = np.array(rng.choice(bad)).astype(x.dtype)
            inputs[k] = changed
        elif what == "shape" and x is not None:
            shape = list(x.shape) or [1]
            at = rng.randrange(len(shape))
            shape[at] = rng.choice([0, 1, shape[at] + 1, shape[at] + 7])
            if rng.random() < 0.3:
                shape = [*shape, 1] if rng.random() < 0.5 else shape[1:]
            inputs[k] = np.resize(x, shape) if x.size else np.zeros(shape, x.dtype)
        elif what == "int" and ints:
            ints[rng.randrange(len(ints))] = rng.choice(INTS)
        elif what == "ints":
            ints = ints[:-1] if rng.random() < 0.5 else [*ints, rng.choice(INTS)][:12]
        elif what == "real" and reals:
            reals[rng.randrange(len(reals))] = rng.choice(REALS)
    return Given(inputs, ints, reals)


@pytest.fixture(scope="module")
def sound_calls() -> dict[str, list[Given]]:
    """Calls that the rows of the test table make, by operation."""
    found: dict[str, list[Given]] = {name: [] for name in OPS}
    names = {number: name for name, number in OPS.items()}
    original = Context.apply

    def watched(self, op, inputs, ints, reals, n_outputs=1):
        arrays = [None if x is None else x.numpy() for x in inputs]
        found[names[op]].append(Given(arrays, list(ints), list(reals)))
        return original(self, op, inputs, ints, reals, n_outputs)

    def watch(row):
        @settings(max_examples=12, derandomize=True, database=None, deadline=None)
        @given(st.data())
        def run(data):
            problem = draw_problem(data, row)
            problem.run(problem.tensors())

        run()

    Context.apply = watched
    current()._watched = True  # or they would go to the core directly
    try:
        for row in rows().values():
            watch(row)
    finally:
        Context.apply = original
        current()._watched = False
    return found


def as_tensor(rng: random.Random, array: np.ndarray | None) -> tt.Tensor | None:
    if array is None:
        return None
    turned = array.ndim > 1 and rng.random() < 0.3
    x = tt.tensor(array.transpose() if turned else array)
    if x.dtype.is_floating_point and rng.random() < 0.8:
        x.requires_grad_()
    return x.permute(tuple(reversed(range(x.ndim)))) if turned else x


def check_result(name: str, y: tt.Tensor) -> None:
    values = y.numpy()
    assert values.shape == y.shape and values.dtype == y.dtype.numpy, name
    if y.dtype is tt.bool:
        assert set(np.unique(values.view(np.uint8))) <= {0, 1}, name


def call(rng: random.Random, name: str, wild: Given) -> bool:
    """One call with its backward; whether the operation ran."""
    inputs = [as_tensor(rng, x) for x in wild.inputs]
    present = [x for x in inputs if x is not None]
    if not present:
        return False
    context = present[0]._context
    count = lib.tt_op_outputs(OPS[name])
    try:
        if inputs[0] is not None:
            made = binding.apply(OPS[name], inputs, wild.ints, wild.reals)
        else:
            made = context.apply(OPS[name], inputs, wild.ints, wild.reals, count)
        outputs = made if count > 1 else [made]
    except REFUSED:
        return False
    if any(y.numel() > MOST for y in outputs):
        return True  # a view can be as large as it likes
    for y in outputs:
        check_result(name, y)
    wanted = [x for x in present if x.requires_grad]
    recorded = [y for y in outputs if y.requires_grad]
    if wanted and recorded:
        seeds = [tt.ones(y.shape, dtype=y.dtype) for y in recorded]
        try:
            first = tt.grad(recorded, wanted, seeds, create_graph=True, allow_unused=True)
            parts = [(g * 1.5).sum() for g in first if g is not None and g.requires_grad]
            for part in parts:
                tt.grad(part, wanted, retain_graph=True, allow_unused=True)
            raw = tt.grad(recorded, wanted, seeds, allow_unused=True)
        except REFUSED:
            return True
        for x, g in zip(wanted, raw, strict=True):
            if g is not None:
                check_result(name, g)
                assert g.shape == x.shape and g.dtype is x.dtype, name
    return True


@pytest.mark.parametrize("name", sorted(OPS))
def test_no_call_of_an_operation_crashes(name, sound_calls):
    rng = random.Random(name)
    lib.tt_set_memory_limit(1 << 28)  # so that a huge size is refused and not tried
    ran = 0
    try:
        for _ in range(ROUNDS):
            call(rng, name, invented(rng, name))
            if sound_calls[name]:
                ran += call(rng, name, mutated(rng, rng.choice(sound_calls[name])))
    finally:
        lib.tt_set_memory_limit(0)
    x = tt.ones(3, requires_grad=True)  # the context is as good as before
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0, 2.0]
    assert ran >= ROUNDS // 5  # so that the backward passes were tried as well
