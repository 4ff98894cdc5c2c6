"""Every operation of the core, against numpy, against itself, and against central differences.

For each drawn problem: the forward is numpy's; the raw backward kernel and the vjp give the same
gradients; both are the central difference; and the same holds one order up, for the gradient of
<gradients, w> with respect to the leaves and to the cotangent. float32 follows float64.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinytape as tt
from tinytape._ffi import OPS, lib

from .ops import rows
from .ops.problem import STEP, Array, Problem, problems

ROWS = rows()
DIFFERENTIABLE = [name for name, op in OPS.items() if lib.tt_op_differentiable(op)]


def drawn(examples: int):
    return settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def close(got: Array, expected: Array, tolerance: float, what: object) -> None:
    """Within tolerance of the largest element."""
    assert got.shape == expected.shape, what
    assert np.isfinite(expected).all(), what
    if expected.size:
        error = np.abs(got - expected).max()
        assert error <= tolerance * (1 + np.abs(expected).max()), (what, error, got, expected)


def draw_problem(data, name: str) -> Problem:
    """A problem, in a context whose free memory holds NaN: what a kernel forgot to write shows."""
    for dtype in (tt.float32, tt.float64):
        nan = tt.full(3000, float("nan"), dtype=dtype, requires_grad=True)
        for _ in range(4):
            nan = nan * 1.0  # the step arena
    del nan
    for size in (1, 20, 60, 120, 250, 500):
        for _ in range(4):
            tt.full(size, float("nan"))  # blocks of the pool
    return data.draw(problems(ROWS[name]))


def zeros_for_none(results, like):
    return [
        np.zeros(x.shape) if r is None else r.numpy() for r, x in zip(results, like, strict=True)
    ]


def test_every_operation_has_a_row_and_every_row_an_operation():
    assert sorted(ROWS) == sorted(OPS)


def test_an_operation_without_a_gradient_says_so_by_name():
    for name in set(OPS) - set(DIFFERENTIABLE):  # none so far
        call = ROWS[name].large
        leaves = [tt.ones(given.shape, requires_grad=True) for given in call.inputs]
        with pytest.raises(RuntimeError, match=name):
            call.run(*leaves).sum().backward()


# ---- first order ---------------------------------------------------------------------------------


def gradients(problem: Problem, leaves: list[tt.Tensor], cotangents: list[tt.Tensor], **options):
    outputs = problem.run(leaves)
    return tt.grad(outputs, problem.wanted_of(leaves), cotangents[: len(outputs)], **options)


def as_tensors(arrays, dtype=tt.float64, **options):
    return [tt.tensor(a, dtype=dtype, **options) for a in arrays]


def turned(x: tt.Tensor) -> tt.Tensor:
    """The same values, stored with the axes the other way round."""
    order = tuple(reversed(range(x.ndim)))
    return tt.tensor(x.numpy().transpose(order), dtype=x.dtype).permute(order)


def central_difference(value, arrays: list[Array], direction: list[Array]) -> float:
    """d value / d arrays along a direction; value takes the changed arrays."""
    above, below = (
        value([a + sign * STEP * d for a, d in zip(arrays, direction, strict=True)])
        for sign in (1, -1)
    )
    return (above - below) / (2 * STEP)


def inner(xs, ys) -> float:
    return float(sum((np.asarray(x) * np.asarray(y)).sum() for x, y in zip(xs, ys, strict=True)))


def check_along(slope: float, grads: list[Array], direction: list[Array], what: object) -> None:
    size = 1 + sum(np.abs(g * d).sum() for g, d in zip(grads, direction, strict=True))
    assert abs(slope - inner(grads, direction)) <= 1e-6 * size, (what, slope, grads)


def with_wanted(problem: Problem, changed: list[Array]) -> list[Array]:
    """The leaves, those that are wanted replaced."""
    fresh = iter(changed)
    return [
        next(fresh) if wanted else x
        for x, wanted in zip(problem.leaves, problem.wanted, strict=True)
    ]


@pytest.mark.parametrize("name", sorted(ROWS))
def test_forward_and_gradient(name):
    @drawn(80)
    @given(st.data())
    def check(data):
        problem = draw_problem(data, name)
        leaves = problem.tensors()
        outputs = problem.run(leaves)
        close(outputs[0].numpy(), problem.reference(problem.leaves), 1e-12, problem)

        cotangents = problem.like(outputs)
        tensors = as_tensors(cotangents)
        if data.draw(st.booleans()):
            tensors = [turned(c) for c in tensors]
        raw = [g.numpy() for g in gradients(problem, leaves, tensors)]
        by_vjp = [g.numpy() for g in gradients(problem, leaves, tensors, create_graph=True)]
        for a, b in zip(raw, by_vjp, strict=True):
            close(a, b, 1e-11, ("kernel and vjp", problem))

        wanted = problem.wanted_of(problem.leaves)
        for _ in range(2):
            direction = problem.like(wanted)
            slope = central_difference(
                lambda changed: problem.objective(with_wanted(problem, changed), cotangents),
                wanted,
                direction,
            )
            check_along(slope, raw, direction, ("central difference", problem))

        # Into .grad, twice: the same numbers, then their sum.
        for times in (1, 2):
            outputs = problem.run(leaves)
            for y, c in zip(outputs, tensors, strict=True):
                y.backward(c, retain_graph=y is not outputs[-1])
            for x, g in zip(problem.wanted_of(leaves), raw, strict=True):
                close(x.grad.numpy(), times * g, 1e-12, (".grad", times, problem))
        assert all(x.grad is None for x, w in zip(leaves, problem.wanted, strict=True) if not w)

    check()


# ---- second order --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(ROWS))
def test_gradient_of_the_gradient(name):
    @drawn(50)
    @given(st.data())
    def check(data):
        problem = draw_problem(data, name)
        leaves = problem.tensors()
        wanted = problem.wanted_of(leaves)
        cotangents = as_tensors(problem.like(problem.run(leaves)), requires_grad=True)
        variables = [*wanted, cotangents[0]]
        weights = problem.like(wanted)

        def second(**options):
            first = gradients(problem, leaves, cotangents, create_graph=True)
            products = [(g * w).sum() for g, w in zip(first, as_tensors(weights), strict=True)]
            total = products[0]
            for p in products[1:]:
                total = total + p
            if not total.requires_grad:
                return [np.zeros(v.shape) for v in variables]
            return zeros_for_none(
                tt.grad(total, variables, allow_unused=True, **options), variables
            )

        raw, by_vjp = second(), second(create_graph=True)
        for a, b in zip(raw, by_vjp, strict=True):
            close(a, b, 1e-10, ("kernel and vjp", problem))

        def first_order(changed: list[Array]) -> float:
            """<gradients, weights> by the raw kernels, which the other test judges."""
            fresh = iter(changed)
            now = [
                tt.tensor(next(fresh), requires_grad=True) if w else x
                for x, w in zip(leaves, problem.wanted, strict=True)
            ]
            given = [tt.tensor(next(fresh)), *cotangents[1:]]
            return inner([g.numpy() for g in gradients(problem, now, given)], weights)

        arrays = [v.numpy() for v in variables]
        direction = problem.like(arrays)
        slope = central_difference(first_order, arrays, direction)
        check_along(slope, raw, direction, ("central difference", problem))

    check()


# ---- float32 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(ROWS))
def test_float32_follows_float64(name):
    @drawn(20)
    @given(st.data())
    def check(data):
        problem = draw_problem(data, name)
        cotangents = problem.like(problem.run(problem.tensors()))
        weights = problem.like(problem.wanted_of(problem.leaves))

        def everything(dtype):
            leaves = problem.tensors(dtype)
            out = problem.run(leaves)[0].detach()
            given = as_tensors(cotangents, dtype, requires_grad=True)
            raw = gradients(problem, leaves, given)
            first = gradients(problem, leaves, given, create_graph=True)
            products = [
                (g * w).sum() for g, w in zip(first, as_tensors(weights, dtype), strict=True)
            ]
            variables = [*problem.wanted_of(leaves), given[0]]
            second = [np.zeros(v.shape) for v in variables]
            for product in products:
                if product.requires_grad:
                    found = tt.grad(product, variables, allow_unused=True, retain_graph=True)
                    more = zeros_for_none(found, variables)
                    second = [a + b for a, b in zip(second, more, strict=True)]
            assert {x.dtype for x in (out, *raw, *first)} == {dtype}
            return [x.numpy() for x in (out, *raw, *first)] + second

        for a, b in zip(everything(tt.float32), everything(tt.float64), strict=True):
            close(a, b, 1e-5, problem)

    check()


# ---- in place ------------------------------------------------------------------------------------


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("name", sorted(ROWS))
def test_an_input_that_changed_in_place_raises_or_does_not_matter(name, create_graph):
    @drawn(8)
    @given(st.data())
    def check(data):
        problem = draw_problem(data, name)
        cotangents = as_tensors(problem.like(problem.run(problem.tensors())))
        options = {"create_graph": create_graph}
        expected = [g.numpy() for g in gradients(problem, problem.tensors(), cotangents, **options)]
        for k in range(len(problem.leaves)):
            leaves = problem.tensors()
            outputs = problem.run(leaves)
            leaves[k].copy_(np.flip(problem.leaves[k]) if k % 2 else 0 * problem.leaves[k])
            try:
                found = tt.grad(outputs, problem.wanted_of(leaves), cotangents, **options)
            except RuntimeError as error:
                assert "changed in place" in str(error)
            else:
                for a, b in zip(found, expected, strict=True):
                    close(a.numpy(), b, 1e-12, (k, problem))

    check()
