"""Every row of the table at scales from 1e-37 to 1e37: float32 follows float64.

A problem is drawn as for ``test_ops.py``; then all its floating leaves, or one of them, are
multiplied by a power of ten and rounded to float32. From there both dtypes compute the outputs and
the gradients of two orders, by kernels and by vjps. What float64 finds and float32 can hold has to
come out in float32, though a square, a power or a product on the way there could not be held.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytape as tt

from ..support.examples import drawn
from . import rows
from .problem import Array, Problem
from .test_ops import Derivatives

ROWS = rows()
DIFFERENTIABLE = sorted(name for name, row in ROWS.items() if row.differentiable)

EXPONENTS = (-37, -30, -21, -12, 12, 21, 30, 37)
LARGEST, LEAST = 1e37, 1e-36
"""What float32 holds with all its digits, and something to spare for a sum."""

#: Of an array, relative to its largest element: rounding is the business of test_ops.py.
TOLERANCE = 2e-3

LARGEST_EXPONENTS = {
    # A function of a product: that of two large factors has to be held before it is brought back.
    "linear_activation": 12,
    "lstm": 12,
    "lstm_cell": 12,
    "lstm_scan": 12,
    # dy times w likewise.
    "layer_norm_backward": 12,
    # Large scores pick one key, and what their gradients should be is less than its rounding.
    "scaled_dot_product_attention": 0,
    "scaled_dot_product_attention_qkvpacked": 0,
}
"""Where a row is judged no higher."""

SECOND_ORDER = {"pow": 21}
"""The largest exponent, of either sign, at which the second order is judged. The second derivative
of a^b has the factor a^(b - 2) beside b (b - 1), and the factor alone has to be held."""

ROUNDING = ("cross_entropy", "dropout", "log_softmax", "sigmoid", "softmax")
"""Differences of numbers of the size of 1 (for dropout in the row itself): near zero the gradients
are nothing but the rounding of those."""


def scaled(problem: Problem, exponent: int, alone: int | None) -> None:
    """Multiplies the floating leaves, or one of them, and rounds them to float32."""
    floats = [i for i, x in enumerate(problem.leaves) if x.dtype.kind == "f"]
    chosen = floats if alone is None else [floats[alone % len(floats)]]
    for i in floats:
        x = problem.leaves[i] * (10.0**exponent if i in chosen else 1.0)
        problem.leaves[i] = x.astype(np.float32).astype(np.float64)


def held(arrays: list[Array]) -> bool:
    """Whether float32 holds all of these, and none is nearly nothing."""
    sizes = [np.abs(x[x != 0.0]) for x in arrays if x.dtype.kind == "f"]
    return all(np.isfinite(s).all() and not ((s > LARGEST) | (s < LEAST)).any() for s in sizes)


def check_follows(got: list[Array], leads: list[Array], rounding: float, what: object) -> None:
    for a, b in zip(got, leads, strict=True):
        judged = np.abs(b) <= LARGEST  # and is a number: there is no log1p of -1e12
        size = np.abs(b[judged]).max(initial=0.0)
        wrong = ~(np.abs(a[judged] - b[judged]) <= TOLERANCE * size + rounding)
        assert not wrong.any(), (*what, a, b)


def check_scaled(problem: Problem, name: str, exponent: int) -> None:
    wanted = problem.wanted_of(problem.leaves)
    cotangents = problem.like([problem.expected[k] for k in problem.judged])
    weights = problem.like(wanted)
    lead, follow = (
        Derivatives(problem, dtype, cotangents, weights, lambda x: x)
        for dtype in (tt.float64, tt.float32)
    )
    rounding = 1e-6 if name in ROUNDING else LEAST
    for parts in (("outputs",), ("raw", "by_vjp"), ("second", "second_by_vjp")):
        if parts[0] == "second" and abs(exponent) > SECOND_ORDER.get(name, 99):
            return
        for part in parts:
            what = (name, part, exponent, problem)
            check_follows(getattr(follow, part), getattr(lead, part), rounding, what)
        if not held(getattr(lead, parts[0])):
            return


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_float32_follows_float64_at_every_scale(name):
    # One element where several are expected makes differences of equals: rounding, no number. The
    # second derivatives of the spread of two are that too.
    least = 3 if name == "std" else 2
    exponents = [e for e in EXPONENTS if e <= LARGEST_EXPONENTS.get(name, 99)]

    @drawn(0.1)
    @given(st.data())
    def check(data):
        call = ROWS[name].case(data.draw)
        problem = Problem(call, data.draw(st.integers(0, 2**32 - 1)), plain=True)
        degenerate = any(min(x.shape, default=1) < least for x in problem.leaves)
        if degenerate or not problem.judged or not any(problem.wanted):
            return
        exponent = data.draw(st.sampled_from(exponents))
        scaled(problem, exponent, data.draw(st.sampled_from((None, 0, 1, 2))))
        check_scaled(problem, name, exponent)

    check()
