"""Every operation and function, against numpy, against itself, and against central differences.

For each drawn problem: the forward is numpy's; the raw backward kernel and the vjp give the same
gradients; both are the central difference; and the same holds one order up, for the gradient of
<gradients, w> with respect to the leaves and to the cotangents. float32 follows float64.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytape as tt
from tinytape import functional
from tinytape._ffi import OPS, lib
from tinytape.nn import functional as nn_functional

from ..support.examples import drawn
from . import ALIASES, WITHOUT_ROW, Float, Row, rows
from .problem import (
    STEP,
    Array,
    Problem,
    draw_problem,
    integer_values,
    large_problem,
    listed,
)

ROWS = rows()
DIFFERENTIABLE = sorted(name for name, row in ROWS.items() if row.differentiable)
FUNCTIONS = {
    name: getattr(module, name) for module in (nn_functional, functional) for name in module.__all__
}


def close(got: Array, expected: Array, tolerance: float, what: object) -> None:
    """Within tolerance of the largest element; integers and bools exactly."""
    assert got.shape == expected.shape, (what, got.shape, expected.shape)
    if expected.dtype.kind != "f":
        assert got.dtype.kind == expected.dtype.kind, (what, got.dtype, expected.dtype)
        assert (got == expected).all(), (what, got, expected)
        return
    assert np.isfinite(expected).all(), what
    if expected.size:
        error = np.abs(got - expected).max()
        assert error <= tolerance * (1 + np.abs(expected).max()), (what, error, got, expected)


def all_close(got: list[Array], expected: list[Array], tolerance: float, what: object) -> None:
    for a, b in zip(got, expected, strict=True):
        close(a, b, tolerance, what)


def poison() -> None:
    """Free memory that holds NaN: what a kernel forgets to write shows."""
    for dtype in (tt.float32, tt.float64):
        nan = tt.full(3000, float("nan"), dtype=dtype, requires_grad=True)
        for _ in range(4):
            nan = nan * 1.0  # the step arena
    del nan
    for size in (1, 20, 60, 120, 250, 500):
        for _ in range(4):
            tt.full(size, float("nan"))  # blocks of the pool


# ---- the table -----------------------------------------------------------------------------------


def test_every_operation_and_function_has_a_row_and_every_row_one():
    named = set(OPS) | set(FUNCTIONS)
    assert sorted(ROWS) == sorted(named - set(ALIASES) - set(WITHOUT_ROW))
    assert set(ALIASES) | set(WITHOUT_ROW) <= set(FUNCTIONS)
    for name, other in ALIASES.items():
        assert FUNCTIONS[name] is FUNCTIONS[other], f"{name} is not just another name of {other}"


def test_rows_and_operations_agree_on_what_is_differentiable():
    for name in sorted(set(ROWS) & set(OPS)):
        assert ROWS[name].differentiable == bool(lib.tt_op_differentiable(OPS[name])), name


def test_tolerances_of_float32_are_within_bounds():
    assert {name for name, row in ROWS.items() if not 0 < row.float32 <= 1e-3} == set()


@pytest.mark.parametrize("name", sorted(set(ROWS) - set(DIFFERENTIABLE)))
def test_a_gradient_that_does_not_exist_is_refused_by_name(name):
    problem = large_problem(ROWS[name])
    leaves = problem.tensors()
    for output in problem.run(leaves):
        assert not output.requires_grad
        if problem.wanted_of(leaves):
            with pytest.raises(RuntimeError, match=name):
                tt.grad(output, problem.wanted_of(leaves), tt.ones_like(output))


# ---- gradients of a problem ----------------------------------------------------------------------


def as_tensors(arrays, dtype=tt.float64, **options):
    return [tt.tensor(a, dtype=dtype, **options) for a in arrays]


def turned(x: tt.Tensor) -> tt.Tensor:
    """The same values, stored with the axes the other way round."""
    order = tuple(reversed(range(x.ndim)))
    return tt.tensor(x.numpy().transpose(order), dtype=x.dtype).permute(order)


def shifted(x: tt.Tensor) -> tt.Tensor:
    """The same values, contiguous, one element behind where memory is aligned."""
    return tt.tensor(np.append(0.0, x.numpy()), dtype=x.dtype)[1:].view(x.shape)


PLACEMENTS = (lambda x: x, turned, shifted)


def gradients(roots, cotangents, variables, **options) -> list[tt.Tensor]:
    """Of <roots, cotangents>; zeros where no path leads."""
    there = [(y, c) for y, c in zip(roots, cotangents, strict=True) if y.requires_grad]
    if not there:
        return [tt.zeros_like(x) for x in variables]
    ys, cs = zip(*there, strict=True)
    found = tt.grad(ys, variables, cs, allow_unused=True, **options)
    return [tt.zeros_like(x) if g is None else g for g, x in zip(found, variables, strict=True)]


def first_order(problem: Problem, leaves, cotangents) -> list[Array]:
    """By the raw kernels."""
    roots = problem.roots(problem.run(leaves))
    return [g.numpy() for g in gradients(roots, cotangents, problem.wanted_of(leaves))]


def central_difference(value, arrays: list[Array], direction: list[Array]) -> float:
    """d value / d arrays along a direction; value takes the changed arrays."""
    above, below = (
        value([a + sign * STEP * d for a, d in zip(arrays, direction, strict=True)])
        for sign in (1, -1)
    )
    return (above - below) / (2 * STEP)


def inner(xs, ys) -> float:
    return float(sum((x * y).sum() for x, y in zip(xs, ys, strict=True)))


def check_along(slope: float, grads: list[Array], direction: list[Array], what: object) -> None:
    size = 1 + sum(np.abs(g * d).sum() for g, d in zip(grads, direction, strict=True))
    assert abs(slope - inner(grads, direction)) <= 1e-6 * size, (what, slope, grads)


def with_wanted(problem: Problem, leaves: list, changed: list) -> list:
    """The leaves, those that are wanted replaced."""
    fresh = iter(changed)
    return [next(fresh) if wanted else x for x, wanted in zip(leaves, problem.wanted, strict=True)]


class Derivatives:
    """All that is asked of one problem in one dtype: outputs, and gradients of two orders."""

    def __init__(self, problem: Problem, dtype: tt.dtype, cotangents, weights, place) -> None:
        leaves = problem.tensors(dtype)
        wanted = problem.wanted_of(leaves)
        outputs = problem.run(leaves)
        self.outputs = [y.numpy() for y in outputs[: len(problem.expected)]]
        roots = problem.roots(outputs)
        given = as_tensors(cotangents, dtype, requires_grad=True)
        seen = [place(c) for c in given]
        raw = gradients(roots, seen, wanted, retain_graph=True)
        for c, before in zip(seen, given, strict=True):
            assert (c.numpy() == before.numpy()).all(), ("a given gradient was changed", problem)
        assert any(y.requires_grad for y in roots) and not raw[0].requires_grad, problem

        by_vjp = gradients(roots, given, wanted, create_graph=True)
        products = [(g * w).sum() for g, w in zip(by_vjp, as_tensors(weights, dtype), strict=True)]
        ones = [tt.ones((), dtype=dtype)] * len(products)
        variables = [*wanted, *given]
        second_by_vjp = gradients(products, ones, variables, create_graph=True)
        second = gradients(products, ones, variables)
        assert {x.dtype for x in (*raw, *by_vjp, *second, *second_by_vjp)} == {dtype}, problem
        self.raw, self.by_vjp, self.second, self.second_by_vjp = (
            [g.numpy() for g in group] for group in (raw, by_vjp, second, second_by_vjp)
        )


def check_forward(problem: Problem, dtype: tt.dtype, tolerance: float) -> None:
    outputs = problem.run(problem.tensors(dtype))
    outputs = [y.numpy() for y in outputs[: len(problem.expected)]]
    all_close(outputs, problem.expected, tolerance, ("forward", dtype, problem))


def check_problem(problem: Problem, row: Row) -> None:
    wanted = problem.wanted_of(problem.leaves)
    if not row.differentiable or not wanted or not problem.judged:
        check_forward(problem, tt.float64, 1e-12)
        check_forward(problem, tt.float32, row.float32)
        return
    seen = problem.wanted_of(list(problem.seen(problem.leaves).values()))
    outputs = [problem.expected[k] for k in problem.judged] + (seen if problem.busy else [])
    cotangents, weights = problem.like(outputs), problem.like(wanted)
    place = PLACEMENTS[problem.rng.integers(len(PLACEMENTS))]

    got = Derivatives(problem, tt.float64, cotangents, weights, place)
    all_close(got.outputs, problem.expected, 1e-12, ("forward", problem))
    all_close(got.raw, got.by_vjp, 1e-11, ("kernel and vjp", problem))
    direction = problem.like(wanted)
    slope = central_difference(
        lambda changed: problem.objective(
            with_wanted(problem, problem.leaves, changed), cotangents
        ),
        wanted,
        direction,
    )
    check_along(slope, got.raw, direction, ("central difference", problem))

    # One order up. The raw kernels, judged by the lines above, are what is differenced.
    all_close(got.second, got.second_by_vjp, 1e-10, ("second order: kernel and vjp", problem))
    leaves = problem.tensors()

    def slope_of_gradients(changed: list[Array]) -> float:
        fresh = as_tensors(changed[: len(wanted)], requires_grad=True)
        moved = as_tensors(changed[len(wanted) :])
        return inner(first_order(problem, with_wanted(problem, leaves, fresh), moved), weights)

    variables = [*wanted, *cotangents]
    direction = problem.like(variables)
    slope = central_difference(slope_of_gradients, variables, direction)
    check_along(slope, got.second, direction, ("second order: central difference", problem))

    # Into .grad, twice: the same numbers, then their sum.
    for times in (1, 2):
        pairs = zip(problem.roots(problem.run(leaves)), as_tensors(cotangents), strict=True)
        pairs = [(y, c) for y, c in pairs if y.requires_grad]
        for y, c in pairs:
            y.backward(c, retain_graph=y is not pairs[-1][0])
        for x, g in zip(problem.wanted_of(leaves), got.raw, strict=True):
            found = np.zeros(x.shape) if x.grad is None else x.grad.numpy()
            close(found, times * g, 1e-12, (".grad", times, problem))
    assert all(x.grad is None for x, w in zip(leaves, problem.wanted, strict=True) if not w)

    single = Derivatives(problem, tt.float32, cotangents, weights, place)
    for part in ("outputs", "raw", "by_vjp", "second", "second_by_vjp"):
        tolerance = row.float32 if "second" not in part else min(10 * row.float32, 1e-3)
        follows, leads = getattr(single, part), getattr(got, part)
        all_close(follows, leads, tolerance, ("float32", part, problem))


@pytest.mark.parametrize("name", sorted(ROWS))
def test_forward_and_gradients(name):
    row = ROWS[name]

    @drawn()
    @given(st.data())
    def check(data):
        problem = draw_problem(data, row)
        if problem.rng.integers(4) == 0:
            poison()
        check_problem(problem, row)

    check()


# ---- integers ------------------------------------------------------------------------------------

INTEGERS = ("int64", "int32", "uint8", "bool")


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("name", sorted(name for name, row in ROWS.items() if row.integers))
def test_integers(name, dtype):
    """The forward on them is numpy's, in the dtype that the row states. Where numpy has no such
    function of bools, ours may be a DTypeError."""
    row = ROWS[name]
    result = dtype if row.integers is True else row.integers
    kind = np.dtype(getattr(tt, dtype).numpy)

    @drawn(0.1)
    @given(st.data())
    def check(data):
        problem = draw_problem(data, row)
        arrays = [
            integer_values(problem.rng, given, kind) if isinstance(given, Float) else None
            for given in problem.call.inputs
        ]
        arrays = [
            x if isinstance(given, Float) else problem.seen(problem.leaves)[j]
            for x, given, j in zip(arrays, problem.call.inputs, problem.alias, strict=True)
        ]
        if any(x is None for x in arrays):
            return  # no such value
        tensors = [tt.tensor(x) for x in arrays]
        floats = [isinstance(given, Float) for given in problem.call.inputs]
        assert {x.dtype for x, f in zip(tensors, floats, strict=True) if f} == {getattr(tt, dtype)}
        # numpy computes small integers in float16 where the result is floating.
        wide = np.float64 if np.dtype(getattr(tt, result).numpy).kind == "f" else kind
        try:
            expected = listed(problem.call.reference(*(_as(x, kind, wide) for x in arrays)))
            may_refuse = False
        except TypeError:
            expected = listed(problem.call.reference(*(_as(x, kind, np.int64) for x in arrays)))
            may_refuse = True
        try:
            outputs = listed(problem.call.run(*tensors))
        except tt.errors.DTypeError:
            assert may_refuse
            return
        assert outputs[0].dtype is getattr(tt, result)
        for y, numbers in zip(outputs, expected, strict=True):
            close(y.numpy(), np.asarray(numbers).astype(y.dtype.numpy), 1e-6, problem)

    check()


def _as(x: Array, kind: np.dtype, wide: object) -> Array:
    return x.astype(wide) if x.dtype == kind else x


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize(
    "name", sorted(name for name, row in ROWS.items() if row.integers is False)
)
def test_integers_are_refused_where_the_row_states_none(name, dtype):
    """A row either says what becomes of integers, and is tested with them, or there is an error."""
    call = ROWS[name].large
    problem = large_problem(ROWS[name])
    if not any(isinstance(given, Float) for given in call.inputs):
        return
    made = [
        tt.tensor(x.astype(dtype) if isinstance(given, Float) else x)
        for x, given in zip(problem.leaves, call.inputs, strict=True)
    ]
    with pytest.raises(tt.errors.DTypeError):
        call.run(*made)


# ---- in place ------------------------------------------------------------------------------------


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_an_input_that_changed_in_place_raises_or_does_not_matter(name, create_graph):
    @drawn(0.04)
    @given(st.data())
    def check(data):
        problem = draw_problem(data, ROWS[name])
        if not problem.judged or not any(problem.wanted):
            return
        cotangents = as_tensors(problem.like(problem.roots(problem.run(problem.tensors()))))
        options = {"create_graph": create_graph}

        def found(leaves, roots):
            return [
                g.numpy()
                for g in gradients(roots, cotangents, problem.wanted_of(leaves), **options)
            ]

        leaves = problem.tensors()
        expected = found(leaves, problem.roots(problem.run(leaves)))
        for k in range(len(problem.leaves)):
            leaves = problem.tensors()
            roots = problem.roots(problem.run(leaves))
            leaves[k].copy_(np.flip(problem.leaves[k]) if k % 2 else 0 * problem.leaves[k])
            try:
                changed = found(leaves, roots)
            except RuntimeError as error:
                assert "changed in place" in str(error)
            else:
                all_close(changed, expected, 1e-12, (k, problem))

    check()
