"""clamp, between numbers and between tensors, some of them the wrong way round."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, broadcast_pairs, of_numbers, shapes


def _reference(x, low, high):
    y = x if low is None else np.maximum(x, low)
    return y if high is None else np.minimum(y, high)


def _by_numbers(shape, low, high):
    return Call(
        [Float(shape, gap=0.1, kinks=(0.0, 1.0))],
        lambda x: tt.clamp(x, low, high),
        of_numbers(lambda x: _reference(x, low, high)),
    )


def _by_tensors(shape, bound):
    return Call(
        [Float(shape, distinct=True), Float(bound, distinct=True), Float(bound, distinct=True)],
        tt.clamp,
        of_numbers(_reference),
    )


def _by_one_tensor(shape, bound, name):
    return Call(
        [Float(shape, distinct=True), Float(bound, distinct=True)],
        lambda x, b: tt.clamp(x, **{name: b}),
        of_numbers(lambda x, b: _reference(x, **{"low": None, "high": None, _PLACE[name]: b})),
    )


_PLACE = {"min": "low", "max": "high"}


def case(draw):
    kind = draw(st.sampled_from(("numbers", "tensors", "min", "max")))
    if kind == "numbers":
        return _by_numbers(draw(shapes()), *draw(st.sampled_from(((0, 1), (0, None), (None, 1)))))
    pair = draw(broadcast_pairs())
    return _by_tensors(*pair) if kind == "tensors" else _by_one_tensor(*pair, kind)


ROW = Row(case, _by_tensors((150, 301), (301,)), integers=True)
