"""What the table's rows may rely on: the values that their inputs are given."""

from __future__ import annotations

import numpy as np
import pytest

import tinytape as tt

from . import Call, Float, Index, Mask, Row
from .problem import Problem, integer_values, values
from .test_ops import check_problem


def numbers(*inputs):
    return values(np.random.default_rng(0), [(given, given.shape) for given in inputs])


def test_values_lie_between_low_and_high_and_off_the_kinks():
    (x,) = numbers(Float((5000,), -1.0, 3.0, gap=0.25, kinks=(0.0, 2.0, 9.0, -1.0)))
    assert -0.75 <= x.min() < -0.74 and 2.99 < x.max() < 3.0
    assert min(np.abs(x - kink).min() for kink in (0.0, 2.0)) >= 0.25
    for low, high in ((-0.75, -0.25), (0.25, 1.75), (2.25, 3.0)):
        share = np.mean((x > low) & (x < high))
        assert share == pytest.approx((high - low) / 2.75, abs=0.03)
    (x,) = numbers(Float((5000,), -1.0, 3.0))  # no gap: the kinks do not matter
    assert -1.0 <= x.min() < -0.99 and 2.99 < x.max() < 3.0


def test_distinct_values_are_apart_in_all_such_inputs_together():
    domain = {"gap": 0.5, "distinct": True}
    a, b, c = numbers(Float((20, 20), **domain), Float((400,), **domain), Float((9,), 5, 6))
    both = np.sort(np.concatenate([a.ravel(), b]))
    assert np.diff(both).min() > 1e-3
    assert np.abs(both).min() >= 0.5
    assert (np.diff(a.ravel()) < 0).any()
    assert c.min() >= 5


def test_indices_and_masks():
    index, nothing, mask = numbers(Index((1000,), 3), Index((0,), 0), Mask((1000,)))
    assert index.dtype == np.int64 and set(index.tolist()) == {0, 1, 2}
    assert nothing.shape == (0,)
    assert mask.dtype == np.bool_ and 400 < mask.sum() < 600


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.int64, {-3, -2, 1, 2}),
        (np.int32, {-3, -2, 1, 2}),
        (np.uint8, {1, 2}),
        (np.bool_, {True}),
    ],
)
def test_integers_lie_where_the_floats_do(dtype, expected):
    given = Float((500,), -3.5, 2.5, gap=1.0, kinks=(0.0, -1.0))
    x = integer_values(np.random.default_rng(0), given, dtype)
    assert x.dtype == dtype and set(x.tolist()) == expected
    assert integer_values(np.random.default_rng(0), Float((3,), 2.0, 4.0), np.bool_) is None


def two_results(run):
    """A row with a float and an integer result, as what sorts and what finds the largest has."""

    def reference(x, index):
        return np.exp(x), index + 1

    def case(draw):
        return Call([Float((3, 4)), Index((5,), 7)], run, reference)

    return Row(case, case(None))


def plus_one(index):
    return tt.tensor(index.numpy() + 1)


@pytest.mark.parametrize(
    ("run", "label"),
    [
        (lambda x, i: (tt.exp(x), plus_one(i)), None),
        (lambda x, i: (tt.exp(x) + 1e-9, plus_one(i)), "forward"),
        (lambda x, i: (tt.exp(x), i), "forward"),
        (lambda x, i: (tt.exp(x), plus_one(i).numpy() * 1.0), "'float64'"),
        (lambda x, i: (tt.exp(x.detach()) + x - x.detach(), plus_one(i)), "central difference"),
        (
            lambda x, i: (tt.exp(x) if x.dtype is tt.float64 else tt.exp(x) * 1.001, plus_one(i)),
            "float32",
        ),
    ],
    ids=["right", "values", "integers", "kind", "gradient", "float32"],
)
def test_what_is_wrong_is_found_and_named(run, label):
    if label == "'float64'":
        run = _floating(run)
    row = two_results(run)
    for seed in range(20):
        problem = Problem(row.large, seed)
        assert problem.judged == [0]
        if label is None:
            check_problem(problem, row)
        else:
            with pytest.raises(AssertionError, match=label):
                check_problem(problem, row)


def _floating(run):
    return lambda *inputs: tuple(
        tt.tensor(y) if isinstance(y, np.ndarray) else y for y in run(*inputs)
    )
